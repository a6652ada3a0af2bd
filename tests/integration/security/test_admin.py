"""The admin: who gets in, what they see, and that it is on record."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from bson import ObjectId
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.db import OperationalError
from django.test import Client

from booking_service.api.admin_forms import MOVED_ON
from booking_service.api.callers import Caller, Role
from booking_service.operations import dashboard
from patients import services
from patients.audit import clinical_access_record
from patients.models import ClinicalAccess, Patient
from tests.integration.patients.callers import Api
from tests.integration.patients.test_login import in_parallel

LOGIN = "/admin/login/"
CHANGE_OWN = "/admin/password_change/"
CHANGE = "/admin/patients/patient/{}/change/"
PASSWORD = "Admin-Password-9"


@pytest.fixture
def staff():
    """Makes a staff user with some permissions, signed in."""

    def make(*permissions: str, superuser: bool = False) -> Client:
        name = f"staff{User.objects.count()}"
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True, is_superuser=superuser)
        for codename in permissions:
            user.user_permissions.add(Permission.objects.get(codename=codename))
        client = Client()
        assert client.login(username=name, password=PASSWORD)
        return client

    return make


def posted(client: Client, password: str, name: str = "root"):
    return client.post(LOGIN, {"username": name, "password": password, "next": "/admin/"})


def test_wrong_passwords_shut_the_door_for_the_right_one_too():
    User.objects.create_superuser("root", password=PASSWORD)
    assert posted(Client(), PASSWORD).status_code == 302
    for _ in range(5):
        assert posted(Client(), "wrong").status_code == 200
    answer = posted(Client(), PASSWORD)
    assert answer.status_code == 200
    assert "Too many failed attempts" in answer.content.decode()
    assert posted(Client(REMOTE_ADDR="10.0.0.1"), PASSWORD).status_code == 200, "the account is shut everywhere"


@pytest.mark.parametrize("path", [LOGIN, "/admin/", "/admin/nothing/here", "/admin/catalog/service/add/"])
def test_no_file_of_a_stranger_reaches_the_disk(path, monkeypatch):
    files = []
    monkeypatch.setattr(TemporaryFileUploadHandler, "new_file", lambda *_, **__: files.append(path))
    upload = SimpleUploadedFile("scan.bin", b"x" * settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    answer = Client().post(path, {"file": upload})
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")
    small = SimpleUploadedFile("scan.bin", b"x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE - 1000))
    assert Client().post(path, {"file": small}).status_code in {200, 302, 404}
    assert files == []


def test_the_address_is_shut_for_every_account():
    User.objects.create_superuser("root", password=PASSWORD)
    for number in range(5):
        posted(Client(), "wrong", f"guess{number}")
    assert posted(Client(), PASSWORD).status_code == 200
    assert posted(Client(REMOTE_ADDR="10.0.0.1"), PASSWORD).status_code == 302


def changed(client: Client, old: str, new: str = "Another-Password-9"):
    return client.post(CHANGE_OWN, {"old_password": old, "new_password1": new, "new_password2": new})


def test_staff_change_their_password_and_stay_signed_in(staff):
    client = staff()
    page = client.get(CHANGE_OWN)
    assert page.status_code == 200
    assert "Old password" in page.content.decode()
    answer = changed(client, PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (302, CHANGE_OWN + "done/")
    assert client.get("/admin/").status_code == 200
    assert posted(Client(), "Another-Password-9", "staff0").status_code == 302


def test_the_old_password_is_guessed_no_more_often_than_at_the_door(staff):
    client = staff()
    guesses = [changed(client, "wrong").content.decode() for _ in range(5)]
    assert all("entered incorrectly" in page for page in guesses)
    answer = changed(client, PASSWORD)
    assert answer.status_code == 200
    assert "Too many failed attempts" in answer.content.decode()
    assert posted(Client(REMOTE_ADDR="10.0.0.1"), PASSWORD, "staff0").status_code == 200, "one limit for both"
    assert User.objects.get(username="staff0").check_password(PASSWORD)


def test_nobody_else_sees_the_page_of_a_new_password():
    User.objects.create_user("nobody", password=PASSWORD)
    no_staff = Client()
    assert no_staff.login(username="nobody", password=PASSWORD)
    for client in (Client(), no_staff):
        answer = changed(client, PASSWORD)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"{LOGIN}?next={CHANGE_OWN}")


@pytest.mark.parametrize("path", ["/admin/", "/admin/patients/patient/", "/admin/patients/clinicalaccess/"])
def test_no_token_opens_it(asha, path):
    for headers in ({"Authorization": f"Bearer {asha.token}"}, {"X-Service-Token": asha.token}):
        answer = Client().get(path, headers=headers)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(LOGIN)


HIDDEN = (
    "patients/patient/?password__startswith=argon2",
    "patients/patient/?blood_group=O%2B",
    "patients/patient/?is_active=1",
    "patients/clinicalaccess/?request_id__startswith=a",
    "bookings/booking/?scheduled_time=10:00",
    "bookings/booking/?patient__gt=000000000000000000000000",
    "events/outboxevent/?event_id__startswith=a",
    "events/inboxmessage/?effect=paid",
)
FILTERS = (
    "patients/clinicalaccess/?action__exact=read",
    "bookings/booking/?status__exact=REQUESTED&money=paid",
    "events/outboxevent/?condition=dead&type=booking.created",
    "patients/patient/?q=asha%40example.com&o=1",
)


@pytest.mark.parametrize("query", HIDDEN)
def test_a_list_answers_no_question_about_what_it_does_not_show(asha, staff, query):
    assert staff(superuser=True).get(f"/admin/{query}").status_code == 400


@pytest.mark.parametrize("query", FILTERS)
def test_a_list_is_narrowed_by_its_own_filters(staff, query):
    assert staff(superuser=True).get(f"/admin/{query}").status_code == 200


def test_there_is_nothing_to_view_on_a_site(staff):
    for path in ("r/1/1/", "r/zz/zz/", f"r/{ObjectId()}/{ObjectId()}/"):
        assert staff(superuser=True).get(f"/admin/{path}").status_code == 404, path


def test_a_sign_in_leads_to_the_admin_and_nowhere_else():
    User.objects.create_superuser("root", password=PASSWORD)
    for where in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""):
        answer = Client().post(LOGIN, {"username": "root", "password": PASSWORD, "next": where})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/"), where


def test_its_pages_come_with_the_headers_that_browsers_heed(staff):
    answer = staff(superuser=True).get("/admin/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_sessions_are_short_and_their_cookie_goes_nowhere_else(staff):
    client = staff(superuser=True)
    cookie = client.get("/admin/").cookies["sessionid"]
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/admin/", "Strict", True)
    assert client.session.get_expiry_age() <= 30 * 60


def test_no_cookie_of_the_admin_goes_anywhere_else(staff, asha):
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))

    answer = client.post(CHANGE.format(asha.id), form | {"name": "Asha Patil"})

    assert {cookie["path"] for cookie in answer.cookies.values()} <= {"/admin/"}
    assert "changed successfully" in client.get("/admin/").content.decode()


@pytest.mark.parametrize("path", ["patients/patient/", "patients/clinicalaccess/", "auth/user/"])
def test_its_lists_render(staff, asha, path):
    services.patient_update(actor=services_admin(), patient_id=asha.id, changes={"bloodGroup": "A+"})
    client = staff(superuser=True)
    assert client.get(f"/admin/{path}").status_code == 200
    assert client.get(f"/admin/{path}", {"q": ".*"}).status_code == 200
    assert client.get(f"/admin/{path}", {"q": str(asha.id)}).status_code == 200


@pytest.mark.parametrize("term", ["email", "phone", "_id", "referralCode"])
def test_a_patient_is_found_by_exactly_what_one_knows(staff, asha, registered, term):
    registered()
    value = str(Patient.objects.mongo_find_one({"_id": asha.id})[term])
    page = staff("view_patient").get("/admin/patients/patient/", {"q": value.upper() if term == "email" else value})
    assert page.context["cl"].result_count == 1
    page = staff("view_patient").get("/admin/patients/patient/", {"q": value[:-1]})
    assert page.context["cl"].result_count == 0


def test_clinical_data_is_for_those_who_may_and_each_look_is_on_record(staff, asha):
    history = {"conditions": [{"name": "Rare illness"}]}
    services.patient_update(actor=services_admin(), patient_id=asha.id, changes={"medicalHistory": history})
    before = ClinicalAccess.objects.count()

    page = staff("view_patient").get(CHANGE.format(asha.id))
    assert page.status_code == 200
    assert "Rare illness" not in page.content.decode()
    assert ClinicalAccess.objects.count() == before

    page = staff("view_patient", "view_clinical").get(CHANGE.format(asha.id))
    assert "Rare illness" in page.content.decode()
    line = ClinicalAccess.objects.latest("at")
    assert (line.action, line.actor_role, line.object_id) == ("READ", "STAFF", str(asha.id))
    assert line.actor_name.startswith("staff")


def test_a_form_with_a_mistake_shows_the_history_and_that_is_on_record_too(staff, asha):
    services.patient_update(actor=services_admin(), patient_id=asha.id, changes={"bloodGroup": "A+"})
    client = staff("view_patient", "change_patient", "view_clinical")
    form = form_of(client.get(CHANGE.format(asha.id))) | {"phone": "abc"}
    before = ClinicalAccess.objects.count()

    page = client.post(CHANGE.format(asha.id), form)

    assert page.status_code == 200
    assert "A+" in page.content.decode()
    assert ClinicalAccess.objects.count() == before + 1


WRONG = {"phone": "abc", "email": "not an \u212aaddress", "name": "A", "gender": "unheard of"}


@pytest.mark.parametrize("field", WRONG)
def test_staff_write_no_contact_that_is_none(staff, asha, field):
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))
    before = Patient.objects.mongo_find_one({"_id": asha.id})

    page = client.post(CHANGE.format(asha.id), form | {field: WRONG[field]})

    assert page.status_code == 200
    assert page.context["adminform"].form.errors.keys() == {field}
    assert Patient.objects.mongo_find_one({"_id": asha.id}) == before


def test_what_staff_leave_alone_may_be_as_old_as_it_is(staff, asha):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"phone": "+91 20 1234", "gender": "F"}})
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))
    assert client.post(CHANGE.format(asha.id), form | {"name": "Asha R. Rao"}).status_code == 302
    assert Patient.objects.mongo_find_one({"_id": asha.id})["name"] == "Asha R. Rao"


GROUPS = {
    # group: (the patient's page, what is clinical there, the audit)
    "Catalog editors": (403, False, 403),
    "Booking staff": (200, False, 403),
    "Read only": (200, False, 403),
    "Clinical readers": (403, False, 403),
    "Audit readers": (403, False, 200),
    "Booking staff, Clinical readers": (200, True, 403),
}


@pytest.mark.parametrize("names", GROUPS)
def test_a_group_sees_what_is_its_business(staff, asha, names):
    history = {"conditions": [{"name": "Rare illness"}]}
    services.patient_update(actor=services_admin(), patient_id=asha.id, changes={"medicalHistory": history})
    client = staff()
    user = User.objects.get(pk=client.session["_auth_user_id"])
    user.groups.set(Group.objects.filter(name__in=names.split(", ")))
    page, sees, audit = GROUPS[names]

    answer = client.get(CHANGE.format(asha.id))

    assert answer.status_code == page
    assert ("Rare illness" in answer.content.decode()) is sees
    assert client.get("/admin/patients/clinicalaccess/").status_code == audit


def test_no_page_shows_a_hash(staff, asha):
    stored = Patient.objects.mongo_find_one({"_id": asha.id})
    page = staff(superuser=True).get(CHANGE.format(asha.id)).content.decode()
    assert stored["password"] not in page
    assert stored["sessions"][0]["refreshId"] not in page


def form_of(page) -> dict:
    """What a browser sends when nothing was typed."""
    form = page.context["adminform"].form
    shown = {name: form[name].value() or "" for name in form.fields}
    for name in shown:
        assert f'name="{form[name].html_initial_name}"' in page.content.decode()
    return shown | {form[name].html_initial_name: value for name, value in shown.items()}


def test_a_correction_changes_what_was_corrected_and_nothing_else(staff, asha):
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"emailVerified": True, "monolithField": 1}})
    before = Patient.objects.mongo_find_one({"_id": asha.id})
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))

    answer = client.post(
        CHANGE.format(asha.id), form | {"email": "new@example.com", "is_verified": "on", "password": "x"}
    )

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    after = Patient.objects.mongo_find_one({"_id": asha.id})
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed == {"email", "emailLower", "emailVerified", "updatedAt"}


def test_a_birthday_is_the_day_that_was_typed(staff, asha):
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))
    assert client.post(CHANGE.format(asha.id), form | {"date_of_birth": "2000-01-01"}).status_code == 302
    assert Patient.objects.mongo_find_one({"_id": asha.id})["dateOfBirth"] == datetime(2000, 1, 1, tzinfo=UTC)
    form = form_of(client.get(CHANGE.format(asha.id)))
    assert str(form["date_of_birth"]) == "2000-01-01"
    assert client.post(CHANGE.format(asha.id), form | {"date_of_birth": ""}).status_code == 302
    assert Patient.objects.mongo_find_one({"_id": asha.id})["dateOfBirth"] is None


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1850-01-01", "2000-02-30", "x", "0000-00-00"])
def test_a_day_that_is_no_birthday_is_refused(staff, asha, day):
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))
    page = client.post(CHANGE.format(asha.id), form | {"date_of_birth": day})
    assert page.context["adminform"].form.errors.keys() == {"date_of_birth"}
    assert "dateOfBirth" not in Patient.objects.mongo_find_one({"_id": asha.id})


def test_staff_undo_nothing_that_changed_while_they_looked(staff, asha):
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))
    own = {"name": "Asha Patil", "phone": "9000012345", "dateOfBirth": "2000-01-01"}
    assert asha.api("PUT", "/api/patients/me", own).status_code == 200
    Patient.objects.mongo_update_one({"_id": asha.id}, {"$set": {"phoneVerified": True}})
    before = Patient.objects.mongo_find_one({"_id": asha.id})

    assert client.post(CHANGE.format(asha.id), form | {"gender": "female"}).status_code == 302

    after = Patient.objects.mongo_find_one({"_id": asha.id})
    assert after == before | {"gender": "female", "updatedAt": after["updatedAt"]}


def test_of_two_who_change_the_same_the_second_is_told(staff, asha):
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))
    asha.api("PUT", "/api/patients/me", {"phone": "9000012345", "dateOfBirth": "2000-01-01"})
    before = Patient.objects.mongo_find_one({"_id": asha.id})
    typed = {"phone": "9000054321", "date_of_birth": "1990-01-01", "gender": "female"}

    page = client.post(CHANGE.format(asha.id), form | typed)

    assert page.context["adminform"].form.errors == {name: [MOVED_ON] for name in ("phone", "date_of_birth")}
    assert Patient.objects.mongo_find_one({"_id": asha.id}) == before
    again = form_of(client.get(CHANGE.format(asha.id)))
    assert client.post(CHANGE.format(asha.id), again | typed).status_code == 302


def test_of_several_who_change_the_same_at_once_one_is_stored_and_the_others_are_told(staff, asha):
    clients = [staff("view_patient", "change_patient") for _ in range(4)]
    path = CHANGE.format(asha.id)
    form = form_of(clients[0].get(path))

    answers = in_parallel(4, lambda number: clients[number].post(path, form | {"name": f"Asha {'ABCD'[number]}"}))

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 302]
    told = [answer.context["adminform"].form.errors for answer in answers if answer.status_code == 200]
    assert told == [{"name": [MOVED_ON]}] * 3


def test_a_refusal_of_the_service_is_a_message(staff, asha, registered):
    client = staff("view_patient", "change_patient")
    form = form_of(client.get(CHANGE.format(asha.id)))
    answer = client.post(CHANGE.format(asha.id), form | {"phone": registered().phone}, follow=True)
    assert answer.status_code == 200
    assert "exists already" in answer.content.decode()
    assert Patient.objects.mongo_find_one({"_id": asha.id})["phone"] == asha.phone


def test_staff_close_and_reopen_accounts(staff, asha):
    client = staff("view_patient", "change_patient")
    for action, status in (("deactivate", 401), ("reactivate", 401)):
        form = {"action": action, "_selected_action": [str(asha.id)]}
        assert client.post("/admin/patients/patient/", form).status_code == 302
        assert asha.api("GET", "/api/patients/me").status_code == status
    login = {"email": asha.email, "password": asha.password}
    assert Api()("POST", "/api/patients/login", login).status_code == 200
    history = client.get(f"/admin/patients/patient/{asha.id}/history/").content.decode()
    assert [text in history for text in ("Account closed.", "Account opened again.", "staff0")] == [True] * 3


@pytest.mark.parametrize("path", ["add/", "{}/change/", "{}/delete/"])
def test_nobody_changes_the_audit(staff, asha, path):
    services.patient_update(actor=services_admin(), patient_id=asha.id, changes={"bloodGroup": "A+"})
    line = ClinicalAccess.objects.get()
    client = staff(superuser=True)
    answer = client.post(f"/admin/patients/clinicalaccess/{path.format(line.pk)}", {"action": "X", "post": "yes"})
    assert answer.status_code == 403
    assert ClinicalAccess.objects.get().action == line.action
    assert staff("view_patient").get("/admin/patients/clinicalaccess/").status_code == 403


def test_the_audit_is_searched_for_what_was_done_to_somebody_and_by_them(staff):
    somebody, another = ObjectId(), ObjectId()
    for actor, patient in ((somebody, another), (another, somebody)):
        clinical_access_record(
            actor=Caller(Role.ADMIN, actor),
            action="READ",
            object_type="patient",
            object_id=patient,
            fields=["bloodGroup"],
        )

    page = staff(superuser=True).get("/admin/patients/clinicalaccess/", {"q": str(somebody)})

    assert {line.actor_id for line in page.context["cl"].result_list} == {somebody, another}


def test_a_page_that_the_database_does_not_answer_is_worth_another_try(staff, monkeypatch):
    client = staff(superuser=True)
    client.raise_request_exception = False

    def silent(*_: object) -> None:
        raise OperationalError("MongoDB is not reachable or asks for a retry")

    monkeypatch.setattr(dashboard, "autodiscover_modules", silent)
    answer = client.get("/admin/")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"]


def services_admin():
    return Caller(Role.ADMIN)


def test_it_is_ready_to_be_deployed(process_environment):
    secret = "q8Zr2vTn5xWc7yBd1mKp4sFh6jLg9aEu3oRi0eYtXbVwNkMz"
    environment = process_environment | {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secret * 2,
        "JWT_SECRET": secret + "1",
        "SERVICE_SECRET": secret + "2",
        "ALLOWED_HOSTS": "bookings.example.com",
        "MAIN_API_URL": "http://main",
        "PAYMENT_SERVICE_URL": "http://payments",
        "NOTIFICATION_SERVICE_URL": "http://notifications",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
