"""What Prometheus reads: true numbers or none, to whoever may, and no label that somebody else chose."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from sync import pulse, vitals
from sync.metrics import MEASURES
from sync.pulse import Pulse
from tests import fakes
from tests.factories import Cast, parked_target

pytestmark = pytest.mark.django_db(transaction=True)
COUNTS = """
import sys
from prometheus_client import Counter
Counter("keepwell_requests", "x", ["view", "method", "status"]).labels("me", "GET", "200").inc(int(sys.argv[1]))
"""
# Each needs something that is there only now and then: a replica, an audit, a failure.
NOW_AND_THEN = {
    "keepwell_database_replication_lag_seconds", "keepwell_database_replication_lag_bytes", "keepwell_consistency_percent", "keepwell_consistent_facts",
    "keepwell_compared_facts", "keepwell_audit_age_seconds", "keepwell_spool_oldest_seconds",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks twice in a test wants to know what changed; and a busy machine shall not look like a broken one."""
    monkeypatch.setattr(vitals, "KEPT_SECONDS", 0)
    monkeypatch.setattr(vitals, "WAIT_SECONDS", 30)
    monkeypatch.setattr(vitals, "READ_MS", 30_000)


def scraped(**how: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """Read the page as Prometheus does: every sample by its name and the values of its labels, in the order of their names."""
    answer = Client().get("/metrics", **how)
    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (200, "text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
        found.setdefault(family.name, {})
    return found


def test_p10_is_for_this_machine_or_for_whoever_has_the_token(settings: Any) -> None:
    ask = Client().get
    assert ask("/metrics").status_code == 200
    assert ask("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 403
    for name in ("X-Forwarded-For", "Forwarded", "Via"):
        assert ask("/metrics", headers={name: "127.0.0.1"}).status_code == 403, "a proxy here asks for somebody else"
    settings.PROXIES = 1
    assert ask("/metrics").status_code == 403
    settings.PROXIES, settings.METRICS_TOKEN = 0, "a-token-for-monitors"
    refused = ask("/metrics")
    assert (refused.status_code, refused["WWW-Authenticate"], refused["Content-Type"]) == (
        401, "Bearer", "application/problem+json",
    )  # fmt: skip
    for given in ("Bearer another", "Basic a-token-for-monitors", "Bearer", "Bearer á"):
        assert ask("/metrics", headers={"Authorization": given}).status_code == 401
    shown = {"Authorization": "Bearer a-token-for-monitors"}
    assert ask("/metrics", headers=shown, REMOTE_ADDR="10.0.0.7").status_code == 200
    assert Client().post("/metrics", headers=shown).status_code == 405


def test_counts_requests_by_our_own_addresses_whatever_is_sent() -> None:
    client = Client()

    def counted(*labels: str) -> float:
        return scraped()["keepwell_requests_total"].get(labels, 0)

    before = counted("GET", "200", "live"), counted("GET", "404", "elsewhere")
    client.get("/health/live")
    client.get("/nobody@example.org/?q=nobody@example.org")
    client.generic("FROBNICATE", "/health/live")
    found = scraped()
    assert counted("GET", "200", "live") - before[0] == 1
    assert counted("GET", "404", "elsewhere") - before[1] == 1
    methods = {method for method, _, _ in found["keepwell_requests_total"]}
    assert ("other" in methods, "FROBNICATE" in methods) == (True, False)
    assert not [labels for labels in found["keepwell_request_seconds_count"] if "nobody" in str(labels)]
    assert found["keepwell_request_seconds_count"]["GET", "live"] >= 1


def test_counts_writes_by_how_their_copies_stood_and_keyed_ones_by_what_became_of_them(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.ada)
    before = scraped()

    def patch(bio: str, key: str) -> None:
        address = "/api/v1/therapists/me/"
        assert (
            client.patch(address, {"bio": bio}, "application/json", headers={"Idempotency-Key": key}).status_code == 200
        )

    fakes.settled()
    patch("One.", "a")
    patch("One.", "a")
    with fakes.refusing("therapist_profiles", "bio <> 'Two.'"):
        patch("Two.", "b")
    after = scraped()

    def more(name: str) -> dict[str, float]:
        return {words[0]: number - before.get(name, {}).get(words, 0) for words, number in after[name].items()}

    assert {word: number for word, number in more("keepwell_writes_total").items() if number} == {
        "equal": 1,
        "behind": 1,
    }
    keyed = more("keepwell_keyed_answers_total")
    assert (keyed["first"], keyed["replayed"]) == (2, 1)


def test_every_part_is_shown_as_it_is(cast: Cast) -> None:
    Pulse().give(pulse.WORKER, "worker-1@here")
    parked_target()
    found = scraped()
    assert {name for name, samples in found.items() if name.startswith("keepwell_part_readable") and samples}
    assert set(found["keepwell_part_readable"].values()) == {1}
    assert {one.name for one in MEASURES} - found.keys() == NOW_AND_THEN
    assert found["keepwell_owed_copies"][()] == 1
    assert found["keepwell_breaker_open"]["therapist_profiles",] == 1
    assert found["keepwell_breaker_open"]["users",] == 0
    assert (found["keepwell_alive"]["worker",], found["keepwell_alive"]["beat",]) == (1, 0)
    assert found["keepwell_part_good"]["targets",] == 0


def test_what_cannot_be_read_is_absent_and_said_to_be(cast: Cast) -> None:
    fakes.settled()
    assert scraped()["keepwell_owed_copies"][()] == 0
    with fakes.locked_table("sync_ledger"):
        found = scraped()
    assert found["keepwell_part_readable"]["owed",] == 0
    assert not {one.name for one in MEASURES if one.part == "owed"} & found.keys()
    assert found["keepwell_part_readable"]["database",] == 1
    with fakes.away():
        found = scraped()
    shown = {one.name for one in MEASURES} & found.keys()
    assert {one.part for one in MEASURES if one.name in shown} == {"queues", "spool", "disks"}
    assert sum(found["keepwell_part_readable"].values()) == 3


def test_p9_a_monitor_that_asks_often_costs_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    first = scraped()["keepwell_alive"]
    monkeypatch.setattr(vitals, "KEPT_SECONDS", 60)
    Pulse().give(pulse.WORKER, "worker-1@here")
    assert scraped()["keepwell_alive"] == first


def test_processes_behind_one_port_add_up_what_they_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for number in ("3", "4"):
        subprocess.run([sys.executable, "-c", COUNTS, number], check=True)
    assert scraped()["keepwell_requests_total"]["GET", "200", "me"] == 7
