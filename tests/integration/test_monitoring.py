"""The dashboard, the alert rules and their page name what `/metrics` gives, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone

from interventions import spool
from sync import errands, kept, pulse, repair, vitals
from sync.errands import Wish
from sync.fallback import Context, SecondBests, execute_service, run
from sync.metrics import MEASURES
from sync.pulse import Pulse
from sync.vitals import postgres
from tests import fakes
from tests.factories import Cast, parked_target
from tests.integration.test_metrics import scraped
from therapists import reminders, suggestions

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
NAME, BY = re.compile(r"\bkeepwell_[a-z_]+"), re.compile(r"\bby \(([a-z, ]+)\)")
LEVELS = {"page", "lead", "staff"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return [one for one in json.loads((FOLDER / "dashboard.json").read_text())["panels"] if one["type"] != "row"]


def asked() -> dict[str, str]:
    """Give every question to Prometheus with where it stands."""
    found = {rule["expr"]: f"alert {rule['alert']}" for rule in rules()}
    return found | {target["expr"]: f"panel {one['title']}" for one in panels() for target in one["targets"]}


def with_second_bests() -> None:
    """Let a service fail for somebody, with an answer of before that is kept and a call that waits."""
    now = timezone.now()
    kept.put(kept.Question(kept.kinds()[suggestions.NAME], 1, {}), "x", at=now)
    errands.queue(Wish(reminders.REMINDER, key="x"), at=now)

    def fail() -> str:
        raise TimeoutError

    act = Context(suggestions.NAME, "assistant", 1)
    given = SecondBests(default=lambda: "y")
    assert run(lambda: execute_service(fail, act), name=suggestions.NAME, second_bests=given).value == "y"


@pytest.fixture
def shown(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[tuple[str, ...], float]]:
    """What `/metrics` gives where everything is there that is told of: a replica, an audit, a failure in the spool."""
    monkeypatch.setattr(vitals, "KEPT_SECONDS", 0)
    monkeypatch.setattr(vitals, "WAIT_SECONDS", 30)
    monkeypatch.setattr(vitals, "READ_MS", 30_000)
    monkeypatch.setitem(vitals.READS, "replicas", lambda: postgres.told(1, 0, 0.2, 4096, None))
    client = Client()
    client.force_login(cast.ada)
    headers = {"Idempotency-Key": "once"}
    with fakes.refusing("therapist_profiles", "bio <> 'New.'"):
        client.patch("/api/v1/therapists/me/", {"bio": "New."}, "application/json", headers=headers)
        fakes.settled()
    for role in (pulse.WORKER, pulse.BEAT):
        Pulse().give(role, "here")
    fakes.sql("INSERT INTO failed_request (operation, hour, number) VALUES ('GET /x', now(), 1)")
    spool.append([{"name": "test"}])
    with_second_bests()
    parked_target()
    repair.audit(owe=True)
    return scraped()


@pytest.mark.django_db(transaction=True)
def test_every_metric_that_is_asked_for_is_given_with_its_labels(shown: dict[str, Any]) -> None:
    lost = [(where, name) for expr, where in asked().items() for name in NAME.findall(expr) if not shown.get(name)]
    assert lost == []
    labels = labels_given()
    for expr, where in asked().items():
        given = set().union(*(labels[name] for name in NAME.findall(expr)), {"instance", "job"})
        assert {word.strip() for words in BY.findall(expr) for word in words.split(",")} <= given, where
    assert {one.name for one in MEASURES if not shown.get(one.name)} == set()


def labels_given() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in Client().get("/metrics").content.decode().splitlines():
        if sample := re.match(r"(keepwell_\w+)(?:\{(.*)\})? ", line):
            found.setdefault(sample[1], set()).update(re.findall(r'(\w+)="', sample[2] or ""))
    return found


def test_every_number_is_on_the_dashboard_and_in_the_page() -> None:
    drawn = {name for one in panels() for target in one["targets"] for name in NAME.findall(target["expr"])}
    watched = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    page = (FOLDER / "README.md").read_text()
    told = set(re.findall(r"^\| `(keepwell_\w+)`", page, re.MULTILINE))
    assert {one.name for one in MEASURES} - drawn - watched == set()
    assert told == {one.name for one in MEASURES} | {"keepwell_part_readable", "keepwell_part_good"}
    for one in MEASURES:
        assert f"| {one.meaning} |" in page, one.name


def test_every_alert_says_whom_to_tell_and_what_to_do() -> None:
    page = (FOLDER / "README.md").read_text()
    names = [rule["alert"] for rule in rules()]
    assert re.findall(r"^\| `(Keepwell\w+)`", page, re.MULTILINE) == names
    for rule in rules():
        assert rule["labels"]["severity"] in LEVELS
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
    assert all(one["description"] and one["title"] for one in panels())
    assert len({one["id"] for one in panels()}) == len(panels())
    # A zero that nobody counted would be drawn where nothing is known.
    assert not [where for expr, where in asked().items() if "or vector(0)" in expr]
