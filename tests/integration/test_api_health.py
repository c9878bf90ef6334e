"""Health that cannot read is red, and names what failed."""

from typing import Any
from unittest import mock

import pytest
from django.db import DatabaseError, OperationalError
from django.test import Client

from sync import health, triggers
from sync.fallback import with_graceful_degradation
from sync.strict import SecondBest, allow
from tests import fakes
from tests.factories import Cast


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of the tests may write lazily; what is asked of them is tested alone."""
    monkeypatch.setattr(health, "_durability", list)


def test_live_asks_nobody(client: Client) -> None:
    """No database is allowed in this test."""
    assert client.get("/health/live").json() == {"status": "live"}


@pytest.mark.usefixtures("transactional_db", "durable")
class TestReady:
    def failed(self, client: Client) -> list[str]:
        answer = client.get("/health/ready")
        assert (answer.status_code == 503) is bool(answer.json()["failed"])
        return list(answer.json()["failed"])

    def test_when_everything_holds(self, client: Client) -> None:
        assert self.failed(client) == []

    def test_not_without_a_migration(self, client: Client) -> None:
        known = frozenset({("sync", "9999_not_applied")})
        with mock.patch.object(health, "_known_migrations", return_value=known):
            assert self.failed(client) == ["migrations"]

    def test_not_without_the_part_of_the_net_that_writes_debt(self, client: Client) -> None:
        fakes.sql("DROP TRIGGER zz_sync_debt ON therapist_enrollments")
        try:
            assert self.failed(client) == ["net"]
            assert "zz_sync_debt missing" in client.get("/health/ready").json()["checks"]["net"]["found"]
        finally:
            triggers.install()

    def test_not_with_a_net_that_is_not_the_declared_one(self, client: Client) -> None:
        fakes.sql("COMMENT ON TRIGGER sync_avatar_from_users ON users IS 'older'")
        try:
            assert self.failed(client) == ["net"]
        finally:
            triggers.install()

    def test_with_copying_switched_off_and_says_so(self, client: Client) -> None:
        triggers.disable()
        try:
            assert self.failed(client) == []
            assert client.get("/health/ready").json()["checks"]["net"]["found"] == "copying off"
        finally:
            triggers.enable()

    @pytest.mark.parametrize("error", [OperationalError("secret value"), DatabaseError("secret value")])
    def test_not_when_it_cannot_read(self, client: Client, error: Exception) -> None:
        with mock.patch("sync.triggers.status", side_effect=error):
            answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()["failed"]) == (503, ["database"])
        assert "secret value" not in answer.content.decode()


@pytest.mark.parametrize(("value", "is_good"), [("on", True), ("local", True), ("off", False)])
def test_durability_is_read_from_the_server(transactional_db: None, value: str, is_good: bool) -> None:
    fakes.sql(f"SET synchronous_commit = {value}")
    try:
        found = {check.name: check for check in health._durability()}
        assert found["synchronous_commit"].is_good is is_good
        assert set(found) == {"fsync", "full_page_writes", "synchronous_commit"}
    finally:
        fakes.sql("RESET synchronous_commit")


def test_detail_counts_what_is_owed(cast: Cast, client: Client) -> None:
    client.force_login(cast.vic)
    body: Any = client.get("/health/").json()["parts"]
    assert body["owed"]["debt_rows"] == 1
    assert body["owed"]["oldest_seconds"] >= 0
    assert body["net"]["debt"] is True
    assert body["net"]["gap"] is None
    with fakes.refusing("therapist_profiles", "bio <> 'Seven years with families.'"):
        fakes.settled()
        states = client.get("/health/").json()["parts"]["owed"]["states"]
        assert states == {"therapist_profiles": {"blocked": 1}}
    with mock.patch("sync.triggers.status", side_effect=OperationalError("x")):
        assert client.get("/health/").status_code == 503


class TestGracefulDegradation:
    @pytest.fixture(autouse=True)
    def _declared(self) -> None:
        for name in ("count", "divide", "select"):
            allow(name, SecondBest.DEGRADED)

    def test_gives_the_value(self) -> None:
        found = with_graceful_degradation(lambda: 7, name="count")
        assert (found.success, found.value, found.degraded, found.warnings) == (True, 7, False, ())

    def test_notes_the_failure_without_its_words(self, transactional_db: None) -> None:
        found = with_graceful_degradation(lambda: fakes.sql("SELECT 1 / 0"), name="divide", entity_id="7")
        assert (found.success, found.value, found.degraded) == (False, None, True)
        rows = fakes.sql("SELECT operation, entity_id, error, resolved FROM manual_intervention_log")
        assert rows == [("divide", "7", "divide: 22012", False)]

    def test_leaves_the_surrounding_transaction_whole(self, db: None) -> None:
        found = with_graceful_degradation(lambda: fakes.sql("SELECT nonsense"), name="select")
        assert found.degraded
        assert fakes.sql("SELECT count(*) FROM manual_intervention_log") == [(1,)]
