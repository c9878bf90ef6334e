"""P10: who guesses waits, sessions end when they must, passwords are kept as they should be."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from config import accounts
from tests import fakes
from tests.factories import PASSWORD, Cast
from therapists.accounts import lockout, sessions
from therapists.models import OpenSession, User

SESSION, ME, DESK = "/api/v1/auth/session/", "/api/v1/therapists/me/", "/admin/"
SCRIPTS = Path(__file__).resolve().parents[2] / "interventions/static/interventions"
HERE, ELSEWHERE = "192.0.2.7", "198.51.100.9"


def sign_in(email: str, password: str = PASSWORD, origin: str = HERE, headers: dict[str, str] | None = None) -> Any:
    body = {"email": email, "password": password}
    return Client(REMOTE_ADDR=origin).post(SESSION, body, "application/json", headers=headers)


def wrong(email: str, times: int, **more: Any) -> list[int]:
    return [sign_in(email, "not the password", **more).status_code for _ in range(times)]


class TestLockout:
    def test_p10_who_guesses_waits_for_this_account_and_from_there_alone(self, cast: Cast, settings: Any) -> None:
        # However it is spelled: another spelling is no other account.
        assert wrong(cast.ada.email, 2) + wrong(f" {cast.ada.email.upper()} ", 2) == [401] * 4
        assert wrong(cast.ada.email, 1) == [429]
        answer = sign_in(cast.ada.email)
        assert (answer.status_code, answer.json()["code"]) == (429, "locked_out")
        assert answer["Content-Type"] == "application/problem+json"
        assert 14 * 60 < int(answer["Retry-After"]) <= 15 * 60
        assert "sessionid" not in answer.cookies
        assert sign_in(cast.ben.email).status_code == 200
        assert sign_in(cast.ada.email, origin=ELSEWHERE).status_code == 200, "nobody is locked out by somebody else"
        call_command("axes_reset_username", cast.ada.email)
        assert sign_in(cast.ada.email).status_code == 200

    def test_p10_an_account_that_does_not_exist_is_locked_out_alike(self, cast: Cast) -> None:
        known, unknown = wrong(cast.ada.email, 6), wrong("nobody@example.org", 6)
        assert known == unknown == [401] * 4 + [429] * 2
        said = [sign_in(email, "x").json()["detail"] for email in (cast.ada.email, "nobody@example.org")]
        assert said[0] == said[1]

    def test_p10_the_desks_door_counts_with_the_others(self, cast: Cast) -> None:
        wrong(cast.vic.email, 3)
        client = Client(REMOTE_ADDR=HERE)
        form = {"username": cast.vic.email, "password": "not the password"}
        assert [client.post("/admin/login/", form).status_code for _ in range(2)] == [200, 429]
        page = client.post("/admin/login/", form | {"password": PASSWORD})
        assert (page.status_code, "Wait 15 minutes" in page.content.decode()) == (429, True)
        assert sign_in(cast.vic.email).status_code == 429

    def test_p10_the_wait_ends_and_a_success_forgets_what_was_wrong(self, cast: Cast, settings: Any) -> None:
        wrong(cast.ada.email, 4)
        assert sign_in(cast.ada.email).status_code == 200
        assert wrong(cast.ada.email, 5)[:4] == [401] * 4
        settings.AXES_COOLOFF_TIME = dt.timedelta(0)
        assert sign_in(cast.ada.email).status_code == 200

    def test_p10_nobody_chooses_where_they_come_from(self, cast: Cast, settings: Any) -> None:
        """A header that a caller writes is not read; behind proxies of ours, what the outermost of them wrote is."""
        for number in range(5):
            sign_in(cast.ada.email, "x", headers={"X-Forwarded-For": f"203.0.113.{number}"})
        assert sign_in(cast.ada.email, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 429
        settings.PROXIES = 1
        for number in range(5):
            sign_in(cast.ben.email, "x", headers={"X-Forwarded-For": f"203.0.113.{number}, {ELSEWHERE}"})
        assert sign_in(cast.ben.email, headers={"X-Forwarded-For": f"203.0.113.9, {ELSEWHERE}"}).status_code == 429
        assert sign_in(cast.ben.email, headers={"X-Forwarded-For": HERE}).status_code == 200

    def test_p10_of_ipv6_a_whole_network_counts_as_one_place(self, cast: Cast) -> None:
        for number in range(5):
            sign_in(cast.ada.email, "x", origin=f"2001:db8:0:7::{number:x}")
        assert sign_in(cast.ada.email, origin="2001:db8:0:7:ffff::1").status_code == 429
        assert sign_in(cast.ada.email, origin="2001:db8:0:8::1").status_code == 200
        assert wrong(cast.ben.email, 5, origin=f"::ffff:{HERE}")[-1] == 429
        assert sign_in(cast.ben.email).status_code == 429, "the same place, said otherwise"

    def test_p10_tries_that_count_no_longer_are_forgotten(self, cast: Cast) -> None:
        wrong(cast.ada.email, 1)
        assert lockout.forget_old(at=timezone.now()) == 0
        assert lockout.forget_old(at=timezone.now() + dt.timedelta(minutes=16)) == 1

    def test_p10_a_dead_redis_neither_opens_the_door_nor_closes_it(self, cast: Cast, settings: Any) -> None:
        settings.REDIS_URL = settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
        assert sign_in(cast.ada.email).status_code == 200
        assert wrong(cast.ben.email, 5) == [401] * 4 + [429]


class TestSessions:
    def aged(self, **ago: dt.timedelta) -> None:
        now = timezone.now()
        OpenSession.objects.update(**{name: now - age for name, age in ago.items()})

    def test_p10_a_session_of_staff_ends_unused_and_after_a_working_day(self, cast: Cast, settings: Any) -> None:
        settings.STAFF_IDLE_MINUTES, settings.STAFF_SESSION_HOURS = 30, 12
        minute, hour = dt.timedelta(minutes=1), dt.timedelta(hours=1)
        client, ada = Client(), Client()
        ada.force_login(cast.ada)
        for age, is_open in (
            ({"used_at": 29 * minute}, True),
            ({"used_at": 31 * minute}, False),
            ({"began_at": 12 * hour - minute}, True),
            ({"began_at": 12 * hour + minute}, False),
        ):
            client.force_login(cast.vic)
            self.aged(**age)
            assert client.get("/api/v1/interventions/").status_code == (200 if is_open else 401)
            assert client.get(DESK).status_code == (200 if is_open else 302)
        assert ada.get(ME).status_code == 200, "a therapist's page may stay open"

    def test_p10_a_page_that_looks_for_news_keeps_nobody_signed_in(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.vic)
        for headers, is_use in (({"X-Look": "1"}, False), ({}, True)):
            self.aged(used_at=dt.timedelta(minutes=20))
            assert client.get(DESK, headers=headers).status_code == 200
            assert (OpenSession.objects.get().used_at > timezone.now() - dt.timedelta(minutes=1)) is is_use
        for script in ("inbox", "desk", "fresh"):
            text = (SCRIPTS / f"{script}.js").read_text()
            assert text.count("fetch(") == text.count('"X-Look"') == 1

    def test_p10_use_is_noted_and_begins_the_half_hour_anew(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.vic)
        self.aged(used_at=dt.timedelta(minutes=20))
        client.get(DESK)
        assert OpenSession.objects.get().used_at > timezone.now() - dt.timedelta(minutes=1)

    def test_where_use_cannot_be_noted_the_page_is_shown_all_the_same(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.sam)
        for used, status in ((dt.timedelta(minutes=2), 200), (dt.timedelta(hours=1), 302)):
            OpenSession.objects.update(used_at=timezone.now() - used)
            fakes.sql("SET default_transaction_read_only = on")
            try:
                assert client.get("/admin/interventions/intervention/").status_code == status
            finally:
                fakes.sql("RESET default_transaction_read_only")

    def test_p10_saving_a_session_does_not_prolong_the_day(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.vic)
        self.aged(began_at=dt.timedelta(hours=11, minutes=59))
        session = client.session
        session["seen"] = "something"
        session.save()
        assert OpenSession.objects.get().began_at < timezone.now() - dt.timedelta(hours=11)

    def test_p10_whoever_becomes_staff_is_held_to_it_at_once(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.ada)
        User.objects.filter(pk=cast.ada.pk).update(is_staff=True)
        self.aged(used_at=dt.timedelta(hours=1))
        assert client.get(ME).status_code == 401

    def test_p10_signing_in_begins_a_session_of_its_own(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.vic)
        before = client.cookies["sessionid"].value
        self.aged(began_at=dt.timedelta(hours=11))
        client.post(SESSION, {"email": cast.vic.email, "password": PASSWORD}, "application/json")
        (row,) = OpenSession.objects.all()
        assert row.pk != before
        assert row.began_at > timezone.now() - dt.timedelta(minutes=1)

    def test_p10_a_late_answer_takes_nobodys_next_cookie(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.ben)
        before = client.cookies["sessionid"].value
        client.post(SESSION, {"email": cast.ada.email, "password": PASSWORD}, "application/json")
        # Asked by a page of before, answered after Ada's cookie has come.
        late = Client(headers={"Cookie": f"sessionid={before}"}).get(ME)
        assert (late.status_code, "sessionid" in late.cookies, "Cookie" in late["Vary"]) == (401, False, True)
        gone = client.delete(SESSION)
        assert (gone.status_code, gone.cookies["sessionid"].value) == (204, "")

    def test_p10_all_sessions_end_at_once(self, cast: Cast) -> None:
        here, there, ben = Client(), Client(), Client()
        for client, person in ((here, cast.ada), (there, cast.ada), (ben, cast.ben)):
            client.force_login(person)
        assert here.delete("/api/v1/auth/sessions/").status_code == 204
        assert [client.get(ME).status_code for client in (here, there, ben)] == [401, 401, 200]

    def test_p10_another_password_ends_the_others(self, cast: Cast) -> None:
        here, there = Client(), Client()
        for client in (here, there):
            client.force_login(cast.vic)
        form = {"old_password": PASSWORD, "new_password1": "brand new and long", "new_password2": "brand new and long"}
        assert here.post("/admin/password_change/", form).status_code == 302
        assert [client.get(DESK).status_code for client in (here, there)] == [200, 302]

    def test_rows_of_ended_sessions_go(self, cast: Cast) -> None:
        for person in (cast.ada, cast.ben):
            Client().force_login(person)
        OpenSession.objects.filter(person=cast.ada).update(expire_date=timezone.now())
        assert sessions.forget_ended(at=timezone.now()) == 1
        assert OpenSession.objects.get().person_id == cast.ben.pk


class TestPasswords:
    def test_p10_are_kept_by_argon2_and_rehashed_at_the_next_sign_in(self, cast: Cast, settings: Any) -> None:
        settings.PASSWORD_HASHERS = [accounts.PASSWORD_HASHERS[0], "django.contrib.auth.hashers.MD5PasswordHasher"]
        assert sign_in(cast.ada.email).status_code == 200
        cast.ada.refresh_from_db()
        assert cast.ada.password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")

    @pytest.mark.parametrize("password", ["elevenchars", "password1234", "ada.quist@example.org"])
    def test_p10_what_is_short_common_or_their_own_name_is_refused(self, password: str) -> None:
        with pytest.raises(ValidationError):
            validate_password(password, User(email="ada.quist@example.org", full_name="Ada Quist"))
        validate_password("correct horse battery", User(email="ada.quist@example.org"))
