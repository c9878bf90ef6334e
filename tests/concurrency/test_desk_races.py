"""P8: people and workers who decide about the same thing at the same moment leave one state, and each action once."""

import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from interventions import attention, causes, failpoints, intake, items, operations, retry_runs
from interventions.handlers import NotAdoptable
from interventions.models import Cause, History, Intervention, Resolution, RetryOutcome, RetryRun, State
from interventions.operations import Report
from sync import delivery, drift
from sync.models import LostValue
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

pytestmark = pytest.mark.usefixtures("transactional_db")
TARGET, SAM, LENA, WORKER = "therapist_profiles", "user:7", "user:8", "system"
RACES, CAUSE_RACES, RUN_RACES, MOST_AT_ONCE = 100, 30, 15, 6
# Where somebody is held up for a moment, so that the others come in between. More than a worker waits for a lock is rare.
HELD = (
    "interventions.retry.before_commit", "interventions.resolve.before_read", "interventions.resolve.before_commit",
    "interventions.before_open", "interventions.after_open", "interventions.before_settle",
    "interventions.after_settle", "interventions.adopt.before_commit", "sync.after_lock", "sync.batch.before_commit",
)  # fmt: skip
MOMENTS = ("0.002", "0.005", "0.01", "0.02", "0.13")
OFTEN = (12, 12, 12, 6, 1)
Act = Callable[[], object]


@dataclass
class Together:
    """Threads that keep their connections, and meet before each of them acts."""

    pool: ThreadPoolExecutor

    def act(self, acts: Collection[Act]) -> list[Any]:
        """Let all act at the same moment; give what each came to, and raise what any of them raised."""
        start = Barrier(len(acts), timeout=30)

        def meet(act: Act) -> object:
            start.wait()
            return act()

        return [done.result(60) for done in [self.pool.submit(meet, act) for act in acts]]


@pytest.fixture
def together() -> Iterator[Together]:
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        found = Together(pool)
        yield found
        found.act([connections.close_all] * MOST_AT_ONCE)


@pytest.fixture
def dice(tmp_path: Path) -> Iterator[random.Random]:
    """Draw by a seed that a failure prints."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    failpoints.allow(tmp_path / "failpoints.json")
    yield random.Random(seed)
    failpoints.allow(None)


def hold(dice: random.Random, folder: Path) -> None:
    """Hold somebody up at some of the points of the next race."""
    points = dice.sample(HELD, dice.randint(1, 4))
    orders = {point: f"hang:{dice.choices(MOMENTS, OFTEN)[0]}" for point in points}
    (folder / "failpoints.json").write_text(json.dumps(orders))


def lines(kind: str, object_id: object) -> list[History]:
    return list(History.objects.of(kind, str(object_id)))


@pytest.fixture
def people() -> Iterator[list[User]]:
    """A hundred whose edit their profile refuses until their obstacle is lifted, each with an item and a lost value."""
    people = therapists(RACES)
    fakes.sql("CREATE TABLE obstacle (person bigint PRIMARY KEY)")
    fakes.sql("INSERT INTO obstacle SELECT id FROM users")
    fakes.sql(
        "CREATE FUNCTION is_obstructed(bigint) RETURNS boolean LANGUAGE sql VOLATILE"
        " AS 'SELECT EXISTS (SELECT FROM obstacle WHERE person = $1)'"
    )
    with fakes.refusing(TARGET, "bio NOT LIKE 'Edited%' OR NOT is_obstructed(user_id)"):
        Enrollment.objects.update(bio="Edited.")
        fakes.settled()
        LostValue.objects.bulk_create(
            LostValue(person_id=one.pk, target=TARGET, values={"bio": "Adopted."}, written_by="sql") for one in people
        )
        assert Intervention.objects.filter(resolved=False).count() == RACES
        yield people
    fakes.sql("DROP FUNCTION is_obstructed; DROP TABLE obstacle")


def lift(person: int) -> None:
    fakes.sql("DELETE FROM obstacle WHERE person = %s", person)


def make_equal(person: int) -> None:
    """Write into the copy by hand what its source says."""
    lift(person)
    Profile.objects.filter(user=person).update(bio="Edited.")


def make_due(person: int) -> None:
    fakes.sql("UPDATE sync_ledger SET next_attempt_at = clock_timestamp() WHERE person_id = %s", person)


def retry(item: Intervention, by: str) -> Report:
    return operations.retry_items(items=Intervention.objects.filter(pk=item.pk), by=by, at=timezone.now())


def resolve(item: Intervention, by: str, *, may_accept: bool = False) -> Report:
    wanted = Intervention.objects.filter(pk=item.pk)
    return operations.mark_resolved(
        items=wanted, by=by, note="Seen.", may_accept=may_accept, at=timezone.now()
    )  # fmt: skip


def adopt(value: LostValue, by: str) -> bool:
    try:
        operations.adopt_value(value_id=value.pk, fact="bio", by=by)
    except NotAdoptable:
        return False
    return True


def drain() -> None:
    delivery.drain()


@dataclass(frozen=True)
class Race:
    """One item, who acts on it at the same moment, and what each was told."""

    item: Intervention
    person: int
    acts: list[tuple[str, str]]
    told: list[Any]

    def done(self) -> Counter[tuple[str, str]]:
        """Count what each was told they had done, as history calls it."""
        found = Counter[tuple[str, str]]()
        for (who, what), told in zip(self.acts, self.told, strict=True):
            if isinstance(told, Report):
                assert told.done + told.accepted + told.already + told.refused == 1
                found[who, "retry" if what == "retry" else "resolved:verified"] += told.done
                found[who, "accepted:accepted"] += told.accepted
            elif what == "adopt":
                found[who, "adopted:bio"] += told
        return +found

    def check(self) -> None:
        """Say whether item and history are one story, and each was told their part of it."""
        item = Intervention.objects.get(person_id=self.person, target=TARGET)
        assert item.pk == self.item.pk, "A second item."
        story = lines("intervention", item.pk)
        states = [(line.from_state, line.to_state) for line in story]
        assert [before for before, _ in states[1:]] == [after for _, after in states[:-1]], states
        assert states[-1][1] == item.state, states
        staffs = story + lines("person", self.person)
        noted = Counter((line.actor, line.action) for line in staffs if line.actor != WORKER)
        assert noted == self.done()
        self.check_seconds(story)

    def check_seconds(self, story: list[History]) -> None:
        """Whoever came second was told who was first, and that is in the history."""
        for (_, what), told in zip(self.acts, self.told, strict=True):
            if not isinstance(told, Report) or not told.already:
                continue
            (first,) = told.before
            if first.state == State.RETRYING:
                assert what == "retry"
                assert (first.retry_by, "retry") in {(line.actor, line.action) for line in story}
            else:
                assert first.state == State.RESOLVED
                assert (first.resolved_by, "resolved") in {(line.actor, line.to_state) for line in story}

    def check_end(self, *, is_equal: bool) -> str:
        """Once the workers are at rest, the one state that is left is true; give it."""
        item = Intervention.objects.get(pk=self.item.pk)
        is_accepted = item.resolution == Resolution.ACCEPTED
        assert item.state != State.RETRYING, "A retry that nobody answers."
        assert item.resolved == (is_equal or is_accepted), (item.state, is_equal)
        if is_accepted and is_equal:
            assert "adopt" in {what for _, what in self.acts}, "A difference that was accepted is gone."
        return str(item.resolution or item.state)


@pytest.mark.slow
def test_p8_a_hundred_races_about_an_item_end_in_one_state_with_each_action_once(
    people: list[User], together: Together, dice: random.Random, tmp_path: Path
) -> None:
    races: list[Race] = []
    for person in people:
        item, value = Intervention.objects.get(person_id=person.pk), LostValue.objects.get(person_id=person.pk)
        ways: dict[str, Callable[[str], object]] = {
            "retry": partial(retry, item), "resolve": partial(resolve, item), "adopt": partial(adopt, value),
            "accept": partial(resolve, item, may_accept=True),
        }  # fmt: skip
        drawn = ["retry", "resolve", *dice.choice(((), ("accept",), ("adopt",), ("accept", "adopt")))]
        acts = dice.sample([(who, what) for who in (SAM, LENA) for what in drawn], dice.choice((2, 2, 3, 3, 4)))
        others: list[tuple[str, Act]] = [("drain", drain)] * dice.choice((1, 1, 2))
        match dice.choice(("broken", "broken", "lifted", "lifted meanwhile", "equal")):
            case "lifted":
                lift(person.pk)
            case "equal":
                make_equal(person.pk)
            case "lifted meanwhile":
                others = [*others[:1], ("lift", partial(lift, person.pk))]
        make_due(person.pk)
        hold(dice, tmp_path)
        told = together.act([*(partial(ways[what], who) for who, what in acts), *(act for _, act in others)])
        races.append(Race(item, person.pk, [*acts, *((WORKER, what) for what, _ in others)], told))
        races[-1].check()
    (tmp_path / "failpoints.json").unlink()
    intake.take_in()
    fakes.settled()
    compared = drift.compare([(race.person, TARGET) for race in races])
    ended = Counter(race.check_end(is_equal=compared[race.person, TARGET].is_equal) for race in races)
    for race in races:
        race.check()
    assert ended.keys() == {"auto", "verified", "accepted", "open"}, "Each end is come to."
    assert fakes.silently_behind() <= {(race.person, TARGET) for race in races}


def overtaken_or(act: Act) -> History | bool | None:
    """Give whether it was done, or else the line of whoever was first."""
    try:
        act()
    except attention.Overtaken as overtaken:
        return overtaken.line
    except retry_runs.WrongState:
        return False
    return True


def failed(people: Collection[int], *, detail: str) -> None:
    failures = [
        items.Failure(target=TARGET, code="23514", failure_class="refused", detail=detail, attempts=1, person_id=one)
        for one in people
    ]
    items.open_items(failures=failures, at=timezone.now())


def mended(people: Collection[int]) -> None:
    entities: dict[tuple[int, str], int | None] = {(one, TARGET): None for one in people}
    items.settle_items(entities=entities, resolution=Resolution.AUTO, at=timezone.now())


def follow() -> None:
    causes.follow(at=timezone.now())


def is_one_story(story: list[History], state: str, *, same: Collection[str] = ()) -> bool:
    """Tell whether each line begins where the one before ended; states that are `same` pass into each other unsaid."""
    told = [
        ("live" if a in same else a, "live" if b in same else b) for a, b in ((x.from_state, x.to_state) for x in story)
    ]
    return [before for before, _ in told[1:]] + ["live" if state in same else state] == [after for _, after in told]


OF_STATE = ("cause_opened", "cause_acknowledged", "cause_handed_back", "cause_resolved", "cause_reopened")


def test_p8_races_about_a_cause_end_in_one_state_with_each_decision_once(
    together: Together, dice: random.Random
) -> None:
    for number in range(CAUSE_RACES):
        people = [2 * number + 1, 2 * number + 2]
        failed(people, detail=f"check_{number}")
        follow()
        cause, now = Cause.objects.get(fingerprint__endswith=f"check_{number}"), timezone.now()
        words: dict[str, Any] = {"cause_id": cause.pk, "at": now}
        until = now + dt.timedelta(hours=1)
        ways: dict[str, Callable[..., object]] = {
            "cause_acknowledged": partial(attention.acknowledge, **words),
            "cause_taken_over": partial(attention.acknowledge, **words, instead_of=dice.choice((SAM, LENA))),
            "cause_handed_back": partial(attention.hand_back, cause_id=cause.pk),
            "cause_snoozed": partial(attention.snooze, **words, until=until),
            "cause_unsnoozed": partial(attention.unsnooze, **words),
            "cause_ignored": partial(attention.ignore, **words, until=until, reason="Known."),
            "cause_unignored": partial(attention.unignore, **words),
            "cause_noted": partial(attention.note, cause_id=cause.pk, text="Seen."),
        }  # fmt: skip
        for _ in range(2):  # the second time on what the first has left
            acts = [(who, what) for what in dice.sample(sorted(ways), 2) for who in (SAM, LENA)]
            others: list[Act] = dice.sample(
                [follow, partial(mended, people), partial(failed, people, detail=f"check_{number}")], 2
            )
            before = Counter((x.actor, x.action) for x in lines("cause", cause.pk))
            told = together.act([*(partial(overtaken_or, partial(ways[what], by=who)) for who, what in acts), *others])
            follow()
            story = lines("cause", cause.pk)
            noted = Counter((x.actor, x.action) for x in story) - before
            done = Counter(act for act, came in zip(acts, told, strict=False) if came is True)
            assert {act: n for act, n in noted.items() if act[0] != WORKER} == done
            assert all(came in story for came in told[: len(acts)] if isinstance(came, History))
            cause.refresh_from_db()
            assert is_one_story([x for x in story if x.action in OF_STATE], cause.state)
            owners = [x.actor for x in story if x.action in {"cause_acknowledged", "cause_taken_over"}]
            assert cause.owner in {None, *owners[-1:]}
            assert (cause.state != "resolved") == Intervention.objects.filter(
                cause=cause.fingerprint, resolved=False
            ).exists()


def test_p7_races_about_bulk_retries_end_in_one_state_and_ask_for_each_item_once(
    together: Together, dice: random.Random
) -> None:
    for number in range(RUN_RACES):
        people = range(12 * number + 1, 12 * number + 13)
        failed(people, detail=f"check_{number}")
        wanted = Intervention.objects.filter(person_id__in=people)
        one, other = (retry_runs.plan(items=wanted, title="all", by=who, at=timezone.now()) for who in (SAM, LENA))
        retry_runs.switch(run_id=other.pk, action="start", by=LENA, at=timezone.now())
        for choice in (("start", "cancel"), ("pause", "resume", "cancel"), ("resume", "pause", "cancel")):
            acts = [(who, dice.choice(choice)) for who in (SAM, LENA)]
            before = Counter((x.actor, x.action) for x in lines("retry_run", one.pk))
            told = together.act([
                *(partial(overtaken_or, partial(retry_runs.switch, run_id=one.pk, action=what, by=who, at=timezone.now()))
                  for who, what in acts),
                *(partial(retry_runs.advance, run_id=run.pk, at=timezone.now()) for run in (one, one, other)),
                partial(operations.retry_items, items=wanted.filter(person_id=people[0]), by=SAM, at=timezone.now()),
            ])  # fmt: skip
            story = lines("retry_run", one.pk)
            noted = Counter((x.actor, x.action) for x in story if x.actor != WORKER) - before
            assert noted == Counter(
                (who, f"run_{what}") for (who, what), came in zip(acts, told, strict=False) if came is True
            )
            one.refresh_from_db()
            assert is_one_story(story, one.state, same=retry_runs.LIVE)
        for run in (one, other):
            counts = retry_runs.report(RetryRun.objects.get(pk=run.pk))
            assert counts.total() == len(people)
            assert counts[RetryOutcome.ASKED] == History.objects.filter(action="retry", run_id=run.pk).count()
        asked = History.objects.filter(
            action="retry", object_id__in=[str(pk) for pk in wanted.values_list("pk", flat=True)]
        )
        assert len(set(asked.values_list("object_id", flat=True))) == asked.count(), (
            "Asked for while it was being tried."
        )
