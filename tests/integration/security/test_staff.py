"""Staff and their groups in the admin: what ends somebody's access stays, and whoever comes too late is told so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group, Permission, User
from django.db.models.sql import DeleteQuery
from django.test import Client

from booking_service.api.admin_forms import MOVED_ON
from booking_service.operations.admin import ChangesAlone, UserAdmin
from tests.integration.patients.test_login import in_parallel

PASSWORD, ANOTHER = "Admin-Password-9", "Another-Password-9"
USERS = "/admin/auth/user/"
OWN = {"old_password": PASSWORD, "new_password1": ANOTHER, "new_password2": ANOTHER}
OF_ANOTHER = {"usable_password": "true", "password1": ANOTHER, "password2": ANOTHER}
TAKEN, GONE = "has just used this name", "somebody has just deleted it"


def dismissed(user: Any) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False, is_superuser=False)


def deleted(user: Any) -> None:
    User.objects.filter(pk=user.pk).delete()


@pytest.fixture
def mallory(database) -> User:
    return User.objects.create_superuser("mallory", password=PASSWORD)


@pytest.fixture
def watchers(database) -> Iterator[Group]:
    group = Group.objects.create(name="Watchers")
    yield group
    group.delete()


@pytest.fixture
def client_of(database) -> Callable[[User], Client]:
    def signed_in(user: User) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def root(client_of) -> Client:
    return client_of(User.objects.create_superuser("root", password=PASSWORD))


@pytest.fixture
def meanwhile(monkeypatch):
    """Has something happen to a user between the reading and the writing of a form about them."""

    def happens(what: Callable[[Any], None], owner: type, method: str) -> None:
        original = getattr(owner, method)

        def late(self: Any, *args: Any) -> Any:
            what(self if isinstance(self, User) else self.instance)
            return original(self, *args)

        monkeypatch.setattr(owner, method, late)

    return happens


def form_of(page: Any) -> dict[str, Any]:
    """What a browser sends of a page's form as it is, the hidden fields of what was shown included."""
    form = page.context["adminform"].form
    sent: dict[str, Any] = {}
    for name in form.fields:
        value = form[name].value()
        sent |= {name: value, form[name].html_initial_name: value}
        assert form.fields[name].disabled or not value or form[name].html_initial_name in page.content.decode()
    return {name: value for name, value in sent.items() if value not in (None, False, [])}


@pytest.mark.parametrize("what", [dismissed, deleted])
def test_a_change_of_ones_password_undoes_no_dismissal(mallory, client_of, meanwhile, what):
    client = client_of(mallory)
    meanwhile(what, AbstractBaseUser, "set_password")

    answer = client.post("/admin/password_change/", OWN)

    assert answer.status_code == 302
    assert not User.objects.filter(username="mallory", is_active=True).exists()
    assert not User.objects.filter(username="mallory", is_superuser=True).exists()


@pytest.mark.parametrize("what", [dismissed, deleted])
def test_a_new_password_from_a_colleague_undoes_no_dismissal(mallory, root, meanwhile, what):
    meanwhile(what, AbstractBaseUser, "set_password")

    answer = root.post(f"{USERS}{mallory.pk}/password/", OF_ANOTHER)

    assert answer.status_code == 302
    kept = User.objects.filter(username="mallory")
    assert list(kept.values_list("is_active", "is_superuser")) == ([(False, False)] if what is dismissed else [])
    assert GONE in root.get("/admin/").content.decode() or what is dismissed


def test_password_changes_still_change_passwords(mallory, client_of, root):
    assert client_of(mallory).post("/admin/password_change/", OWN).status_code == 302
    assert User.objects.get(pk=mallory.pk).check_password(ANOTHER)
    third = {"usable_password": "true", "password1": "Third-Password-9", "password2": "Third-Password-9"}
    assert root.post(f"{USERS}{mallory.pk}/password/", third).status_code == 302
    assert User.objects.get(pk=mallory.pk).check_password("Third-Password-9")
    assert root.get("/admin/password_change/").status_code == 200


def test_a_form_that_was_open_meanwhile_stores_what_was_changed_in_it(mallory, root):
    mallory.groups.set(Group.objects.filter(name__in=["Read only", "Audit readers"]))
    path = f"{USERS}{mallory.pk}/change/"
    stale = form_of(root.get(path))
    dismissed(mallory)
    mallory.groups.clear()

    answer = root.post(path, stale | {"last_name": "Mallory"})

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    stored = User.objects.get(pk=mallory.pk)
    assert (stored.last_name, stored.is_active, stored.is_superuser) == ("Mallory", False, False)
    assert not stored.groups.exists()


def test_a_form_changes_rights_and_shows_no_hash(mallory, root):
    path = f"{USERS}{mallory.pk}/change/"
    form = form_of(root.get(path))
    assert mallory.password not in root.get(path).content.decode()
    form.pop("is_superuser")
    group = Group.objects.get(name="Read only")

    assert root.post(path, form | {"groups": [str(group.pk)]}).status_code == 302

    stored = User.objects.get(pk=mallory.pk)
    assert (stored.is_superuser, stored.is_active, list(stored.groups.all())) == (False, True, [group])


def test_of_two_who_change_the_same_about_somebody_the_second_is_told(mallory, root):
    reader, booker = Group.objects.get(name="Clinical readers"), Group.objects.get(name="Booking staff")
    mallory.groups.set([reader])
    path = f"{USERS}{mallory.pk}/change/"
    stale = {**form_of(root.get(path)), "groups": [str(reader.pk), str(booker.pk)], "first_name": "From A"}
    mallory.groups.clear()
    User.objects.filter(pk=mallory.pk).update(first_name="From B")

    page = root.post(path, stale)

    assert page.context["adminform"].form.errors == {name: [MOVED_ON] for name in ("groups", "first_name")}
    stored = User.objects.get(pk=mallory.pk)
    assert (stored.first_name, list(stored.groups.all())) == ("From B", [])
    again = {**form_of(root.get(path)), "groups": [str(booker.pk)], "first_name": "From A"}
    assert root.post(path, again).status_code == 302
    assert list(User.objects.get(pk=mallory.pk).groups.all()) == [booker]


def test_a_right_that_was_taken_from_a_group_meanwhile_stays_taken(watchers, root):
    taken, kept, added = Permission.objects.filter(codename__startswith="view_").order_by("codename")[:3]
    watchers.permissions.set([taken, kept])
    path = f"/admin/auth/group/{watchers.pk}/change/"
    stale = {**form_of(root.get(path)), "permissions": [str(right.pk) for right in (taken, kept, added)]}
    watchers.permissions.remove(taken)

    page = root.post(path, stale)

    assert page.context["adminform"].form.errors == {"permissions": [MOVED_ON]}
    assert list(watchers.permissions.all()) == [kept]
    assert root.post(path, {**form_of(root.get(path)), "permissions": [str(added.pk)]}).status_code == 302
    assert list(watchers.permissions.all()) == [added]


@pytest.mark.parametrize("name", ["groups", "permissions"])
def test_of_several_who_change_only_the_rights_of_one_at_once_one_is_stored(mallory, watchers, client_of, name):
    path, rights = {
        "groups": (f"{USERS}{mallory.pk}/change/", Group.objects.exclude(pk=watchers.pk)),
        "permissions": (f"/admin/auth/group/{watchers.pk}/change/", Permission.objects.all()),
    }[name]
    given = [str(right.pk) for right in rights.order_by("pk")[:3]]
    clients = [client_of(User.objects.create_superuser(f"root{number}", password=PASSWORD)) for number in range(3)]
    form = form_of(clients[0].get(path))

    answers = in_parallel(3, lambda number: clients[number].post(path, form | {name: [given[number]]}))

    assert sorted(answer.status_code for answer in answers) == [200, 200, 302]
    told = [answer.context["adminform"].form.errors for answer in answers if answer.status_code == 200]
    assert told == [{name: [MOVED_ON]}] * 2
    assert getattr(mallory if name == "groups" else watchers, name).count() == 1


@pytest.fixture
def between(monkeypatch):
    """Has something happen once, elsewhere, just before a method does its work on a model."""

    def happens(owner: type, method: str, model: type, what: Callable[[], Any]) -> None:
        original, left = getattr(owner, method), [what]

        def late(self: Any, *args: Any) -> Any:
            if self.model is model and left:
                in_parallel(1, lambda _: left.pop()())
            return original(self, *args)

        monkeypatch.setattr(owner, method, late)

    return happens


@pytest.mark.parametrize("how", ["page", "action"])
def test_a_group_that_is_given_while_it_is_deleted_goes_with_what_names_it(
    mallory, watchers, root, client_of, between, how
):
    path, key = f"{USERS}{mallory.pk}/change/", watchers.pk
    given = form_of(root.get(path)) | {"groups": [str(key)]}
    other, answers = client_of(User.objects.create_superuser("root2", password=PASSWORD)), []
    between(DeleteQuery, "delete_batch", Group, lambda: answers.append(other.post(path, given).status_code))

    if how == "page":
        root.post(f"/admin/auth/group/{key}/delete/", {"post": "yes"})
    else:
        chosen = {"action": "delete_selected", "_selected_action": [str(key)], "post": "yes"}
        root.post("/admin/auth/group/", chosen)

    assert answers == [302]
    assert not Group.objects.filter(pk=key).exists()
    assert not User.groups.through.objects.filter(group_id=key).exists()


def test_a_group_that_is_deleted_while_it_is_given_is_given_to_nobody(mallory, watchers, root, between):
    path, key = f"{USERS}{mallory.pk}/change/", watchers.pk
    given = form_of(root.get(path)) | {"groups": [str(key)]}
    between(UserAdmin, "save_model", User, lambda: Group.objects.filter(pk=key).delete())

    page = root.post(path, given)

    assert list(page.context["adminform"].form.errors) == ["groups"]
    assert not User.groups.through.objects.filter(group_id=key).exists()


def test_a_form_about_somebody_who_is_gone_brings_nobody_back(mallory, root, meanwhile):
    path = f"{USERS}{mallory.pk}/change/"
    form = form_of(root.get(path))
    meanwhile(lambda user: in_parallel(1, lambda _: deleted(user)), ChangesAlone, "_post_clean")

    answer = root.post(path, form | {"last_name": "Mallory"})

    assert answer.status_code == 302
    assert "Perhaps it was deleted?" in root.get("/admin/").content.decode()
    assert not User.objects.filter(username="mallory").exists()


def test_a_sign_in_of_somebody_who_is_gone_brings_nobody_back(mallory, monkeypatch, meanwhile):
    meanwhile(deleted, User, "get_session_auth_hash")
    client = Client(raise_request_exception=False)
    answer = client.post("/admin/login/", {"username": "mallory", "password": PASSWORD})
    assert answer.status_code == 302
    monkeypatch.undo()
    assert client.get("/admin/").status_code == 302
    assert not User.objects.filter(username="mallory").exists()


NEW = {
    USERS: {"username": "twin", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD},
    "/admin/auth/group/": {"name": "Twins"},
}


@pytest.mark.parametrize("path", NEW)
def test_a_name_that_two_give_at_once_is_given_once_and_told(client_of, path):
    clients = [client_of(User.objects.create_superuser(f"root{number}", password=PASSWORD)) for number in range(4)]

    answers = in_parallel(4, lambda number: clients[number].post(f"{path}add/", NEW[path]))

    assert {answer.status_code for answer in answers} <= {200, 302}
    assert User.objects.filter(username="twin").count() + Group.objects.filter(name="Twins").count() == 1
    Group.objects.filter(name="Twins").delete()


def test_whoever_has_signed_in_and_may_be_in_a_history_is_not_deleted(mallory, root, client_of):
    other = User.objects.create_superuser("eve", password=PASSWORD)
    client_of(mallory)
    page = root.post(f"{USERS}{mallory.pk}/delete/", {"post": "yes"})
    assert "deactivate instead" in page.content.decode()
    root.post(USERS, {"action": "delete_selected", "_selected_action": [str(mallory.pk)], "post": "yes"})
    assert User.objects.filter(pk=mallory.pk).exists()
    assert root.post(f"{USERS}{other.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=other.pk).exists()


def test_nobody_says_when_somebody_joined(mallory, root):
    mallory.refresh_from_db()
    path = f"{USERS}{mallory.pk}/change/"
    times = {"date_joined_0": "01/01/0001", "date_joined_1": "00:00", "last_login_0": "01/01/0001"}
    assert root.post(path, form_of(root.get(path)) | times).status_code == 302
    assert User.objects.get(pk=mallory.pk).date_joined == mallory.date_joined
