"""Looking providers up: remembered for half a minute, longer where that is wanted, never for an assignment."""

import json
import os
import pickle
import socket
import time

import pytest
import redis
import time_machine
from bson import ObjectId
from django.core.cache import cache
from django.core.signing import Signer
from django_redis import get_redis_connection

from booking_service.api.callers import Role
from booking_service.partners import breaker_states
from booking_service.partners import main_api as main_api_module
from booking_service.partners.exceptions import ProviderDirectoryDown, ProviderNotFound
from booking_service.partners.main_api import Provider, SkillLevel, provider_get
from tests.integration.partners import servers

NURSE = ObjectId()
DOCUMENT = {
    "_id": str(NURSE),
    "role": "nurse",
    "name": "Meera Nair",
    "categories": ["NURSING"],
    "skillLevel": "ADVANCED",
    "isActive": True,
}
ADMIN: dict = {"role": "ADMIN", "name": "x", "categories": [], "skill_level": None, "is_active": True}


@pytest.fixture
def main_api(partner, settings):
    server = partner(servers.answers(DOCUMENT))
    settings.MAIN_API_URL = server.url
    return server


def test_it_tells_who_a_provider_is(main_api):
    assert provider_get(NURSE) == Provider(
        id=NURSE,
        role=Role.NURSE,
        name="Meera Nair",
        categories=frozenset({"NURSING"}),
        skill_level=SkillLevel.ADVANCED,
        is_active=True,
    )
    assert main_api.requests[0].path == f"/api/internal/providers/{NURSE}"
    assert main_api.requests[0].method == "GET"


def test_an_admin_needs_no_categories(main_api):
    main_api.behave(servers.answers({"_id": str(NURSE), "role": "admin", "name": "Ops", "isActive": True}))

    admin = provider_get(NURSE)

    assert (admin.role, admin.categories, admin.skill_level) == (Role.ADMIN, frozenset(), None)


def test_it_asks_once_in_half_a_minute(main_api):
    with time_machine.travel(0, tick=False) as clock:
        first = provider_get(NURSE)
        clock.shift(29)
        assert provider_get(NURSE) == first
        assert len(main_api.requests) == 1
        clock.shift(1)
        provider_get(NURSE)

    assert len(main_api.requests) == 2


@pytest.mark.parametrize("role", ["nurse", "physiotherapist", "admin"])
def test_who_was_dismissed_is_out_within_thirty_seconds_even_while_the_main_api_is_down(main_api, role):
    main_api.behave(servers.answers({**DOCUMENT, "role": role}))
    with time_machine.travel(0, tick=False) as clock:
        assert provider_get(NURSE).is_active
        main_api.behave(servers.resets)
        clock.shift(30)

        with pytest.raises(ProviderDirectoryDown):
            provider_get(NURSE)


def test_an_answer_is_as_old_as_its_question(main_api, monkeypatch):
    ask = main_api_module._ask
    with time_machine.travel(0, tick=False) as clock:

        def slowly(provider_id):
            answer = ask(provider_id)
            clock.shift(3)
            return answer

        monkeypatch.setattr(main_api_module, "_ask", slowly)
        provider_get(NURSE)
        clock.shift(27)
        provider_get(NURSE)

    assert len(main_api.requests) == 2


def test_an_admin_is_never_believed_for_longer(main_api, settings, no_redis):
    settings.PROVIDER_STALE_SECONDS = 3600
    main_api.behave(servers.answers({**DOCUMENT, "role": "admin"}))
    with time_machine.travel(0, tick=False) as clock:
        provider_get(NURSE)
        main_api.behave(servers.resets)
        clock.shift(30)
        with pytest.raises(ProviderDirectoryDown):
            provider_get(NURSE)
        no_redis()
        with pytest.raises(ProviderDirectoryDown):
            provider_get(NURSE)


def test_it_uses_an_older_answer_while_the_main_api_is_down(main_api, settings):
    settings.PROVIDER_STALE_SECONDS = 3600
    with time_machine.travel(0, tick=False) as clock:
        known = provider_get(NURSE)
        main_api.behave(servers.resets)
        clock.shift(3000)

        assert provider_get(NURSE) == known


def test_an_assignment_never_gets_an_older_answer_nor_a_remembered_one(main_api):
    provider_get(NURSE)
    main_api.behave(servers.answers({**DOCUMENT, "isActive": False}))
    assert provider_get(NURSE).is_active
    assert not provider_get(NURSE, allow_stale=False).is_active

    main_api.behave(servers.resets)
    with pytest.raises(ProviderDirectoryDown) as refusal:
        provider_get(NURSE, allow_stale=False)
    assert (refusal.value.status, refusal.value.code) == (503, "PROVIDER_DIRECTORY_DOWN")


def test_what_an_assignment_learns_is_remembered(main_api):
    provider_get(NURSE)
    main_api.behave(servers.answers({**DOCUMENT, "isActive": False}))
    provider_get(NURSE, allow_stale=False)

    assert not provider_get(NURSE).is_active
    assert len(main_api.requests) == 2


def test_nobody_known_and_the_main_api_down_is_a_503(main_api):
    main_api.behave(servers.refuses("500 Oops"))

    with pytest.raises(ProviderDirectoryDown):
        provider_get(NURSE)


def test_an_unknown_id_is_not_found_and_remembered(main_api):
    main_api.behave(servers.refuses("404 Not Found"))

    for _ in range(3):
        with pytest.raises(ProviderNotFound):
            provider_get(NURSE)

    assert len(main_api.requests) == 1


def test_that_somebody_was_unknown_is_not_repeated_while_the_main_api_is_down(main_api, no_redis):
    no_redis()
    main_api.behave(servers.refuses("404 Not Found"))
    with time_machine.travel(0, tick=False) as clock:
        with pytest.raises(ProviderNotFound):
            provider_get(NURSE)
        main_api.behave(servers.resets)
        clock.shift(61)

        with pytest.raises(ProviderDirectoryDown):
            provider_get(NURSE)


@pytest.mark.parametrize("role", ["doctor", "adm\u0131n"])
def test_a_role_without_business_here_is_not_found(main_api, role):
    main_api.behave(servers.answers({**DOCUMENT, "role": role}))

    with pytest.raises(ProviderNotFound):
        provider_get(NURSE)


def test_an_answer_about_another_person_is_not_found(main_api):
    main_api.behave(servers.answers({**DOCUMENT, "_id": str(ObjectId())}))

    with pytest.raises(ProviderNotFound):
        provider_get(NURSE)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_rejected_token_of_ours_says_nothing_of_the_provider(main_api, settings, status):
    settings.PROVIDER_STALE_SECONDS = 3600
    with time_machine.travel(0, tick=False) as clock:
        known = provider_get(NURSE)
        main_api.behave(servers.refuses(status))
        clock.shift(3000)

        assert provider_get(NURSE) == known
        with pytest.raises(ProviderDirectoryDown):
            provider_get(NURSE, allow_stale=False)
    assert breaker_states()["main_api"] == "closed"


@pytest.mark.parametrize("status", ["400 No", "409 No", "410 Gone", "418 No", "422 No"])
def test_another_refusal_says_nothing_of_the_provider_either(main_api, status):
    main_api.behave(servers.refuses(status))

    with pytest.raises(ProviderDirectoryDown) as refusal:
        provider_get(NURSE)

    assert (refusal.value.status, refusal.value.code) == (503, "PROVIDER_DIRECTORY_DOWN")
    assert breaker_states()["main_api"] == "closed"


@pytest.mark.parametrize("field", ["_id", "role", "name", "isActive"])
def test_an_answer_that_lacks_something_is_a_503(main_api, field):
    main_api.behave(servers.answers({name: value for name, value in DOCUMENT.items() if name != field}))

    with pytest.raises(ProviderDirectoryDown):
        provider_get(NURSE)


@pytest.fixture
def no_redis(settings):
    """Takes Redis away from now on."""

    def take_away() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            nowhere = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        settings.CACHES = {**settings.CACHES, "default": {**settings.CACHES["default"], "LOCATION": nowhere}}
        with pytest.raises((redis.ConnectionError, ConnectionError)):
            redis.Redis.from_url(nowhere).ping()

    return take_away


def test_without_redis_a_process_remembers_by_itself(main_api, no_redis):
    no_redis()

    with time_machine.travel(0, tick=False) as clock:
        assert provider_get(NURSE).role is Role.NURSE
        assert provider_get(NURSE).role is Role.NURSE
        assert len(main_api.requests) == 1
        clock.shift(61)
        provider_get(NURSE)

    assert len(main_api.requests) == 2


def test_redis_and_the_main_api_may_be_down_together(main_api, settings, no_redis):
    settings.PROVIDER_STALE_SECONDS = 3600
    with time_machine.travel(0, tick=False) as clock:
        known = provider_get(NURSE)
        no_redis()
        main_api.behave(servers.resets)
        clock.shift(3599)
        assert provider_get(NURSE) == known
        clock.shift(1)

        with pytest.raises(ProviderDirectoryDown):
            provider_get(NURSE)


def test_a_process_remembers_only_so_many():
    memory = main_api_module._Memory(size=2)
    ids = [ObjectId() for _ in range(3)]
    with time_machine.travel(0, tick=False):
        for provider_id in ids:
            memory.keep(provider_id, main_api_module._Known(None, 0.0))

        assert [memory.get(provider_id) is not None for provider_id in ids] == [False, True, True]


def signer(provider_id=NURSE):
    return Signer(salt=f"provider:{provider_id}")


def an_admin(**changes):
    return {"provider": ADMIN, "learned_at": time.time(), **changes}


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_what_somebody_put_into_redis_is_never_run(main_api, tmp_path):
    provider_get(NURSE)
    (key,) = get_redis_connection("default").keys("*provider*")
    main_api_module._memory.clear()
    get_redis_connection("default").set(key, pickle.dumps(Planted(tmp_path / "ran")))

    assert provider_get(NURSE).role is Role.NURSE

    assert not (tmp_path / "ran").exists()
    assert len(main_api.requests) == 2


@pytest.mark.parametrize(
    "entry",
    [
        an_admin(),
        json.dumps(an_admin()),
        signer(ObjectId()).sign_object(an_admin()),
        signer().sign_object(an_admin(learned_at=time.time() + 1e9)),
        signer().sign_object({**an_admin(), "provider": {"role": "GOD"}}),
        signer().sign_object([]),
        "",
        [],
        5,
    ],
    ids=["plain", "json", "of another", "of tomorrow", "no role", "no entry", "empty", "list", "number"],
)
def test_it_asks_again_when_the_cache_holds_what_it_did_not_put_there(main_api, entry):
    cache.set(f"provider:{NURSE}", entry)

    assert provider_get(NURSE).role is Role.NURSE

    assert len(main_api.requests) == 1


def test_the_cache_holds_plain_values(main_api):
    provider_get(NURSE)

    entry = signer().unsign_object(cache.get(f"provider:{NURSE}"))

    assert entry["provider"] == {
        "role": "NURSE",
        "name": "Meera Nair",
        "categories": ["NURSING"],
        "skill_level": "ADVANCED",
        "is_active": True,
    }
