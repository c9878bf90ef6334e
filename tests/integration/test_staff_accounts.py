"""What docs/operating.md tells operators of staff accounts: its commands, word for word, and what becomes of what somebody owned."""

import datetime as dt
import getpass
import io
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from interventions import attention, causes, items
from interventions.models import Cause, CauseState, History, Intervention
from tests.factories import PASSWORD, UserFactory
from therapists import staff
from therapists.models import User
from therapists.roles import LEAD, OPERATOR, READ_ONLY

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text()
CHAPTER = PAGE.split("## Staff accounts\n")[1].split("\n## ")[0]
NEW_PASSWORD = "another-long-enough-word"
SAM = "sam.reyes@example.org"
pytestmark = pytest.mark.django_db(transaction=True)


def run(*words: str) -> str:
    said = io.StringIO()
    call_command(*words, stdout=said, stderr=said)
    return said.getvalue()


def signed_in(address: str, password: str = PASSWORD) -> Client:
    client = Client()
    client.login(username=address, password=password)
    return client


def may_open_the_desk(client: Client) -> bool:
    return client.get(reverse("admin:interventions_intervention_changelist")).status_code == 200


@pytest.fixture
def sam() -> User:
    """An account without a role."""
    person: User = UserFactory.create(email=SAM, full_name="Sam Reyes", user_type="staff")
    return person


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> User:
    """The first superuser, made as the page says it for a machine without a terminal."""
    assert "`createsuperuser --noinput --email ADDRESS --full_name NAME`" in " ".join(CHAPTER.split())
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    run("createsuperuser", "--noinput", "--email", "root@example.org", "--full_name", "Ruth Root")
    assert may_open_the_desk(signed_in("root@example.org"))
    return User.objects.get(email="root@example.org")


def test_the_documented_commands_do_what_is_written(root: User, sam: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda *_, **__: NEW_PASSWORD)
    lines = re.findall(r"^python manage\.py (.+)$", CHAPTER, re.MULTILINE)
    first, listed, give, withdraw, leaves, change, lost, unlock = (
        line.replace("ADDRESS", SAM).split() for line in lines
    )
    assert first == ["createsuperuser"]

    client = signed_in(SAM)
    assert not may_open_the_desk(client)
    run(*give)
    assert may_open_the_desk(client)
    assert f"{SAM}: Operator, last signed in on" in run(*listed)
    assert "root@example.org: Superuser" in run(*listed)
    run(*change)
    assert not may_open_the_desk(client)
    client = signed_in(SAM, NEW_PASSWORD)
    assert may_open_the_desk(client)
    run(*withdraw)
    assert not may_open_the_desk(client)
    assert SAM not in run(*listed)
    run(*give)
    assert "There was none" in run(*lost)
    assert not may_open_the_desk(client)
    client = signed_in(SAM, NEW_PASSWORD)
    assert "No attempts found" in run(*unlock)
    run(*leaves)
    assert not may_open_the_desk(client)
    assert not Client().login(username=SAM, password=NEW_PASSWORD)
    told = History.objects.of("user", str(sam.pk)).values_list("action", "from_state", "to_state")
    assert list(told) == [
        ("role_given", None, OPERATOR), ("role_withdrawn", OPERATOR, None), ("role_given", None, OPERATOR),
        ("staff_left", OPERATOR, None),
    ]  # fmt: skip


def test_what_somebody_saw_to_who_leaves_is_nobodys_again(root: User, sam: User) -> None:
    failed = [
        items.Failure(target="users", code="23514", failure_class="refused", detail="x", attempts=1, person_id=number)
        for number in (1, 2)
    ]
    items.open_items(failures=failed, at=timezone.now())
    causes.follow(at=timezone.now())
    cause, (one, other) = Cause.objects.get(), list(Intervention.objects.order_by("person_id"))
    now, actor = timezone.now(), f"user:{sam.pk}"
    until = now + dt.timedelta(days=1)
    attention.acknowledge(cause_id=cause.pk, by=actor, at=now)
    attention.snooze(cause_id=cause.pk, until=until, by=actor, at=now)
    attention.assign(item_id=one.pk, by=actor)
    attention.assign(item_id=other.pk, by=f"user:{root.pk}")
    staff.give(address=SAM, role=LEAD, by="command")

    assert "Nobody's again: 1 cause, 1 intervention." in run("staff", "leaves", SAM)
    cause.refresh_from_db()
    assert (cause.state, cause.owner, cause.snoozed_until) == (CauseState.OPEN, None, until)
    assert set(Intervention.objects.values_list("assignee", flat=True)) == {None, f"user:{root.pk}"}
    lines = History.objects.filter(actor="command", action__endswith="handed_back")
    assert {line.action for line in lines} == {"cause_handed_back", "handed_back"}
    # Once more changes nothing.
    assert "Nobody's again: 0 causes, 0 interventions." in run("staff", "leaves", SAM)


def test_the_last_superuser_stays_and_nobody_unknown_is_made(root: User, sam: User) -> None:
    for words in (("withdraw", root.email), ("leaves", root.email), ("give", root.email, READ_ONLY)):
        with pytest.raises(CommandError, match="make another superuser first"):
            run("staff", *words)
    root.refresh_from_db()
    assert (root.is_superuser, root.is_active) == (True, True)
    UserFactory.create(user_type="staff", is_staff=True, is_superuser=True)
    run("staff", "withdraw", root.email)
    with pytest.raises(CommandError, match="Nobody signs in with this address"):
        run("staff", "give", "nobody@example.org", READ_ONLY)
