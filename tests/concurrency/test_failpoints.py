"""P1: a process that is killed at any of the named points leaves nothing silently behind, and the rest is caught up."""

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from interventions import operations
from interventions.models import Intervention
from interventions.points import POINTS
from sync import delivery
from tests import fakes
from tests.concurrency.test_killed_between import KILLED
from tests.factories import therapists
from tests.processes import PROJECT
from tests.victims import Victims
from therapists.models import Enrollment, User

APPS = ("config", "therapists", "sync", "interventions")
# The work that comes to a point: the longest beginning that fits.
WORK = {
    "therapists": ("edit", {}),
    "sync": ("drain", {}),
    "sync.after_commit": ("edit", {}),
    "sync.fan_out": ("edit", {}),
    "sync.after_fan_out": ("edit", {}),
    "sync.before_publish": ("edit", {"is_inline": False}),
    "sync.after_publish": ("edit", {"is_inline": False}),
    "sync.asked": ("reconcile", {}),
    "sync.quarantine": ("quarantine", {}),
    "interventions": ("drain", {}),
    "interventions.retry": ("retry", {}),
    "interventions.run": ("retry_in_bulk", {}),
    "interventions.resolve": ("resolve", {}),
    "interventions.spool": ("take_in", {}),
    "interventions.intake": ("take_in", {}),
    "interventions.alert": ("alert", {}),
    "interventions.delivery": ("alert", {}),
}
# Of these there are tests of their own (test_killed_runs.py, test_killed_alerts.py, test_killed_keys.py, test_killed_calls.py,
# test_killed_errands.py, test_streams_troubles.py): what they leave
# behind is no debt.
OF_RUNS = ("sync.audit.", "sync.run.", "sync.step.", "sync.undo.", "sync.adopt.", "interventions.adopt.")
OF_CAUSES = ("interventions.follow.", "interventions.decision.")
OF_KEYS = ("interventions.key.",)
OF_ERRANDS = ("sync.errand.",)
OF_CALLS = ("sync.call.", "sync.outside.")
OF_STREAMS = ("sync.look.",)
OF_STREAMS = ("sync.look.",)
# An item is settled only where what it waits for is mended.
SETTLING = {"interventions.before_settle", "interventions.after_settle"}


def calls() -> dict[str, list[str]]:
    """Find every `reach("…")` in the product: point to the functions that call it."""
    found: dict[str, list[str]] = {}
    for path in sorted(p for app in APPS for p in (PROJECT / app).rglob("*.py")):
        module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        _walk(ast.parse(path.read_text()), module, found)
    return found


def _walk(node: ast.AST, place: str, found: dict[str, list[str]]) -> None:
    for child in ast.iter_child_nodes(node):
        inner = f"{place}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else place
        if isinstance(child, ast.Call) and getattr(child.func, "id", getattr(child.func, "attr", "")) == "reach":
            assert isinstance(child.args[0], ast.Constant), f"{place}: a point is named by a plain text."
            found.setdefault(str(child.args[0].value), []).append(place)
        _walk(child, inner, found)


def work_of(point: str) -> tuple[str, dict[str, Any]]:
    """Give the work that comes to a point."""
    return WORK[max((prefix for prefix in WORK if f"{point}.".startswith(f"{prefix}.")), key=len)]


def test_every_point_is_registered_with_the_place_where_it_stands() -> None:
    assert calls() == {name: [point.place] for name, point in POINTS.items()}


@pytest.fixture
def people(transactional_db: None, copying_off: None) -> Iterator[list[User]]:
    """Three who are owed a new bio; the profile of the last refused it, so that an item is open, and will again."""
    people = therapists(3)
    last = people[-1].pk
    fakes.sql(f"ALTER TABLE therapist_profiles ADD CONSTRAINT refused_on_purpose CHECK (user_id <> {last}) NOT VALID")
    Enrollment.objects.filter(user=last).update(bio="What was refused once.")
    delivery.drain()
    assert Intervention.objects.filter(resolved=False).count() == 1
    Enrollment.objects.update(bio="What must not be lost.")
    yield people
    mend()


def mend() -> None:
    fakes.sql("ALTER TABLE therapist_profiles DROP CONSTRAINT IF EXISTS refused_on_purpose")


@pytest.fixture
def session(people: list[User]) -> str:
    """Let the first of them be signed in."""
    client = Client()
    client.force_login(people[0])
    return client.session.session_key or ""


@pytest.mark.parametrize(
    "point",
    sorted(
        p
        for p in POINTS.keys() - KILLED
        if not p.startswith(OF_RUNS + OF_CAUSES + OF_KEYS + OF_CALLS + OF_ERRANDS + OF_STREAMS)
    ),
)
def test_p1_a_process_killed_at_any_point_leaves_nothing_silently_behind(
    point: str, people: list[User], session: str, victims: Victims
) -> None:
    work, words = work_of(point)
    if work == "edit":
        words = words | {"session": session, "bio": "What was being saved."}
    if work in {"reconcile", "quarantine"}:
        words = {"person": people[1].pk}
    if point in SETTLING:
        mend()

    code = victims.run(work, orders={point: "kill"}, **words)

    assert code == -9, f"{work} does not come to {point}: it ended with {code}"
    fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
    assert fakes.silently_behind() == set()
    mend()
    if work == "quarantine":  # nobody but a person ends it
        fakes.settled()
        operations.retry_items(items=Intervention.objects.filter(resolved=False), by="user:1", at=timezone.now())
    fakes.settled()
    assert fakes.behind() == set()
    assert not Intervention.objects.filter(resolved=False).exists()
    bios = set(Enrollment.objects.exclude(user=people[0]).values_list("bio", flat=True))
    assert bios == {"What must not be lost."}


def test_p1_a_save_killed_after_its_commit_is_kept_and_before_it_never_was(
    people: list[User], session: str, victims: Victims
) -> None:
    victims.killed_between(
        "therapists.before_write", "therapists.before_commit", "edit", session=session, bio="Never was."
    )
    assert Enrollment.objects.get(user=people[0]).bio == "What must not be lost."

    victims.killed_between("therapists.before_commit", "sync.after_commit", "edit", session=session, bio="Kept.")
    assert Enrollment.objects.get(user=people[0]).bio == "Kept."
