"""P10: staff come to the desk with a second factor, and show it again before what cannot be taken back."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from axes.models import AccessAttempt
from cryptography.fernet import InvalidToken
from django.core.management import call_command
from django.test import Client

from interventions.models import History
from tests.factories import PASSWORD, Cast, UserFactory
from tests.integration.test_sign_in import BROWSER, App
from therapists.accounts import factors, letters
from therapists.demo import cast as acceptance
from therapists.models import Enrollment, OpenSession, User

FACTOR, SESSION, DESK, ME = "/admin/own/factor/", "/api/v1/auth/session/", "/admin/", "/api/v1/therapists/me/"
pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """The time that codes, and how fresh they are, go by."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        for module in (totp, factors):
            patch.setattr(module.time, "time", lambda: self.now)

    def code(self, person: User) -> str:
        """Give the code that the person's telephone shows now; a moment later it is another one."""
        self.now += 30
        secret = factors.ensured_secret(person)
        (counter,) = totp.yield_hotp_counters_from_time()
        return str(totp.format_hotp_value(totp.hotp_value(secret, counter)))


@pytest.fixture(autouse=True)
def _letters_are_posted() -> Iterator[None]:
    yield
    letters.box.wait()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def lena(cast: Cast, settings: Any) -> User:
    """A lead, where staff must have a second factor."""
    settings.STAFF_SECOND_FACTOR = True
    person: User = UserFactory.create(email="lena@example.org", user_type="staff", is_staff=True, is_superuser=True)
    return person


def at_the_door(person: User) -> Client:
    """Sign in with the password alone, as the desk asks for it."""
    client = Client()
    answer = client.post("/admin/login/", {"username": person.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def decide(client: Client, cast: Cast) -> Any:
    pk = Enrollment.objects.get(user=cast.ada).pk
    body, headers = {"decision": "suspend"}, {"Idempotency-Key": str(uuid.uuid4())}
    return client.post(f"/api/v1/enrollments/{pk}/decision/", body, "application/json", headers=headers)


class TestTheDesk:
    def test_p10_without_one_every_page_leads_to_setting_it_up(self, lena: User) -> None:
        client = at_the_door(lena)
        pages = [
            "/admin/",
            "/admin/therapists/user/",
            "/admin/jsi18n/",
            "/admin/autocomplete/",
            "/admin/password_change/",
        ]
        pages += [
            "/admin/interventions/intervention/",
            "/admin/interventions/history/",
            "/admin/week/",
            "/admin/own/zone/",
        ]
        for page in pages:
            answer = client.get(page)
            assert (answer.status_code, answer["Location"][: len(FACTOR)]) == (302, FACTOR), page
        assert client.post("/admin/own/zone/", {"zone": "Asia/Tokyo"}).status_code == 302
        lena.refresh_from_db()
        assert lena.time_zone == ""
        for page in ("/api/v1/interventions/", "/health/", ME, "/api/v1/therapists/me/export/"):
            answer = client.get(page)
            assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required"), page
        assert client.delete(SESSION).status_code == 204

    def test_p10_is_set_up_shown_once_and_asked_for_at_the_next_sign_in(self, lena: User, clock: Clock) -> None:
        elsewhere, client = at_the_door(lena), at_the_door(lena)
        page = client.get(f"{FACTOR}?next=/admin/week/").content.decode()
        secret = re.findall(r"Key: <code>([A-Z2-7 ]+)</code>", page)[0].replace(" ", "")
        (counter,) = totp.yield_hotp_counters_from_time()
        form = {"way": "set_up", "code": totp.format_hotp_value(totp.hotp_value(secret, counter))}
        assert "The password is wrong" in client.post(FACTOR, form | {"password": "x"}).content.decode()
        assert (
            "The code is wrong" in client.post(FACTOR, {**form, "password": PASSWORD, "code": "000"}).content.decode()
        )
        assert not factors.is_enrolled(lena.pk)
        done = client.post(FACTOR, form | {"password": PASSWORD}).content.decode()
        codes = re.findall(r"<li><code>(\d{8})</code>", done)
        assert len(set(codes)) == 10
        assert ("Authenticator app" in done, done.count("Your second factor is set up")) == (False, 1)
        assert client.get(DESK).status_code == 200
        assert elsewhere.get(DESK)["Location"].startswith("/admin/login/"), "sessions from before have ended"

        again = at_the_door(lena)
        assert again.get("/admin/week/")["Location"] == f"{FACTOR}?next=%2Fadmin%2Fweek%2F"
        assert "The code is wrong" in again.post(FACTOR, {"way": "show", "code": "123456"}).content.decode()
        assert again.get(DESK).status_code == 302
        code = clock.code(lena)
        answer = again.post(f"{FACTOR}?next=/admin/week/", {"way": "show", "code": code})
        assert answer["Location"] == "/admin/week/"
        assert again.get(DESK).status_code == 200
        third = at_the_door(lena)
        third.post(FACTOR, {"way": "show", "code": code})
        assert third.get(DESK).status_code == 302, "a code lets in once"
        assert third.post(f"{FACTOR}?next=//evil.example/", {"way": "show", "code": codes[0]})["Location"] == DESK
        fourth = at_the_door(lena)
        fourth.post(FACTOR, {"way": "show", "code": codes[0]})
        assert fourth.get(DESK).status_code == 302, "a recovery code lets in once"

    def test_p10_what_cannot_be_taken_back_asks_for_it_anew(self, lena: User, cast: Cast, clock: Clock) -> None:
        code, client = clock.code(lena), at_the_door(lena)
        client.post(FACTOR, {"way": "show", "code": code})
        page = f"/admin/therapists/enrollment/{Enrollment.objects.get(user=cast.ada).pk}/"
        clock.now += factors.FRESH_SECONDS + 1
        for where, form in (
            (f"{page}decide/", {"decision": "suspend"}),
            (f"/admin/therapists/user/{cast.ada.pk}/erase/", {"words": f"erase {cast.ada.pk}"}),
            (f"/admin/therapists/user/{cast.vic.pk}/change/", {"is_superuser": "on"}),
            (f"/admin/therapists/user/{cast.vic.pk}/password/", {"password1": "x", "password2": "x"}),
            (f"/admin/therapists/user/{cast.vic.pk}/delete/", {"post": "yes"}),
            ("/admin/therapists/user/add/", {"email": "new@example.org"}),
        ):
            assert client.post(where, form)["Location"].startswith(FACTOR), where
        assert decide(client, cast).json()["code"] == "second_factor_required"
        assert Enrollment.objects.get(user=cast.ada).status == "approved"
        client.post(FACTOR, {"way": "show", "code": clock.code(lena)})
        assert decide(client, cast).status_code == 200
        assert client.post(f"{page}decide/", {"decision": "approve"})["Location"].startswith(page)
        assert Enrollment.objects.get(user=cast.ada).status == "approved"

    def test_p10_wrong_codes_lock_out_as_wrong_passwords_do(self, lena: User, clock: Clock) -> None:
        code, client = clock.code(lena), at_the_door(lena)
        answers = [client.post(FACTOR, {"way": "show", "code": "000000"}).status_code for _ in range(6)]
        assert answers == [200] * 4 + [429] * 2
        assert client.post(FACTOR, {"way": "show", "code": code}).status_code == 429
        assert client.get(DESK).status_code == 302

    def test_where_nobody_must_have_one_it_can_be_had(self, cast: Cast, clock: Clock) -> None:
        client = at_the_door(cast.vic)
        assert client.get(DESK).status_code == 200
        assert "You need none here" in client.get(FACTOR).content.decode()
        factors.ensured_secret(cast.vic)
        again = at_the_door(cast.vic)
        assert again.get(DESK)["Location"].startswith(FACTOR)
        again.post(FACTOR, {"way": "show", "code": clock.code(cast.vic)})
        assert "is set up" in again.get(FACTOR).content.decode()
        fresh = again.post(FACTOR, {"way": "codes"}).content.decode()
        assert len(set(re.findall(r"<li><code>(\d{8})</code>", fresh))) == 10
        assert "1 other session" in again.post(FACTOR, {"way": "end_others"}, follow=True).content.decode()
        assert client.get(DESK).status_code == 302
        assert again.get(DESK).status_code == 200


class TestTheLibrary:
    """django-allauth's own addresses know nothing of sessions that are half signed in."""

    def test_p10_a_password_alone_takes_no_factor_away_and_shows_no_code(self, lena: User, clock: Clock) -> None:
        code, client = clock.code(lena), at_the_door(lena)

        def ask(method: str, path: str, **body: str) -> Any:
            return client.generic(method, f"{BROWSER}{path}", json.dumps(body), "application/json")

        assert ask("POST", "auth/reauthenticate", password=PASSWORD).status_code == 200
        for method, path in (
            ("DELETE", "account/authenticators/totp"), ("GET", "account/authenticators/recovery-codes"),
            ("POST", "account/authenticators/recovery-codes"), ("GET", "account/authenticators"),
            ("POST", "account/password/change"),
        ):  # fmt: skip
            answer = ask(method, path, current_password=PASSWORD, new_password="a brand new long word")
            assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required"), path
        assert factors.is_enrolled(lena.pk)
        assert client.get(DESK).status_code == 302
        assert ask("POST", "auth/2fa/reauthenticate", code=code).status_code == 200
        assert client.get(DESK).status_code == 200

        clock.now += factors.FRESH_SECONDS + 1
        assert ask("POST", "auth/reauthenticate", password=PASSWORD).status_code == 200
        answer = ask("DELETE", "account/authenticators/totp")
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required"), "shown too long ago"
        ask("POST", "auth/2fa/reauthenticate", code=clock.code(lena))
        assert ask("DELETE", "account/authenticators/totp").status_code == 200

    def test_an_application_sets_it_up_and_sees_its_recovery_codes(self, lena: User, clock: Clock) -> None:
        app = App()
        app.post("auth/login", email=lena.email, password=PASSWORD)
        assert app.ask("get", "/api/v1/interventions/").json()["code"] == "second_factor_required"
        app.post("auth/reauthenticate", password=PASSWORD)
        secret = app.ask("get", "account/authenticators/totp").json()["meta"]["secret"]
        (counter,) = totp.yield_hotp_counters_from_time()
        code = totp.format_hotp_value(totp.hotp_value(secret, counter))
        assert app.post("account/authenticators/totp", code=code).status_code == 200
        assert app.ask("get", "/api/v1/interventions/").status_code == 200
        codes = app.ask("get", "account/authenticators/recovery-codes").json()["data"]["unused_codes"]
        assert len(codes) == 10

    def test_p10_a_right_code_that_comes_too_late_lets_nobody_in(self, lena: User, clock: Clock) -> None:
        factors.ensured_secret(lena)
        app = App()
        app.post("auth/login", email=lena.email, password=PASSWORD)
        tries = [app.post("auth/2fa/authenticate", code="000000").status_code for _ in range(5)]
        assert tries == [400] * 4 + [429]
        answer = app.post("auth/2fa/authenticate", code=clock.code(lena))
        assert (answer.status_code, answer.json()["code"]) == (429, "locked_out")
        assert app.ask("get", "/api/v1/interventions/").status_code == 401
        assert "000000" not in str(AccessAttempt.objects.values_list("post_data", "get_data"))

    def test_p10_a_password_between_two_guesses_forgets_none_of_them(self, lena: User, clock: Clock) -> None:
        factors.ensured_secret(lena)

        def guesses(times: int) -> list[int]:
            client = at_the_door(lena)
            return [client.post(FACTOR, {"way": "show", "code": "000000"}).status_code for _ in range(times)]

        assert guesses(2) == [200, 200]
        at_the_door(lena).post(FACTOR, {"way": "show", "code": clock.code(lena)})
        assert not AccessAttempt.objects.exists(), "a whole sign-in forgets them"
        assert [guesses(2), guesses(2), guesses(1)] == [[200, 200], [200, 200], [429]]
        assert "000000" not in str(AccessAttempt.objects.values_list("post_data", "get_data"))


class TestTheApi:
    def test_p10_a_password_alone_begins_no_session(self, cast: Cast, clock: Clock) -> None:
        factors.ensured_secret(cast.ada)
        body = {"email": cast.ada.email, "password": PASSWORD}
        client = Client()
        answer = client.post(SESSION, body, "application/json")
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required")
        assert client.post(SESSION, body | {"code": "000000"}, "application/json").json()["code"] == "wrong_code"
        assert "sessionid" not in client.cookies
        assert client.post(SESSION, body | {"code": clock.code(cast.ada)}, "application/json").status_code == 200
        assert client.get(ME).status_code == 200

    def test_p10_an_application_shows_it_before_its_token_opens_anything(
        self, lena: User, cast: Cast, clock: Clock
    ) -> None:
        code, app = clock.code(lena), App()
        answer = app.post("auth/login", email=lena.email, password=PASSWORD)
        assert (answer.status_code, answer.json()["code"]) == (401, "second_factor_required")
        assert app.ask("get", "/api/v1/interventions/").status_code == 401
        assert app.post("auth/2fa/authenticate", code="000000").status_code == 400
        assert app.post("auth/2fa/authenticate", code=code).status_code == 200
        assert app.ask("get", "/api/v1/interventions/").status_code == 200
        clock.now += factors.FRESH_SECONDS + 1
        where = f"/api/v1/enrollments/{Enrollment.objects.get(user=cast.ada).pk}/decision/"
        assert app.ask("post", where, {"decision": "suspend"}).json()["code"] == "second_factor_required"
        assert app.post("auth/2fa/reauthenticate", code=clock.code(lena)).status_code == 200
        assert app.ask("post", where, {"decision": "suspend"}).status_code == 200

    def test_p10_deleting_oneself_takes_it_too(self, cast: Cast, clock: Clock) -> None:
        client = Client()
        client.force_login(cast.ada)
        factors.ensured_secret(cast.ada)

        def ask(**more: str) -> Any:
            return client.delete(ME, {"password": PASSWORD, **more}, "application/json")

        assert ask().json()["code"] == "second_factor_required"
        assert ask(code="000000").json()["code"] == "wrong_code"
        assert ask(code=clock.code(cast.ada)).status_code == 200

    def test_the_acceptance_cast_has_it_where_it_must_be_had(self, settings: Any, clock: Clock) -> None:
        settings.DEBUG = settings.STAFF_SECOND_FACTOR = True
        people = acceptance.seed_cast()
        assert acceptance.totp_secret(people["ada"]) is None
        secret = acceptance.totp_secret(people["lena"])
        assert secret
        headers = {
            name.upper().replace("-", "_"): value for name, value in acceptance.signed_in(people["lena"]).items()
        }
        found = {f"HTTP_{name}": value for name, value in headers.items()}
        assert Client().get("/api/v1/enrollments/", **found).status_code == 200  # type: ignore[arg-type]
        assert acceptance.totp_secret(people["lena"]) == secret


class TestKeeping:
    def test_p10_secrets_are_encrypted_and_keys_can_be_changed(self, cast: Cast, settings: Any) -> None:
        settings.SECOND_FACTOR_KEYS = ["first"]
        secret = factors.ensured_secret(cast.vic)
        assert secret not in str(Authenticator.objects.values_list("data", flat=True))
        settings.SECOND_FACTOR_KEYS = ["second", "first"]
        assert factors.ensured_secret(cast.vic) == secret
        settings.SECOND_FACTOR_KEYS = ["second"]
        with pytest.raises(InvalidToken):
            factors.ensured_secret(cast.vic)

    def test_p10_a_lost_one_is_withdrawn_with_a_line_of_history(self, lena: User, clock: Clock) -> None:
        code, client = clock.code(lena), at_the_door(lena)
        client.post(FACTOR, {"way": "show", "code": code})
        call_command("staff", "factor", lena.email, stdout=(said := StringIO()))
        assert "Forgotten" in said.getvalue()
        assert not OpenSession.objects.filter(person=lena).exists()
        assert client.get(DESK)["Location"].startswith("/admin/login/")
        assert "Set up a second factor" in at_the_door(lena).get(FACTOR).content.decode()
        assert History.objects.filter(action="second_factor_withdrawn", object_id=str(lena.pk)).count() == 1
