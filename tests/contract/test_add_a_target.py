"""The page on adding a service is run as it stands: its module, its lines, and a call over a real socket."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from config.environment import Environment
from sync import calling, delivery, ledger, mirrors, net, outside
from sync.integrations import KINDS
from sync.mirrors import Expected, Service
from tests import fakes
from tests.contract.test_integrations import Way
from tests.factories import therapists
from tests.stand_ins.control import started
from therapists.mirrors import DECLARATION, STATUS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-target.md"
BLOCKS = dict(re.findall(r"^```python (\w+)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
NAME = "newsletter"


def test_the_worked_example_works(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words: dict[str, Any] = {"KINDS": KINDS, "Service": Service, "Expected": Expected, "STATUS": STATUS, "Way": Way}
    monkeypatch.setenv("NEWSLETTER_SECRET", "token")
    exec(BLOCKS["settings"], declared := {"ENV": Environment()})
    for name in ("NEWSLETTER_URL", "NEWSLETTER_SECRET"):
        setattr(settings, name, declared[name])
    exec(BLOCKS["module"], words)
    monkeypatch.setitem(KINDS, NAME, None)
    exec(BLOCKS["kinds"], words)
    service, way = eval(BLOCKS["declared"], words), eval(BLOCKS["way"], words)
    assert set(way.settings) == {"NEWSLETTER_URL", "NEWSLETTER_SECRET"}
    assert len(BLOCKS["module"].splitlines()) <= 120
    extended = replace(DECLARATION, services=(*DECLARATION.services, service))
    assert "'*newsletter'::text" in net.install(extended)
    monkeypatch.setattr(mirrors, "_registered", [extended])

    person = therapists(1)[0]
    with started("analytics") as (server,):
        outside.follow(at=timezone.now())
        assert NAME not in fakes.states(person.pk), "not configured"
        settings.NEWSLETTER_URL, settings.SYNC_PRIVATE_ADDRESSES = f"{server.address}/", True
        outside.follow(at=timezone.now())
        assert calling.call(NAME).told == 1
        assert person.email in server.effects[0]["body"]
        assert server.received[0]["headers"]["authorization"] == "Bearer token"
        fakes.sql("UPDATE therapist_enrollments SET status = 'rejected' WHERE user_id = %s", person.pk)
        ledger.owe(people=[person.pk], targets=[f"*{NAME}"], reason="service")
        delivery.drain()
        calling.call(NAME)
        assert person.email not in server.effects[1]["body"]
