"""Transactions: all or nothing, joined by djongo's manager, run again when MongoDB asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection
from django.db import transaction as django_transaction
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect, OperationFailure

from booking_service.devstack.servers import MongoServer
from booking_service.djongo import base, transaction
from booking_service.djongo.base import COMMIT, DatabaseWrapper
from booking_service.djongo.errors import duplicate_keys
from booking_service.djongo.exchange import Exchange

from .models import Clinic, Treatment


class Interrupted(Exception):
    """What breaks a transaction off in these tests."""


def names() -> set[str]:
    return {clinic.name for clinic in Clinic.objects.all()}


def in_threads(function: Callable[[int], None], count: int) -> None:
    def work(n: int) -> None:
        function(n)
        connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_it_commits_both_kinds_of_write_together() -> None:
    with transaction.atomic():
        Clinic.objects.create(name="orm")
        Clinic.objects.mongo_insert_one({"name": "raw"})
    assert names() == {"orm", "raw"}


def test_it_writes_into_the_open_transaction_alone() -> None:
    with pytest.raises(Interrupted), transaction.atomic():
        Clinic.objects.mongo_insert_in_transaction([{"name": "one"}, {"name": "two"}])
        Clinic.objects.mongo_update_pipelined({"name": "one"}, {"$set": {"name": "three"}})
        Clinic.objects.mongo_update_pipelined({"name": "one"}, {"$set": {"name": "four"}})
        assert Clinic.objects.mongo_count_documents({"name": {"$in": ["two", "three"]}}) == 2
        raise Interrupted
    assert names() == set()


def test_it_refuses_what_belongs_into_a_transaction_outside_of_one() -> None:
    with pytest.raises(django_transaction.TransactionManagementError):
        Clinic.objects.mongo_insert_in_transaction([{"name": "raw"}])
    with pytest.raises(django_transaction.TransactionManagementError):
        Clinic.objects.mongo_update_pipelined({}, {"$set": {"name": "raw"}})
    assert names() == set()


def test_it_names_the_duplicate_of_an_insert_in_a_transaction() -> None:
    Clinic.objects.mongo_insert_one({"name": "taken"})
    taken = Clinic.objects.mongo_find_one({"name": "taken"})["_id"]

    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        Clinic.objects.mongo_insert_in_transaction([{"name": "new"}, {"_id": taken, "name": "again"}])

    assert duplicate_keys(refused.value) == [{"_id": taken}]
    assert names() == {"taken"}


def test_it_reads_times_for_display_without_a_zone() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    Clinic.objects.mongo_insert_one({"name": "raw", "opened": noon})

    assert Clinic.objects.mongo_find_one({})["opened"] == noon
    assert Clinic.objects.mongo_for_display.find_one({})["opened"] == noon.replace(tzinfo=None)


def test_it_rolls_both_kinds_of_write_back() -> None:
    with pytest.raises(Interrupted), transaction.atomic():
        Clinic.objects.create(name="orm")
        Clinic.objects.mongo_insert_one({"name": "raw"})
        assert Clinic.objects.mongo_count_documents({}) == 2
        raise Interrupted
    assert names() == set()


def test_it_hides_uncommitted_writes_from_others() -> None:
    seen: list[set[str]] = []
    with transaction.atomic():
        Clinic.objects.mongo_insert_one({"name": "raw"})
        in_threads(lambda _: seen.append(names()), 1)
    assert seen == [set()]


def test_it_joins_the_outer_transaction() -> None:
    with pytest.raises(Interrupted), transaction.atomic():
        transaction.run(Clinic.objects.create, name="inner")
        raise Interrupted
    assert names() == set()


def test_it_runs_hooks_only_after_a_commit() -> None:
    ran: list[str] = []
    with pytest.raises(Interrupted), transaction.atomic():
        transaction.on_commit(lambda: ran.append("rolled back"))
        raise Interrupted
    with transaction.atomic():
        transaction.on_commit(lambda: ran.append("committed"))
        assert ran == []
    assert ran == ["committed"]


def test_it_says_which_key_collided() -> None:
    Treatment.objects.mongo_insert_one({"code": "A"})
    with pytest.raises(IntegrityError) as one:
        Treatment.objects.mongo_insert_one({"code": "A"})
    with pytest.raises(IntegrityError) as many:
        Treatment.objects.mongo_insert_many([{"code": "B"}, {"code": "A"}])
    assert duplicate_keys(one.value) == duplicate_keys(many.value) == [{"code": "A"}]


def test_it_says_plainly_that_mongodb_refused() -> None:
    with pytest.raises(DatabaseError):
        Clinic.objects.mongo_update_one({}, {"$noSuchOperator": 1})


def test_it_works_again_after_a_failed_transaction() -> None:
    Treatment.objects.mongo_insert_one({"code": "A"})
    with pytest.raises(IntegrityError), transaction.atomic():
        Treatment.objects.mongo_insert_one({"code": "A"})
    assert not transaction.in_transaction()
    assert connection.session is None  # type: ignore[attr-defined]
    with transaction.atomic():
        Treatment.objects.mongo_insert_one({"code": "B"})
    assert Treatment.objects.mongo_count_documents({}) == 2


def test_it_retries_conflicting_transactions_until_each_has_counted() -> None:
    Treatment.objects.mongo_insert_one({"code": "A", "uses": 0})

    def read_then_write() -> None:
        uses = Treatment.objects.mongo_find_one({"code": "A"})["uses"]
        Treatment.objects.mongo_update_one({"code": "A"}, {"$set": {"uses": uses + 1}})

    in_threads(lambda _: transaction.run(read_then_write), 20)
    assert Treatment.objects.mongo_find_one({"code": "A"})["uses"] == 20


def test_it_lets_one_of_many_equal_inserts_win() -> None:
    outcomes: list[str] = []

    @transaction.transactional
    def insert() -> None:
        Treatment.objects.mongo_insert_one({"code": "A"})

    def attempt(_: int) -> None:
        try:
            insert()
            outcomes.append("won")
        except IntegrityError:
            outcomes.append("lost")

    in_threads(attempt, 50)
    assert sorted(outcomes) == ["lost"] * 49 + ["won"]


@pytest.mark.parametrize(("error_labels", "raised"), [(["TransientTransactionError"], None), ([], DatabaseError)])
def test_it_leaves_no_session_behind_when_a_commit_fails(
    monkeypatch: pytest.MonkeyPatch, error_labels: list[str], raised: type[Exception] | None
) -> None:
    attempts: list[int] = []

    def failing_once(self: ClientSession) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OperationFailure("commit refused", details={"errorLabels": error_labels})
        original(self)

    original = ClientSession.commit_transaction
    monkeypatch.setattr(DatabaseWrapper, "_commit_asked_once", lambda *_: False)
    monkeypatch.setattr(ClientSession, "commit_transaction", failing_once)
    if raised is None:
        transaction.run(Clinic.objects.create, name="second attempt")
        assert names() == {"second attempt"}
    else:
        with pytest.raises(raised):
            transaction.run(Clinic.objects.create, name="never")
        assert names() == set()
    assert connection.session is None  # type: ignore[attr-defined]
    assert not transaction.in_transaction()


@pytest.mark.parametrize("lost", ["question", "answer"])
def test_it_commits_once_though_the_commit_had_to_be_sent_again(monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    ask, asked = Exchange.ask, []

    def cut(self: Exchange, command: dict[str, Any], *args: Any) -> Any:
        if COMMIT not in command:
            return ask(self, command, *args)
        asked.append(lost == "question" or ask(self, command, *args))
        self.abandon()
        raise AutoReconnect("gone")

    monkeypatch.setattr(Exchange, "ask", cut)
    attempts: list[int] = []

    def work() -> None:
        attempts.append(1)
        Clinic.objects.mongo_insert([{"name": "one"}])

    transaction.run(work)

    assert (len(asked), len(attempts)) == (1, 1)
    assert [clinic["name"] for clinic in Clinic.objects.mongo_find({})] == ["one"]
    assert connection.session is None  # type: ignore[attr-defined]


def test_it_asks_again_when_it_is_not_said_that_a_majority_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    ask, commit = Exchange.ask, ClientSession.commit_transaction
    refused = {"ok": 1, "writeConcernError": {"code": 64}}

    def asked(self: Exchange, command: dict[str, Any], *args: Any) -> Any:
        return refused if COMMIT in command else ask(self, command, *args)

    def committed(self: ClientSession) -> None:
        commits.append(1)
        commit(self)

    monkeypatch.setattr(Exchange, "ask", asked)
    monkeypatch.setattr(ClientSession, "commit_transaction", committed)
    transaction.run(lambda: Clinic.objects.mongo_insert([{"name": "one"}]))
    assert commits == [1]
    assert names() == {"one"}


SOCKET_SECONDS = 4


@pytest.fixture
def unnoticed(tmp_path: Path) -> Iterator[tuple[MongoServer, Any]]:
    """A server of its own, and a connection on which the driver does not notice for a minute that it is frozen."""
    with MongoServer(tmp_path) as server:
        wrapper: Any = connection.copy("unnoticed")
        options = {"heartbeatFrequencyMS": 60_000, "socketTimeoutMS": SOCKET_SECONDS * 1000}
        wrapper.settings_dict |= {"HOST": server.uri, "OPTIONS": wrapper.settings_dict["OPTIONS"] | options}
        wrapper.documents["clinics"].insert([{"name": "before"}])
        yield server, wrapper
        server.resume()
        wrapper.close_pool()


@pytest.mark.parametrize("at", ["a write that is waited for", "writes before the commit", "the commit"])
def test_of_a_transaction_that_is_not_answered_one_command_alone_is_waited_for(
    unnoticed: Any, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(base, "COMMIT_RETRY_SECONDS", SOCKET_SECONDS / 2)
    server, wrapper = unnoticed
    clinics = wrapper.documents["clinics"]
    wrapper.start_transaction_mongo()
    wrapper.in_atomic_block_mongo = True
    clinics.insert_in_transaction([{"name": "first"}])
    if at == "writes before the commit":
        clinics.insert_pipelined([{"name": "second"}])
    server.pause()

    began = time.monotonic()
    with pytest.raises(OperationalError):
        if at == "a write that is waited for":
            clinics.insert_in_transaction([{"name": "second"}])
        else:
            wrapper.commit_mongo()
    with suppress(OperationalError):
        wrapper.rollback_mongo()
    took = time.monotonic() - began

    assert SOCKET_SECONDS <= took < SOCKET_SECONDS * 2
    assert wrapper.session is None


def test_it_commits_inside_the_atomic_block_of_an_admin_page():
    """Django's `atomic` is nothing on MongoDB, but it says that a block is open."""
    told: list[str] = []

    def work() -> None:
        Clinic(name="Pune").save()
        transaction.on_commit(lambda: told.append("told"))

    with django_transaction.atomic():
        transaction.run(work)
        assert told == ["told"]
    assert names() == {"Pune"}
