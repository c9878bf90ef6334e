"""P10: signing up, proving an address, signing in and choosing another password, for applications and for browsers."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.core.mail import EmailMessage
from django.db import OperationalError
from django.test import Client

from sync import identity
from tests import fakes
from tests.factories import PASSWORD, Cast, UserFactory
from therapists import staff
from therapists.accounts import letters
from therapists.models import OpenSession, User
from therapists.roles import OPERATOR

APP, BROWSER = "/api/v1/auth/app/v1/", "/api/v1/auth/browser/v1/"
ME = "/api/v1/therapists/me/"
NEW_PASSWORD, ADDRESS = "a brand new long word", "New.Person@Example.org"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _letters_are_posted() -> Iterator[None]:
    yield
    letters.box.wait()


class App:
    """An application: no cookies, a token that it is given."""

    def __init__(self, root: str = APP) -> None:
        self.root, self.token = root, ""

    def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Idempotency-Key": str(uuid.uuid4())} | ({"X-Session-Token": self.token} if self.token else {})
        where = path if path.startswith("/") else self.root + path
        sent = "" if body is None else json.dumps(body)
        answer = Client().generic(method.upper(), where, sent, "application/json", headers=headers)
        if answer.content:
            self.token = (answer.json().get("meta") or {}).get("session_token", self.token)
        return answer

    def post(self, path: str, **body: str) -> Any:
        return self.ask("post", path, body)


def letter(to: str) -> str:
    """Give the text of the newest letter to this address."""
    letters.box.wait()
    return str(next(one.body for one in reversed(mail.outbox) if one.to == [to]))


def code_in(text: str) -> str:
    (found,) = re.findall(r"^[A-Z0-9]{3,}-?[A-Z0-9]+$", text, re.MULTILINE)
    return str(found)


def signed_up(app: App, address: str = ADDRESS) -> Any:
    return app.post("auth/signup", email=address, password=PASSWORD, full_name="Nia New")


class TestSigningUp:
    def test_p10_an_address_must_be_proven_before_anybody_comes_in(self) -> None:
        app = App()
        answer = signed_up(app)
        assert (answer.status_code, answer.json()["code"]) == (401, "address_unverified")
        assert answer["Content-Type"] == "application/problem+json"
        assert app.ask("get", ME).status_code == 401
        body = {"email": ADDRESS, "password": PASSWORD}
        refused = Client().post("/api/v1/auth/session/", body, "application/json")
        assert (refused.status_code, refused.json()["code"]) == (403, "address_unverified")

        assert app.post("auth/email/verify", key="WRONG-ONE").status_code == 400
        answer = app.post("auth/email/verify", key=code_in(letter(ADDRESS.lower())))
        assert (answer.status_code, answer.json()["meta"]["is_authenticated"]) == (200, True)
        person = User.objects.get(email_norm=ADDRESS.lower())
        assert (person.full_name, person.is_unproven, person.is_staff) == ("Nia New", False, False)
        assert app.ask("get", "/api/v1/therapists/me/export/").json()["person_id"] == person.pk
        assert Client().post("/api/v1/auth/session/", body, "application/json").status_code == 200

    def test_p10_an_address_that_is_taken_is_answered_alike(self, cast: Cast) -> None:
        answers = [signed_up(App(), address) for address in (f" {cast.ada.email.upper()}", "nobody.yet@example.org")]
        said = [{**one.json(), "request_id": "", "meta": ""} for one in answers]
        assert [one.status_code for one in answers] == [401, 401]
        assert said[0] == said[1]
        assert "There is an account" in letter(cast.ada.email)
        assert User.objects.filter(email_norm=cast.ada.email).count() == 1

    def test_p10_an_address_that_is_taken_costs_as_many_hashes(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashed: list[str] = []
        encode = MD5PasswordHasher.encode

        def counted(self: MD5PasswordHasher, password: str, salt: str) -> str:
            hashed.append(password)
            return encode(self, password, salt)

        monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
        signed_up(App(), cast.ada.email)
        for_taken = len(hashed)
        signed_up(App(), "nobody.yet@example.org")
        assert (for_taken, len(hashed)) == (1, 2)

    def test_p10_whoever_signed_up_with_a_colleagues_address_gets_nothing_by_their_role(self) -> None:
        signed_up(App(), "sam@example.org")
        staff.give(address="sam@example.org", role=OPERATOR, by="command")
        desk, app = Client(), App()
        form = {"username": "sam@example.org", "password": PASSWORD}
        assert desk.post("/admin/login/", form).status_code == 200, "shown again"
        assert app.post("auth/login", email="sam@example.org", password=PASSWORD).status_code == 400
        assert "sessionid" not in desk.cookies
        app.post("auth/password/request", email="sam@example.org")
        app.post("auth/password/reset", key=code_in(letter("sam@example.org")), password=NEW_PASSWORD)
        assert desk.post("/admin/login/", form | {"password": NEW_PASSWORD}).status_code == 302, "it is Sam's now"

    @pytest.mark.parametrize("password", ["short", "password1234"])
    def test_p10_a_weak_password_is_refused(self, password: str) -> None:
        answer = App().post("auth/signup", email=ADDRESS, password=password, full_name="Nia New")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "password")
        assert not User.objects.exists()

    def test_p10_nothing_else_of_a_user_can_be_set(self) -> None:
        body = {"email": ADDRESS, "password": PASSWORD, "full_name": "Nia", "is_staff": True, "is_superuser": True}
        App().ask("post", "auth/signup", body | {"unproven_address": None, "is_verified": True, "user_type": "staff"})
        person = User.objects.get()
        assert (person.is_staff, person.is_superuser, person.is_verified) == (False, False, False)
        assert (person.user_type, person.is_unproven) == ("client", True)


class TestSigningIn:
    def test_p10_an_application_gets_a_token_that_opens_the_api_until_it_ends(self, cast: Cast) -> None:
        app = App()
        answer = app.post("auth/login", email=f" {cast.ada.email.upper()} ", password=PASSWORD)
        assert answer.status_code == 200
        assert app.ask("get", ME).json()["id"] == cast.ada.pk
        assert app.ask("patch", ME, {"bio": "By an application."}).status_code == 200
        assert app.ask("delete", "auth/session").status_code == 401
        assert app.ask("get", ME).status_code == 401

    def test_p10_a_wrong_token_opens_nothing(self, cast: Cast) -> None:
        app = App()
        app.token = "x" * 32
        answer = app.ask("get", ME)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Session realm="Keepwell"')

    def test_p10_all_sessions_of_an_application_end_with_the_others(self, cast: Cast) -> None:
        app = App()
        app.post("auth/login", email=cast.ada.email, password=PASSWORD)
        assert app.ask("delete", "/api/v1/auth/sessions/").status_code == 204
        assert app.ask("get", ME).status_code == 401

    def test_a_browser_gets_a_cookie_and_needs_the_token_against_forgery(self, cast: Cast) -> None:
        client = Client(enforce_csrf_checks=True)
        body = {"email": cast.ada.email, "password": PASSWORD}
        assert client.post(BROWSER + "auth/login", body, "application/json").status_code == 403
        client.get(BROWSER + "config")
        headers = {"X-CSRFToken": client.cookies["csrftoken"].value}
        assert client.post(BROWSER + "auth/login", body, "application/json", headers=headers).status_code == 200
        assert client.get(ME).status_code == 200

    def test_p10_who_guesses_waits_here_too(self, cast: Cast) -> None:
        tries = [App().post("auth/login", email=cast.ada.email, password="x") for _ in range(5)]
        assert [one.status_code for one in tries] == [400] * 4 + [429]
        answer = App().post("auth/login", email=cast.ada.email, password=PASSWORD)
        assert (answer.status_code, answer.json()["code"]) == (429, "locked_out")
        assert int(answer["Retry-After"]) > 60

    def test_p10_nobody_is_let_in_while_postgresql_is_away(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: object, **__: object) -> None:
            raise OperationalError("the connection is lost")

        monkeypatch.setattr("django.contrib.auth.backends.ModelBackend.authenticate", away)
        answer = App().post("auth/login", email=cast.ada.email, password=PASSWORD)
        assert (answer.status_code, answer["Retry-After"], answer.json()["code"]) == (503, "5", "unavailable")
        assert not OpenSession.objects.filter(person=cast.ada).exists()


class TestAnotherPassword:
    def test_p10_takes_a_code_from_a_letter_and_ends_every_session(self, cast: Cast) -> None:
        open_one, app = Client(), App()
        open_one.force_login(cast.ada)
        answer = app.post("auth/password/request", email=cast.ada.email)
        assert answer.status_code == 401
        assert app.post("auth/password/reset", key="WRONG-ONE", password=NEW_PASSWORD).status_code == 400
        code = code_in(letter(cast.ada.email))
        assert App().post("auth/password/reset", key=code, password=NEW_PASSWORD).status_code == 409, "for them alone"
        assert app.post("auth/password/reset", key=code, password="short").status_code == 400
        assert app.post("auth/password/reset", key=code, password=NEW_PASSWORD).status_code == 401
        assert open_one.get(ME).status_code == 401
        assert App().post("auth/login", email=cast.ada.email, password=NEW_PASSWORD).status_code == 200
        assert App().post("auth/login", email=cast.ada.email, password=PASSWORD).status_code == 400

    def test_p10_is_asked_for_an_unknown_address_with_the_same_answer(self, cast: Cast) -> None:
        known, unknown = (App().post("auth/password/request", email=e) for e in (cast.ada.email, "who@example.org"))
        said = [{**one.json(), "request_id": "", "meta": ""} for one in (known, unknown)]
        assert said[0] == said[1]
        assert "no account" in letter("who@example.org")

    def test_p10_changing_it_ends_the_other_sessions_and_is_told_by_letter(self, cast: Cast) -> None:
        app, other = App(), App()
        for one in (app, other):
            one.post("auth/login", email=cast.ada.email, password=PASSWORD)
        changed = app.post("account/password/change", current_password=PASSWORD, new_password=NEW_PASSWORD)
        assert changed.status_code == 200
        assert [one.ask("get", ME).status_code for one in (app, other)] == [200, 401]
        assert "password has been changed" in letter(cast.ada.email)


class TestOneTruthOfAddresses:
    def test_p2_the_librarys_table_is_a_view_of_ours(self, cast: Cast) -> None:
        def known() -> list[tuple[Any, ...]]:
            return fakes.sql("SELECT email FROM account_emailaddress WHERE user_id = %s AND verified", cast.ada.pk)

        assert known() == [(cast.ada.email,)]
        fakes.sql("UPDATE users SET email = %s WHERE id = %s", " Somebody.Else@Example.ORG ", cast.ada.pk)
        assert known() == [("somebody.else@example.org",)]
        assert App().post("auth/login", email="somebody.else@example.org", password=PASSWORD).status_code == 200

    def test_p10_a_proof_counts_for_the_address_that_was_proven(self) -> None:
        app = App()
        signed_up(app)
        code = code_in(letter(ADDRESS.lower()))
        User.objects.update(email="not.mine@example.org", unproven_address="not.mine@example.org")
        app.post("auth/email/verify", key=code)
        person = User.objects.get()
        assert (person.email_norm, person.is_unproven) == (ADDRESS.lower(), False), "what was proven, and nothing else"

    def test_p10_an_address_that_somebody_gave_themselves_is_proven_at_the_next_sign_in(self, cast: Cast) -> None:
        own, new = Client(), "Ada.Anew@Example.org"
        own.force_login(cast.ada)
        spelled = own.patch(ME, {"email": cast.ada.email.upper()}, "application/json")
        assert (spelled.status_code, User.objects.get(pk=cast.ada.pk).is_unproven) == (200, False), "the same address"

        assert own.patch(ME, {"email": new}, "application/json").status_code == 200
        assert own.get(ME).status_code == 200, "who is signed in may mend a slip"
        body, app = {"email": new, "password": PASSWORD}, App()
        refused = Client().post("/api/v1/auth/session/", body, "application/json")
        assert (refused.status_code, refused.json()["code"]) == (403, "address_unverified")
        assert app.post("auth/login", **body).status_code == 401
        assert app.post("auth/email/verify", key=code_in(letter(new.lower()))).status_code == 200
        assert Client().post("/api/v1/auth/session/", body, "application/json").status_code == 200

    def test_addresses_and_telephones_are_changed_elsewhere(self, cast: Cast) -> None:
        for path in ("account/email", "account/phone", "auth/phone/verify"):
            for root in (APP, BROWSER):
                assert App(root).ask("get", path).status_code == 404
        person = UserFactory.create(email="Once@Example.org")
        User.objects.filter(pk=person.pk).update(email="now@example.org")
        assert identity.find_by_earlier_address("once@example.org", limit=5) == [person.pk]
        person.delete()


def test_p10_the_address_given_up_is_told_once(cast: Cast, client: Client) -> None:
    client.force_login(cast.ada)
    before = cast.ada.email
    for changes in ({"bio": "Other."}, {"email": before}, {"email": "Ada@New.example"}, {"email": "Ada@New.example"}):
        key = {"Idempotency-Key": "-".join(changes.values()).replace(" ", "")}
        assert client.patch(ME, changes, "application/json", headers=key).status_code == 200
    letters.box.wait()
    (told,) = mail.outbox
    assert (told.to, "Ada@New.example" in told.body) == ([before], False)


def test_a_letter_that_cannot_be_sent_does_not_keep_the_next_one() -> None:
    for address in ("i\u0105\u0117@)", "ada@example.org"):
        letters.post(EmailMessage("Subject", "Text", to=[address]))
    letters.box.wait()
    assert [told.to for told in mail.outbox] == [["ada@example.org"]]
