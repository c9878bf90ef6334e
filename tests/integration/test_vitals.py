"""Every part that must work is told as it is; what cannot be read is not known, spoils nothing else, and makes nobody wait."""

import datetime as dt
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from sync import errands, failing, pulse, triggers, vitals
from sync.errands import Wish
from sync.models import Service
from sync.pulse import Pulse
from sync.vitals import Part, Verdict, postgres
from sync.vitals.parts import TITLES
from tests import fakes
from tests.factories import Cast, parked_target
from therapists import reminders

pytestmark = pytest.mark.django_db(transaction=True)
NOT_CONFIGURED = "not configured, so owed nothing: listing, mail, analytics"
ELSEWHERE = {"queues", "spool", "disks"}
MOST_MS = 10_000


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is away or held is told by its own bounds; a busy machine shall not look like it."""
    monkeypatch.setattr(vitals, "WAIT_SECONDS", 30)
    monkeypatch.setattr(vitals, "READ_MS", 30_000)


def parts() -> dict[str, Part]:
    return {part.name: part for part in vitals.everything()}


def unknown() -> set[str]:
    found: set[str] = set()

    def ask() -> None:
        found.update(name for name, part in parts().items() if not part.is_known)

    assert fakes.milliseconds(ask) < MOST_MS
    return found


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_part_is_told_in_a_word_a_sentence_and_figures(cast: Cast, client: Client) -> None:
    Pulse().give(pulse.WORKER, "worker-1@here")
    client.force_login(cast.vic)
    answer = client.get("/health/")
    body: Any = answer.json()
    assert (answer.status_code, body["unknown"], list(body["parts"])) == (200, [], list(TITLES))
    assert all(part["says"] and part["title"] and part["verdict"] in list(Verdict) for part in body["parts"].values())
    found = body["parts"]
    assert 0 < found["database"]["connections"] <= found["database"]["connections_most"]
    assert set(found["durability"]["durable"]) == {"fsync", "full_page_writes", "synchronous_commit"}
    assert (found["replicas"]["says"], "replication_lag_seconds" in found["replicas"]) == ("no replica", False)
    assert (found["net"]["debt"], found["net"]["gap"]) == (True, None)
    # Ben differs in two places of one target, and that is one copy, in debt alone.
    assert (found["owed"]["copies"], found["owed"]["debt_rows"]) == (1, 1)
    assert found["signs"]["alive"] == {"worker": 1, "beat": 0}
    assert (found["consistency"]["verdict"], body["status"]) == ("bad", "bad"), "nobody has counted yet"
    assert set(found["disks"]["free_bytes"]) == {"spool", "media"}


class TestWhatCannotBeRead:
    def test_is_red_alone(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.vic)
        with fakes.locked_table("sync_pulse"):
            assert unknown() == {"signs"}
            answer = client.get("/health/")
        assert (answer.status_code, answer.json()["unknown"], answer.json()["status"]) == (503, ["signs"], "unknown")
        assert answer.json()["parts"]["signs"] == {
            "title": "Workers, beat, streams", "verdict": "unknown", "says": "cannot be read (55P03)",
        }  # fmt: skip

    def test_is_everything_of_a_postgresql_that_is_away_and_nothing_else(self) -> None:
        with fakes.away():
            assert unknown() == TITLES.keys() - ELSEWHERE

    def test_is_everything_of_a_postgresql_that_says_nothing(self, silent_port: int) -> None:
        connection.close()
        port, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], silent_port
        try:
            assert unknown() == TITLES.keys() - ELSEWHERE
        finally:
            connection.settings_dict["PORT"] = port
        fakes.wait_until(lambda: unknown() == set(), what="it answers again, and so everything is known")

    def test_is_the_queue_of_a_redis_that_is_away_or_says_nothing(self, settings: Any, silent_port: int) -> None:
        for port in (1, silent_port):
            settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
            assert unknown() == {"queues"}
            assert fakes.milliseconds(parts) < MOST_MS

    def test_is_a_spool_that_is_none(self, settings: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        settings.SYNC_SPOOL_DIR = tmp_path / "file" / "spool"
        assert parts()["spool"].verdict is Verdict.BAD

    def test_is_the_lag_of_replicas_that_may_not_be_seen(self) -> None:
        assert postgres.told(2, 1, 0.1, 0, None).verdict is Verdict.UNKNOWN
        assert postgres.told(2, 0, None, 0, None).verdict is Verdict.UNKNOWN
        assert postgres.told(2, 0, 0.25, 8192, None).figures == {
            "replicas": 2, "replication_lag_seconds": 0.25, "replication_lag_bytes": 8192,
        }  # fmt: skip

    def test_is_no_excuse_for_a_replica_that_is_far_behind(self) -> None:
        assert postgres.told(0, 0, None, None, 90.0).verdict is Verdict.WORRYING
        # One that has stopped replaying goes on telling the lag that it last knew.
        assert postgres.told(1, 0, 0.01, 2**30, None).verdict is Verdict.WORRYING
        assert postgres.told(1, 0, 0.01, 2**20, None).verdict is Verdict.GOOD


class TestWhatIsWrong:
    def test_with_the_net_is_told_by_how_much_it_costs(self) -> None:
        assert parts()["net"].verdict is Verdict.GOOD
        triggers.disable()
        assert (parts()["net"].verdict, parts()["net"].figures["copying"]) == (Verdict.WORRYING, False)
        triggers.enable()
        fakes.sql("DROP TRIGGER zz_sync_debt ON therapist_enrollments")
        try:
            assert (parts()["net"].verdict, parts()["net"].figures["debt"]) == (Verdict.BAD, False)
        finally:
            triggers.install()

    def test_with_a_target_is_told_of_it_alone(self) -> None:
        parked_target()
        found = parts()["targets"]
        assert (found.verdict, found.says) == (Verdict.BAD, f"therapist_profiles parked; {NOT_CONFIGURED}")
        assert [name for name, is_shut in found.figures["shut"].items() if is_shut] == ["therapist_profiles"]

    def test_with_disks_is_told_before_they_are_full(self, settings: Any) -> None:
        settings.DISK_FREE_PERCENT = 101
        assert parts()["disks"].verdict is Verdict.BAD
        settings.DISK_FREE_PERCENT = 0
        assert parts()["disks"].verdict is Verdict.GOOD


def test_divergence_adds_up_the_ages_of_copies_and_counts_each_once(cast: Cast, settled: Any) -> None:
    settled()
    assert (parts()["owed"].figures["copies"], parts()["owed"].figures["divergence_seconds"]) == (0, 0)
    with fakes.asleep():
        fakes.sql(
            "INSERT INTO sync_ledger (person_id, target, desired_revision, applied_revision, verified_revision, owed_since,"
            " attempts, crashes, is_paused) VALUES (%s, 'users', 1, 0, 0, now() - interval '100 s', 0, 0, false)",
            cast.ada.pk,
        )
        fakes.sql(
            "INSERT INTO sync_debt (person_id, targets, revision, at) VALUES"
            " (%s, '{users,therapist_profiles}', 1, now() - interval '50 s')",
            cast.ada.pk,
        )
    found = parts()["owed"].figures
    assert found["copies"] == 2
    assert 150 <= found["divergence_seconds"] < 160
    assert 100 <= found["oldest_seconds"] < 110


def test_services_are_told_of_as_targets_are(cast: Cast, settled: Any) -> None:
    settled()
    for target in ("listing", "listing-2"):
        Service.objects.create(target=target, kind="listing", is_configured=True, digest="", xid=1)
    with fakes.asleep():
        # Debt names a kind: each configured service of it is a copy, and one that is not configured is none.
        fakes.sql(
            "INSERT INTO sync_debt (person_id, targets, revision, at) VALUES (%s, '{*listing,*mail}', 1, now())",
            cast.ada.pk,
        )
    parked_target("listing")
    found = parts()
    assert found["owed"].figures["copies"] == 2
    assert found["targets"].says == "listing parked; not configured, so owed nothing: mail, analytics"
    assert (found["targets"].figures["shut"]["listing"], found["targets"].figures["shut"]["listing-2"]) == (True, False)


def test_second_bests_are_told_of_by_services_and_errands(cast: Cast) -> None:
    assert parts()["second_bests"].verdict is Verdict.GOOD
    now = timezone.now()
    for person in (1, 2, 3):
        failing.note_failure("assistant", person_id=person, code="503", at=now)
    failing.count("assistant", "transient", milliseconds=5, at=now)
    errands.queue(Wish(reminders.REMINDER, key="x"), at=now - dt.timedelta(hours=2))
    found = parts()["second_bests"]
    assert found.verdict is Verdict.WORRYING
    assert found.says == "0 answers kept, 1 errand waiting for 2 hours at most; not called for a while: assistant"
    assert (found.figures["rests"], found.figures["service_failures"]) == ({"assistant": True}, {"assistant": 3})
    assert found.figures["errands"] == {reminders.REMINDER: {"waiting": 1}}
    assert found.figures["calls"] == {"assistant": {"transient": 1}}


class TestThePage:
    def test_says_every_part_in_words_and_what_to_do(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.vic)
        parked_target()
        with fakes.locked_table("sync_pulse"):
            shown = client.get("/admin/health/").content.decode()
        for title in TITLES.values():
            assert f">{title}</" in shown
        assert "not known</span>" in shown
        assert "cannot be read (55P03)" in shown
        assert "Start what is silent" in shown
        assert '<a href="/admin/targets/therapist_profiles/">therapist_profiles</a>' in shown

    def test_is_for_those_who_may_look(self, cast: Cast, client: Client) -> None:
        cast.vic.user_permissions.clear()
        client.force_login(cast.vic)
        assert client.get("/admin/health/").status_code == 403
