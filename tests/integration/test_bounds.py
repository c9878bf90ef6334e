"""What a request's connection may cost, and what is answered when PostgreSQL does not."""

import copy
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.test import Client

from config import database
from config.database import bounded, pooled
from interventions.api.problems import is_away
from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment

ME = "/api/v1/therapists/me/"
SHORT = "-c statement_timeout=150ms -c lock_timeout=100ms -c idle_in_transaction_session_timeout=150ms"


@pytest.fixture
def web(settings: Any, transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A connection as a web process has it, from a pool of its own."""
    settings.WEB_THREADS = 1
    made = connection.copy(alias="web")
    made.settings_dict = copy.deepcopy(made.settings_dict) | {"CONN_HEALTH_CHECKS": True}
    made.settings_dict["OPTIONS"] = pooled(bounded({"options": "-c lock_timeout=2s"}))
    connections["web"] = made
    yield made
    del connections["web"]
    made.close()
    made.close_pool()  # type: ignore[attr-defined]


def shown(wrapper: BaseDatabaseWrapper, name: str) -> str:
    with wrapper.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def web_pid(wrapper: BaseDatabaseWrapper) -> int:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


class TestAConnectionOfTheWeb:
    def test_is_bounded_whoever_had_it_before(self, web: Any) -> None:
        for _ in range(2):
            with web.cursor() as cursor:
                cursor.execute("BEGIN; SET LOCAL statement_timeout = 0; COMMIT")
            assert shown(web, "statement_timeout") == "15s"
            assert shown(web, "idle_in_transaction_session_timeout") == "15s"
            assert shown(web, "lock_timeout") == "2s", "what DATABASE_URL says counts for more"
            web.close()

    def test_that_was_broken_is_not_given_out_again(self, web: Any) -> None:
        pid = web_pid(web)
        web.close()
        fakes.sql("SELECT pg_terminate_backend(%s)", pid)
        fakes.wait_until(
            lambda: not fakes.sql("SELECT FROM pg_stat_activity WHERE pid = %s", pid), what="the session is gone"
        )
        assert shown(web, "application_name") is not None

    def test_p9_to_a_server_that_is_frozen_is_given_up(
        self, web: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pid = web_pid(web)
        if b"postgres" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            pytest.skip("The server is another machine's.")
        settings.WEB_STATEMENT_SECONDS = 0
        os.kill(pid, signal.SIGSTOP)
        try:
            with monkeypatch.context() as meanwhile, pytest.raises(OperationalError) as given_up:
                meanwhile.setattr(database, "SILENCE_SECONDS", 0.3)
                shown(web, "application_name")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert is_away(given_up.value), "so the answer is a 503"
        web.close()
        assert web_pid(web) != pid, "nobody gets the connection with half an answer in it"


def test_whatever_takes_too_long_is_ended_and_answered_503(cast: Cast, client: Client) -> None:
    client.force_login(cast.ada)

    def slow(**_: object) -> None:
        fakes.sql("SELECT pg_sleep(20)")

    def held(**_: object) -> None:
        fakes.sql("UPDATE therapist_enrollments SET bio = 'x'")

    def idle(**_: object) -> None:
        fakes.sql("BEGIN")
        ((pid,),) = fakes.sql("SELECT pg_backend_pid()")
        with psycopg.connect(fakes.database_url(), autocommit=True) as other:
            gone = "SELECT FROM pg_stat_activity WHERE pid = %s"
            fakes.wait_until(lambda: other.execute(gone, [pid]).rowcount == 0, what="PostgreSQL ends it")
        fakes.sql("SELECT 1")

    for reading in (slow, held, idle):
        with fakes.connected_with(options=SHORT), mock.patch("therapists.queries.own_enrollment", reading_of(reading)):
            if reading is held:
                with fakes.locked_row("therapist_enrollments", cast.ada.pk):
                    took = fakes.milliseconds(lambda: expect_503(client.get(ME)))
            else:
                took = fakes.milliseconds(lambda: expect_503(client.get(ME)))
        assert took < 10_000, reading.__name__


def reading_of(reading: Any) -> Any:
    return lambda person_id: reading()


def expect_503(answer: Any) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], answer["Retry-After"]) == (503, "unavailable", "5"), body
    assert "psycopg" not in answer.text


class TestPostgreSQLAway:
    def test_is_503_with_retry_after_and_never_a_2xx(self, cast: Cast, settings: Any) -> None:
        client = Client(raise_request_exception=False)
        client.force_login(cast.ada)
        settings.DEBUG = False
        with fakes.away():
            expect_503(client.get(ME))
            expect_503(client.patch(ME, {"bio": "lost"}, "application/json"))
            page = client.get("/admin/")
            assert (page.status_code, page["Retry-After"]) == (503, "5")
            assert "cannot reach its database" in page.text
        assert Enrollment.objects.get(user=cast.ada).bio == "Twelve years with couples."
        assert client.patch(ME, {"bio": "kept"}, "application/json").status_code == 200

    def test_after_the_view_has_answered_is_503_too(self, cast: Cast, settings: Any) -> None:
        """A middleware that writes at the end, such as the session's, is outside of every view."""
        client = Client(raise_request_exception=False)
        settings.DEBUG = False

        def failing(self: object, request: HttpRequest, response: HttpResponse) -> HttpResponse:
            raise OperationalError("secret value")

        with mock.patch("django.contrib.sessions.middleware.SessionMiddleware.process_response", failing):
            for address in ("/api/v1/nothing/", "/admin/login/"):
                started = time.monotonic()
                answer = client.get(address)
                assert (answer.status_code, answer["Retry-After"]) == (503, "5"), address
                assert "secret value" not in answer.text
                assert time.monotonic() - started < 5
