"""Idempotency-Key: a request sent twice happens once."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from booking_service.api import repositories
from booking_service.api.models import IdempotentRequest
from tests.integration.api import routes

OTHER_PATIENT = "1" * 24


def post(client: Client, path: str = "/once", key: str | None = "key-1", body: str = '{"a":1}', **headers: str) -> Any:
    if key is not None:
        headers["Idempotency-Key"] = key
    return client.post(path, body, content_type="application/json", headers=headers)


def post_in_thread(path: str = "/once", **kwargs: Any) -> Any:
    try:
        return post(Client(raise_request_exception=False), path, **kwargs)
    finally:
        connection.close()


def test_it_answers_a_repeat_with_the_stored_answer(client: Client) -> None:
    first = post(client)
    repeat = post(client)

    assert first.status_code == repeat.status_code == 201
    assert repeat.content == first.content
    assert repeat["Idempotency-Replayed"] == "true"
    assert repeat["ETag"] == '"1"'
    assert repeat["Content-Type"] == "application/json"
    assert "Idempotency-Replayed" not in first
    assert routes.effects() == 1


def test_it_runs_every_request_without_a_key(client: Client) -> None:
    first, second = post(client, key=None), post(client, key=None)

    assert first.content != second.content
    assert routes.effects() == 2
    assert IdempotentRequest.objects.count() == 0


@pytest.mark.parametrize(
    "other", [{"key": "key-2"}, {"path": "/call-partner"}, {"X-Patient": OTHER_PATIENT}], ids=["key", "path", "caller"]
)
def test_it_keeps_keys_of_other_scopes_apart(client: Client, other: dict[str, str]) -> None:
    post(client)

    answer = post(client, **other)

    assert "Idempotency-Replayed" not in answer
    assert routes.effects() == 2


def test_it_refuses_the_key_with_another_body(client: Client) -> None:
    post(client)

    answer = post(client, body='{"a":2}')

    assert answer.status_code == 422
    assert answer.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert routes.effects() == 1


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "clé"])
def test_it_refuses_an_odd_key(client: Client, key: str) -> None:
    answer = post(client, key=key)

    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_IDEMPOTENCY_KEY"
    assert routes.effects() == 0


def test_it_takes_the_longest_key(client: Client) -> None:
    assert post(client, key="k" * 255).status_code == 201


def test_it_stores_a_refusal_and_rolls_its_effect_back(client: Client) -> None:
    first, repeat = post(client, "/refuse"), post(client, "/refuse")

    assert first.status_code == repeat.status_code == 409
    assert repeat.content == first.content
    assert repeat["Idempotency-Replayed"] == "true"
    assert routes.effects() == 0


@pytest.mark.parametrize(("path", "status"), [("/down", 503), ("/crash", 500), ("/later", 429)])
def test_it_does_not_store_a_failure(client: Client, path: str, status: int) -> None:
    first, repeat = post(client, path), post(client, path)

    assert first.status_code == repeat.status_code == status
    assert "Idempotency-Replayed" not in repeat
    assert routes.effects() == 0
    assert IdempotentRequest.objects.count() == 0


def test_it_stores_the_answer_of_a_view_that_opens_its_own_transactions(client: Client) -> None:
    first, repeat = post(client, "/call-partner"), post(client, "/call-partner")

    assert repeat.content == first.content
    assert routes.effects() == 1


def test_it_answers_in_progress_while_the_first_runs(client: Client) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(post_in_thread, "/slow")
        assert routes.started.acquire(timeout=10)

        second = post(client, "/slow")
        routes.go_on.set()

    assert second.status_code == 409
    assert second.json()["code"] == "REQUEST_IN_PROGRESS"
    assert second["Retry-After"] == "1"
    assert first.result().status_code == 201
    assert post(client, "/slow").content == first.result().content
    assert routes.effects() == 1


def test_it_runs_one_of_twenty_parallel_requests() -> None:
    barrier = threading.Barrier(20)

    def together(_: int) -> Any:
        barrier.wait()
        return post_in_thread()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(together, range(20)))

    created = [a for a in answers if a.status_code == 201]
    waiting = [a for a in answers if a.status_code == 409]
    assert len(created) + len(waiting) == 20
    assert len([a for a in created if "Idempotency-Replayed" not in a]) == 1
    assert len({a.content for a in created}) == 1
    assert {a.json()["code"] for a in waiting} <= {"REQUEST_IN_PROGRESS"}
    assert routes.effects() == 1


def test_it_lets_a_repeat_take_over_from_a_runner_that_died(client: Client) -> None:
    body_hash = hash_of('{"a":1}')
    claim = claimed(client, body_hash)
    IdempotentRequest.objects.mongo_update_one(
        {"_id": claim.key}, {"$set": {"leaseUntil": datetime.now(UTC) - timedelta(seconds=1)}}
    )

    assert post(client).status_code == 201
    assert routes.effects() == 1


def test_it_waits_for_the_lease_of_a_runner_that_may_live(client: Client) -> None:
    claimed(client, hash_of('{"a":1}'))

    assert post(client).json()["code"] == "REQUEST_IN_PROGRESS"
    assert routes.effects() == 0


def test_it_commits_nothing_of_a_runner_whose_claim_was_taken_over(client: Client) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(post_in_thread, "/slow")
        assert routes.started.acquire(timeout=10)
        IdempotentRequest.objects.mongo_update_one({}, {"$set": {"owner": "another runner"}})
        routes.go_on.set()

    assert first.result().status_code == 409
    assert routes.effects() == 0
    assert IdempotentRequest.objects.mongo_find_one({})["owner"] == "another runner"


def test_it_forgets_a_key_after_a_day(client: Client) -> None:
    post(client)
    IdempotentRequest.objects.mongo_update_one({}, {"$set": {"expiresAt": datetime.now(UTC) - timedelta(seconds=1)}})

    answer = post(client, body='{"a":2}')

    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer
    assert routes.effects() == 2


def test_it_lets_mongodb_delete_old_keys(client: Client) -> None:
    post(client)

    indexes = connection.database["idempotentrequests"].index_information()  # type: ignore[attr-defined]
    stored = IdempotentRequest.objects.mongo_find_one({})

    assert indexes["expires_at_ttl"]["expireAfterSeconds"] == 0
    assert timedelta(hours=23) < stored["expiresAt"] - datetime.now(UTC) <= timedelta(hours=24)


def hash_of(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def claimed(client: Client, body_hash: str) -> repositories.Claim:
    """The claim that a runner of ``post(client)`` holds who died before it did anything."""
    post(client)
    key = IdempotentRequest.objects.mongo_find_one({})["_id"]
    IdempotentRequest.objects.mongo_delete_many({})
    connection.database[routes.EFFECTS].delete_many({})  # type: ignore[attr-defined]
    claim = repositories.request_claim(key=key, body_hash=body_hash)
    assert isinstance(claim, repositories.Claim)
    return claim
