"""The drill breaks a service through its stand-in's own socket: whoever looks anywhere is told the same, and it heals."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from interventions import causes
from interventions.models import Intervention
from sync import breaker_state, calling, delivery, outside, vitals
from sync.backoff import BAD_ANSWER, FORBIDDEN_ADDRESS, NO_ANSWER, NO_CREDENTIALS, TOO_LATE
from sync.models import Attempt, Breaker, Ledger
from sync.targets import SPOKEN
from tests import fakes
from tests.factories import UserFactory, therapists
from tests.stand_ins.control import Control, started
from tests.stand_ins.listing import SECRET
from therapists import drill, outages
from therapists.models import Enrollment, UserType
from therapists.outages import ServiceAway
from therapists.roles import LEAD, sync_groups

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ("listing", "assistant")
LISTING, ADDRESS = "listing", "/admin/drill/"
# What each way is written down as, where a call is allowed one second.
CODES = {
    "5xx": "503", "reset": NO_ANSWER, "hang": TOO_LATE, "drip": TOO_LATE, "slow": TOO_LATE, "429": "429", "4xx": "422",
    "401": NO_CREDENTIALS, "lost": NO_ANSWER, "bad_body": BAD_ANSWER, "redirect": FORBIDDEN_ADDRESS,
}  # fmt: skip
REFUSED = {"429", "422", NO_CREDENTIALS, FORBIDDEN_ADDRESS}


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[dict[str, Control]]:
    with started(*NAMES) as controls:
        yield dict(zip(NAMES, controls, strict=True))


@pytest.fixture
def demo(stand_ins: dict[str, Control], settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Control]]:
    """A demo whose directory shows eight people."""
    monkeypatch.setattr(vitals, "KEPT_SECONDS", 0)
    settings.DEBUG = settings.SYNC_PRIVATE_ADDRESSES = True
    settings.STAND_INS = {name: control.address for name, control in stand_ins.items()}
    settings.LISTING_URL, settings.LISTING_SECRET = stand_ins[LISTING].address, SECRET
    settings.LISTING_READ_URL = f"{stand_ins[LISTING].address}/profiles"
    settings.SYNC_BREAKER_PROBE_SECONDS = settings.SYNC_CALL_SECONDS = 1
    therapists(8)
    Enrollment.objects.update(status="approved")
    fakes.settled()
    outside.follow(at=timezone.now())
    told()
    assert Ledger.objects.filter(target=LISTING, told="published").count() == 8
    yield stand_ins
    for control in stand_ins.values():
        control.forget()


def told() -> None:
    """Fold what is owed, let a probe come whose time it is, and call."""
    delivery.drain()
    breaker_state.pull_forward(timezone.now())
    calling.call(LISTING, seconds=20)


def lead() -> Client:
    sync_groups()
    user = UserFactory.create(is_staff=True, user_type=UserType.STAFF)
    user.groups.set(Group.objects.filter(name=LEAD))
    client = Client()
    client.force_login(user)
    return client


def found(name: str) -> outages.DemoService:
    return next(service for service in drill.services() if service.name == name)


def is_healed(client: Client) -> bool:
    told()
    return said(client) == (0, 0, "working")


class TestADrill:
    def test_p3_opens_the_breaker_with_one_cause_that_everything_tells_of_and_heals(
        self, demo: dict[str, Control]
    ) -> None:
        client = lead()
        assert said(client) == (0, 0, "working")
        drill.break_target("listing:5xx")
        assert found(LISTING).way == outages.WAYS["5xx"]
        told()
        calling.call(LISTING)  # whoever comes next parks what is left
        assert Breaker.objects.get(target=LISTING).word == "open"
        assert [item.code for item in Intervention.objects.filter(target=LISTING, resolved=False)] == ["503"]
        is_open, parked, word = said(client)
        assert (is_open, parked > 0, word) == (1, True, "parked")
        drill.mend(LISTING)
        assert not found(LISTING).is_on
        fakes.wait_until(lambda: is_healed(client), what="The healing")
        assert not Intervention.objects.filter(target=LISTING, resolved=False).exists()

    @pytest.mark.parametrize("way", outages.WAYS)
    def test_p7_each_way_fails_as_it_says_and_is_mended(self, demo: dict[str, Control], way: str) -> None:
        before = Attempt.objects.filter(target=LISTING).count()
        drill.break_target(f"listing:{way}")
        told()
        codes = set(Attempt.objects.filter(target=LISTING).order_by("pk")[before:].values_list("outcome", flat=True))
        assert codes == {CODES[way]}
        assert Breaker.objects.filter(target=LISTING, word="open").exists() == (CODES[way] not in REFUSED)
        drill.mend("listing")
        assert not found(LISTING).is_on

    def test_of_one_service_leaves_the_others_alone(self, demo: dict[str, Control]) -> None:
        drill.break_target("assistant:hang")
        assert [service.name for service in drill.services() if service.is_on] == ["assistant"]
        assert not Ledger.objects.filter(target=LISTING, owed_since__isnull=False).exists()
        drill.break_target("assistant:reset")
        assert found("assistant").way == outages.WAYS["reset"]
        drill.break_target("refuse")
        drill.mend_all()
        assert not any(fault.is_on for fault in drill.faults())
        assert not any(service.is_on for service in drill.services())

    @pytest.mark.parametrize("way", ["401", "redirect"])
    def test_p7_what_takes_nothing_from_anybody_is_not_shown_as_working(
        self, demo: dict[str, Control], way: str
    ) -> None:
        client = lead()
        drill.break_target(f"listing:{way}")
        told()
        causes.follow(at=timezone.now())
        assert said(client) == (0, 0, "set up wrongly")
        assert "because" in client.get("/admin/targets/listing/").content.decode()
        drill.mend(LISTING)
        Ledger.objects.filter(target=LISTING, owed_since__isnull=False).update(next_attempt_at=timezone.now())
        told()
        causes.follow(at=timezone.now())
        assert said(client) == (0, 0, "working")


def said(client: Client) -> tuple[int, int, str]:
    """What metrics, health and desk say of the directory: open, parked, in a word; and that they agree."""
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").content.decode().splitlines() if line[0] != "#")
    is_open = float(lines['keepwell_breaker_open{target="listing"}'])
    parked = float(lines.get('keepwell_ledger_rows{state="parked",target="listing"}', 0))
    health: Any = client.get("/health/").json()["parts"]["targets"]
    assert health["shut"][LISTING] == bool(is_open)
    shown = client.get("/admin/targets/listing/").content.decode()
    word = next(word for word in SPOKEN.values() if f">{word}</span>" in shown)
    assert SPOKEN[health["words"][LISTING]] == word
    assert (f"{LISTING} {word}" in health["says"]) == (word != "working")
    assert (health["verdict"] == "bad") == (word in {"parked", "set up wrongly"})
    assert lines['keepwell_part_good{part="targets"}'] == ("1.0" if word == "working" else "0.0")
    return int(is_open), int(parked), word


def told_on_top(answer: Any) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


class TestThePage:
    def test_breaks_and_mends_a_service(self, demo: dict[str, Control]) -> None:
        client = lead()
        page = client.get(ADDRESS).content.decode()
        assert all(service.title in page for service in drill.services())
        assert 'value="listing:hang"' in page
        answer = client.post(ADDRESS, {"action": "break", "name": "listing:hang"}, follow=True)
        assert "look at the front page" in told_on_top(answer)
        assert found(LISTING).way == outages.WAYS["hang"]
        assert 'value="listing:hang" selected' in client.get(ADDRESS).content.decode()
        client.post(ADDRESS, {"action": "mend", "name": "listing:hang"})
        assert not found(LISTING).is_on

    def test_says_which_one_is_away_and_mends_the_others(self, demo: dict[str, Control], settings: Any) -> None:
        settings.STAND_INS = settings.STAND_INS | {"sms": "http://127.0.0.1:9"}
        client = lead()
        assert ">away</span>" in client.get(ADDRESS).content.decode()
        answer = client.post(ADDRESS, {"action": "break", "name": "sms:reset"}, follow=True)
        assert "does not answer" in told_on_top(answer)
        drill.break_target("assistant:hang")
        answer = client.post(ADDRESS, {"action": "mend_all"}, follow=True)
        assert "Everything is mended" in told_on_top(answer)
        assert not found("assistant").is_on

    def test_has_no_services_outside_the_demo(self, settings: Any) -> None:
        settings.DEBUG, settings.STAND_INS = True, {}
        assert "Outside services of this demo" not in lead().get(ADDRESS).content.decode()


class TestTheCommand:
    def test_breaks_and_mends_and_says_how(self, demo: dict[str, Control]) -> None:
        output = StringIO()
        call_command("drill", "break", "assistant:5xx", stdout=output)
        assert "assistant ON   The language model: 5xx, Answers 503 to everything" in output.getvalue()
        call_command("drill", "mend", "assistant", stdout=output)
        assert not found("assistant").is_on

    @pytest.mark.parametrize("name", ["listing", "listing:", "listing:burn", "sms:hang"])
    def test_knows_no_other_way_and_no_other_service(self, demo: dict[str, Control], name: str) -> None:
        with pytest.raises(CommandError, match="listing:5xx") as refusal:
            call_command("drill", "break", name)
        assert refusal.value.returncode == 2
        assert not any(service.is_on for service in drill.services())

    def test_p10_breaks_nothing_when_debug_is_off(self, demo: dict[str, Control], settings: Any) -> None:
        settings.DEBUG = False
        with pytest.raises(drill.DrillForbidden):
            drill.break_target("listing:5xx")
        assert not found(LISTING).is_on

    def test_says_what_is_away(self, settings: Any) -> None:
        settings.DEBUG, settings.STAND_INS = True, {"sms": "http://127.0.0.1:9"}
        with pytest.raises(CommandError, match="started again by itself"):
            call_command("drill", "break", "sms:5xx")
        with pytest.raises(ServiceAway):
            drill.mend("sms")
