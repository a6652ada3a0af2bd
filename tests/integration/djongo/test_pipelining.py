"""Commands that are answered together: what they do, what fails with them, and whose connection it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import pymongo.synchronous.pool as driver_pool
import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection
from django.db.transaction import TransactionManagementError
from pymongo.errors import AutoReconnect, DocumentTooLarge, OperationFailure
from pymongo.pool import Pool

from booking_service.djongo import transaction
from booking_service.djongo.errors import driver_error, is_transient
from booking_service.djongo.pipelining import PipelinedWrites
from booking_service.djongo.server import answers

from .models import Clinic, Treatment

wrapper = cast(Any, connection)  # of our engine


def names() -> set[str]:
    return {clinic["name"] for clinic in Clinic.objects.mongo_find({})}


def insert(name: str) -> None:
    Clinic.objects.mongo_insert_pipelined([{"name": name}])


def pool() -> Pool:
    connection.ensure_connection()
    (server,) = wrapper.connection._topology._servers.values()
    return server.pool


def sockets_in_use() -> int:
    return pool().active_sockets


class Cut:
    """A socket whose other end has gone: nothing is sent any more, and no answer comes."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real

    def sendall(self, _: bytes) -> None:
        raise BrokenPipeError

    def recv_into(self, _: memoryview) -> int:
        raise ConnectionResetError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def break_connection() -> None:
    """Cut the connection that the open transaction has."""
    connected = wrapper._pipelined._exchange._connection.conn
    connected.conn = Cut(connected.conn)


def break_idle_connections() -> None:
    for idle in pool().conns:
        idle.conn.sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def _gives_every_connection_back():
    yield
    assert wrapper._pipelined is None
    assert sockets_in_use() == 0


def test_it_writes_all_of_it_with_the_commit() -> None:
    with transaction.atomic():
        insert("one")
        insert("two")
        Clinic.objects.mongo_update_pipelined({"name": "two"}, {"$set": {"name": "three"}})
        assert sockets_in_use() == 1
    assert names() == {"one", "three"}


def test_it_starts_a_transaction_or_goes_on_in_one() -> None:
    with transaction.atomic():
        insert("first")
    with transaction.atomic():
        Clinic.objects.mongo_insert_in_transaction([{"name": "waited for"}])
        insert("not waited for")
    assert names() == {"first", "waited for", "not waited for"}


def test_it_is_seen_by_whatever_the_transaction_reads_next() -> None:
    with transaction.atomic():
        insert("pipelined")
        assert Clinic.objects.mongo_find_one({"name": "pipelined"})["name"] == "pipelined"
        insert("by the driver")
        assert Clinic.objects.mongo_count_documents({}) == 2
        insert("by the ORM")
        assert Clinic.objects.count() == 3


def test_it_goes_with_the_transaction() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        insert("lost")
        1 / 0  # noqa: B018
    assert names() == set()


def test_it_belongs_into_a_transaction() -> None:
    with pytest.raises(TransactionManagementError):
        insert("outside")
    with pytest.raises(TransactionManagementError):
        Clinic.objects.mongo_update_pipelined({}, {"$set": {"name": "outside"}})
    assert names() == set()


def test_it_inserts_at_once_where_no_transaction_is_open() -> None:
    Clinic.objects.mongo_insert([{"name": "alone"}])
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Clinic.objects.mongo_insert([{"name": "lost"}])
        1 / 0  # noqa: B018
    assert names() == {"alone"}


def commits() -> None:
    """The end of a transaction."""


def reads() -> None:
    Clinic.objects.mongo_find_one({})


def asks_the_driver() -> None:
    Clinic.objects.mongo_count_documents({})


def asks_the_orm() -> None:
    Clinic.objects.count()


@pytest.mark.parametrize("then", [commits, reads, asks_the_driver, asks_the_orm])
def test_it_raises_what_went_wrong_at_the_next_call_that_waits(then: Callable[[], None]) -> None:
    Treatment.objects.mongo_insert_one({"code": "A"})
    went_on: list[str] = []

    with pytest.raises(DatabaseError) as refused, transaction.atomic():
        insert("before")
        Treatment.objects.mongo_insert_pipelined([{"code": "A"}])
        insert("after")
        went_on.append("sent")
        then()
        went_on.append("past the call that waits")

    assert went_on == (["sent", "past the call that waits"] if then is commits else ["sent"])
    cause = driver_error(refused.value)
    assert isinstance(cause, OperationFailure)
    assert cause.code == 11000
    assert names() == set()
    assert wrapper.session is None


def test_it_does_not_look_like_the_refusal_of_the_write_that_was_waited_for() -> None:
    Treatment.objects.mongo_insert_one({"code": "A"})
    with pytest.raises(DatabaseError) as refused, transaction.atomic():
        Treatment.objects.mongo_insert_pipelined([{"code": "A"}])
        Treatment.objects.mongo_insert_in_transaction([{"code": "B"}])
    assert not isinstance(refused.value, IntegrityError)


def test_it_is_run_again_after_a_conflict() -> None:
    Treatment.objects.mongo_insert_one({"code": "A", "uses": 0})
    started = threading.Barrier(12)

    def use() -> None:
        uses = Treatment.objects.mongo_find_one({"code": "A"})["uses"]
        Treatment.objects.mongo_update_pipelined({"code": "A"}, {"$set": {"uses": uses + 1}})
        insert(f"use {uses + 1}")

    def work() -> None:
        started.wait()
        transaction.run(use)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Treatment.objects.mongo_find_one({"code": "A"})["uses"] == 12
    assert names() == {f"use {n}" for n in range(1, 13)}


@pytest.mark.parametrize("lost", ["before the second", "after the last"])
def test_it_never_commits_a_part_of_it_when_the_connection_is_lost(lost: str) -> None:
    attempts: list[int] = []

    def work() -> None:
        attempts.append(1)
        insert("one")
        if len(attempts) == 1 and lost == "before the second":
            break_connection()
        insert("two")
        if len(attempts) == 1 and lost == "after the last":
            break_connection()

    transaction.run(work)

    assert len(attempts) == 2
    assert sorted(clinic["name"] for clinic in Clinic.objects.mongo_find({})) == ["one", "two"]


def test_it_says_that_a_lost_connection_may_be_tried_again() -> None:
    with pytest.raises(OperationalError) as lost, transaction.atomic():
        insert("one")
        break_connection()
    assert is_transient(lost.value)
    assert names() == set()


def test_it_takes_no_answer_for_anothers() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        insert("one")
        insert("two")
        del wrapper._pipelined._requests[0]
    assert names() == set()
    insert_and_read = [Clinic.objects.mongo_insert([{"name": str(n)}]) or names() for n in range(3)]
    assert insert_and_read[-1] == {"0", "1", "2"}


@pytest.mark.parametrize(("before", "after"), [({"one"}, {"two"}), ({"one"}, set()), (set(), {"two"}), (set(), set())])
def test_it_goes_on_past_something_that_cannot_be_sent(before: set[str], after: set[str]) -> None:
    with transaction.atomic():
        for name in before:
            insert(name)
        with pytest.raises(OverflowError):
            Clinic.objects.mongo_insert_pipelined([{"name": 2**64}])
        for name in after:
            insert(name)
    assert names() == before | after


def test_it_holds_no_connection_for_a_question_that_cannot_be_asked() -> None:
    with pytest.raises(OverflowError):
        Clinic.objects.mongo_find_one({"name": 2**64})
    assert sockets_in_use() == 0
    with transaction.atomic():
        insert("one")
    assert names() == {"one"}


def test_it_commits_nothing_when_somebody_overlooks_that_a_write_was_lost() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        insert("one")
        break_connection()
        insert("two")
        with pytest.raises(OperationalError):
            Clinic.objects.mongo_find_one({})
        insert("three")
    assert names() == set()


# --- reading ---------------------------------------------------------------------------------------------------------


def test_it_finds_one_or_none() -> None:
    Clinic.objects.mongo_insert_many([{"name": "b"}, {"name": "a"}])
    assert Clinic.objects.mongo_find_one({"name": "c"}) is None
    assert Clinic.objects.mongo_find_one({"name": "a"}, {"_id": 0}) == {"name": "a"}
    assert Clinic.objects.mongo_find_one({}, {"_id": 0}, sort=[("name", 1)]) == {"name": "a"}
    assert Clinic.objects.mongo_find_one({"name": "c"}, sort=[("name", 1)]) is None


def test_it_refuses_what_mongodb_refuses() -> None:
    with pytest.raises(DatabaseError):
        Clinic.objects.mongo_find_one({"name": {"$noSuchOperator": 1}})
    with pytest.raises(DatabaseError):
        Clinic.objects.mongo_aggregate_page([{"$noSuchStage": 1}])


def test_it_reads_documents_that_come_in_many_pieces() -> None:
    Clinic.objects.mongo_insert_one({"name": "large", "text": "x" * 3_000_000})
    assert len(Clinic.objects.mongo_find_one({"name": "large"})["text"]) == 3_000_000


@pytest.mark.parametrize("rows", [0, 1, 101, 999, 1_000, 1_001, 2_500])
def test_it_reads_a_page_and_more_than_a_page(rows: int) -> None:
    if rows:
        Clinic.objects.mongo_insert_many([{"name": str(n)} for n in range(rows)])
    page = Clinic.objects.mongo_aggregate_page([{"$match": {}}, {"$project": {"_id": 0, "name": 1}}])
    assert {row["name"] for row in page} == {str(n) for n in range(rows)}
    assert len(page) == rows


def test_it_reads_a_page_that_is_too_large_for_an_answer() -> None:
    Clinic.objects.mongo_insert_many([{"name": str(n), "text": "x" * 4_000_000} for n in range(6)])
    assert len(Clinic.objects.mongo_aggregate_page([{"$match": {}}])) == 6


def test_it_asks_once_more_when_the_connection_was_lost() -> None:
    Clinic.objects.mongo_insert_one({"name": "there"})
    break_idle_connections()
    assert Clinic.objects.mongo_find_one({})["name"] == "there"
    break_idle_connections()
    assert len(Clinic.objects.mongo_aggregate_page([{"$match": {}}])) == 1


def test_it_asks_nothing_again_in_a_transaction() -> None:
    Clinic.objects.mongo_insert_one({"name": "there"})
    attempts: list[int] = []

    def work() -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            Clinic.objects.mongo_find_one({})
            break_idle_connections()
        return Clinic.objects.mongo_find_one({})

    assert transaction.run(work)["name"] == "there"
    assert len(attempts) == 2


def test_it_tells_how_long_commands_took_and_which_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, bool, float]] = []
    for module in ("collections", "pipelining"):
        monkeypatch.setattr(f"booking_service.djongo.{module}.command_took", lambda *took: told.append(took))
    Clinic.objects.mongo_find_one({})
    with pytest.raises(OperationalError), transaction.atomic():
        insert("one")
        break_connection()
    with transaction.atomic():
        insert("one")
        time.sleep(0.2)
    with pytest.raises(DatabaseError):
        Clinic.objects.mongo_find_one({"name": {"$noSuchOperator": 1}})
    assert [took[:2] for took in told] == [("find", True), ("pipelined", False), ("pipelined", True), ("find", False)]
    assert all(seconds < 0.2 for _, _, seconds in told)


def test_it_is_not_in_the_hurry_of_a_probe() -> None:
    """`pymongo.timeout` leaves its end on the socket that it used."""
    assert answers(0.5)
    slow = {"$where": "sleep(800) || true"}
    Clinic.objects.mongo_insert_one({"name": "there"})
    assert answers(0.5)
    assert Clinic.objects.mongo_find_one(slow)["name"] == "there"
    assert answers(0.5)
    with transaction.atomic():
        insert("one")
        Clinic.objects.mongo_update_one({"name": "one"}, {"$set": {"name": "two"}})
        insert("three")
    assert names() == {"there", "two", "three"}


def test_it_refuses_at_once_what_is_too_large_to_send() -> None:
    began = time.monotonic()
    with pytest.raises(DocumentTooLarge), transaction.atomic():
        insert("one")
        insert("x" * 17_000_000)
    assert time.monotonic() - began < 2
    assert names() == set()


@pytest.mark.parametrize("interrupted", [KeyboardInterrupt, SystemExit, ValueError])
def test_it_leaves_nothing_behind_when_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, interrupted: type[BaseException]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise interrupted

    for step in ("_answer_to", "add"):
        with monkeypatch.context() as patched, pytest.raises(interrupted), transaction.atomic():
            insert("one")
            insert("two")
            patched.setattr(PipelinedWrites, step, interrupt)
            insert("three")
        assert wrapper._session is None
        assert sockets_in_use() == 0
    Clinic.objects.mongo_insert([{"name": "after"}])
    assert names() == {"after"}


def test_it_leaves_no_cursor_open() -> None:
    def open_cursors() -> int:
        return wrapper.database.command("serverStatus")["metrics"]["cursor"]["open"]["total"]

    Clinic.objects.mongo_insert_many([{"name": str(n)} for n in range(2_500)])
    before = open_cursors()
    for _ in range(3):
        assert len(Clinic.objects.mongo_aggregate_page([{"$match": {}}])) == 2_500
    assert open_cursors() == before


def test_it_raises_the_errors_of_django_with_options_too() -> None:
    with pytest.raises(DatabaseError):
        Clinic.objects.mongo_find_one({"name": {"$noSuchOperator": 1}}, sort=[("name", 1)])


def test_it_raises_what_the_driver_raises_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise AutoReconnect("gone")

    monkeypatch.setattr(type(wrapper.connection), "_conn_for_writes", lost)
    with pytest.raises(OperationalError), transaction.atomic():
        insert("one")


def test_a_write_on_the_primary_alone_is_there_at_once() -> None:
    Clinic.objects.mongo_insert_one({"name": "before"})
    Clinic.objects.mongo_on_primary.update_one({"name": "before"}, {"$set": {"name": "after"}})
    assert names() == {"after"}
    assert Clinic.objects.mongo_on_primary.write_concern.document == {"w": 1}


def test_it_sends_nothing_that_is_rolled_back() -> None:
    before = operations("insert")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        insert("one")
        insert("two")
        1 / 0  # noqa: B018
    assert operations("insert") == before
    assert wrapper._pipelined is None


def operations(name: str) -> int:
    """How many commands of that name MongoDB has had."""
    return int(wrapper.database.command("serverStatus")["opcounters"][name])


@pytest.mark.parametrize("then", ["updates", "commits", "rolls back"])
def test_it_leaves_no_transaction_open_when_a_connection_is_refused_once(
    monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    attempts: list[int] = []

    def work() -> None:
        attempts.append(1)
        Clinic.objects.mongo_insert_in_transaction([{"name": "one"}])
        if len(attempts) == 1:
            refuse_next_connection(monkeypatch)
        if then == "updates":
            Clinic.objects.mongo_update_one({"name": "one"}, {"$set": {"name": "two"}})
        if then == "rolls back":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) if then == "rolls back" else nullcontext():
        transaction.run(work)

    assert names() == {"updates": {"two"}, "commits": {"one"}, "rolls back": set()}[then]
    assert wrapper.connection.admin.command("serverStatus")["transactions"]["currentOpen"] == 0


def refuse_next_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections that are idle have gone, and the first new one is refused."""
    connect, refusals = driver_pool._configured_socket_interface, [ConnectionRefusedError("refused")]

    def connected(*args: Any, **kwargs: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return connect(*args, **kwargs)

    for idle in list(pool().conns):
        idle.close_conn(None)
    pool().conns.clear()
    monkeypatch.setattr(driver_pool, "_configured_socket_interface", connected)
