"""What ends access ends it however many things happen at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from booking_service.api.callers import Caller, Role
from patients import services
from tests.integration.patients.callers import Account, Api
from tests.integration.patients.test_login import in_parallel

REFRESH = "/api/patients/token/refresh"
LOGIN = "/api/patients/login"
ADMIN = Caller(Role.ADMIN)
ENDS: dict[str, Callable[[Account], Any]] = {
    "a sign-out everywhere": lambda who: Api()(
        "POST", "/api/patients/logout", {"refreshToken": who.refresh_token, "everywhere": True}
    ),
    "a deactivation": lambda who: services.patient_deactivate(actor=ADMIN, patient_id=who.id),
    "a second use": lambda who: Api()("POST", REFRESH, {"refreshToken": who.refresh_token}),
}


def is_in(token: str) -> bool:
    return Api(token)("GET", "/api/patients/me").status_code == 200


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("_round", range(5))
def test_no_rotation_outlives_what_ends_it(asha, end, _round):
    """Whichever comes first: either the rotation fails, or what it gave is over too."""

    def rotate() -> Any:
        return Api()("POST", REFRESH, {"refreshToken": asha.refresh_token})

    answers = in_parallel(3, lambda number: ENDS[end](asha) if number == 1 else rotate())

    given = [answer.body["data"] for answer in answers if answer is not None and (answer.body or {}).get("data")]
    assert len(given) <= 1
    for tokens in given:
        assert not is_in(tokens["token"])
        assert Api()("POST", REFRESH, {"refreshToken": tokens["refreshToken"]}).status_code == 401
    assert not is_in(asha.token)


@pytest.mark.parametrize("_round", range(5))
def test_no_session_of_the_old_password_outlives_its_change(asha, _round):
    login = {"email": asha.email, "password": asha.password}
    change = {"currentPassword": asha.password, "newPassword": "Another414002x"}

    def act(number: int) -> Any:
        if number == 2:
            return asha.api("PUT", "/api/patients/password", change)
        return Api()("POST", LOGIN, login)

    answers = in_parallel(4, act)

    assert {answer.status_code for answer in answers} <= {200, 401}
    for answer in answers:
        if isinstance(answer.body.get("data"), dict):
            assert not is_in(answer.body["data"]["token"])
    assert Api()("POST", LOGIN, login).status_code == 401
    assert Api()("POST", LOGIN, {**login, "password": "Another414002x"}).status_code == 200
    assert is_in(asha.token), "the session that changed it goes on"
