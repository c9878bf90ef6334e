"""Who sees to what, and what is put off: done once, said to the second, and back by itself."""

import datetime as dt
import threading
from collections.abc import Callable
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone

from interventions import attention, causes, items, queries
from interventions.attention import NoReason, Overtaken, WrongMoment
from interventions.models import Cause, History, Intervention, Resolution
from tests import fakes

TARGET = "therapist_profiles"
SAM, LENA = "user:7", "user:8"
# A row for each backend that waits for a lock.
WAITING = f"{fakes.OTHERS} AND wait_event_type = 'Lock'"
pytestmark = pytest.mark.django_db(transaction=True)


def failed(*people: int, code: str = "23514", at: dt.datetime | None = None) -> None:
    failures = [
        items.Failure(target=TARGET, code=code, failure_class="refused", detail="x", attempts=1, person_id=person)
        for person in people
    ]
    items.open_items(failures=failures, at=at or timezone.now())


def settled(*people: int) -> None:
    entities: dict[tuple[int, str], int | None] = {(person, TARGET): None for person in people}
    items.settle_items(entities=entities, resolution=Resolution.AUTO, at=timezone.now())


@pytest.fixture
def cause() -> Cause:
    """Two people fail for one reason."""
    failed(1, 2)
    causes.follow(at=timezone.now())
    return Cause.objects.get()


@pytest.fixture
def item(cause: Cause) -> Intervention:
    return Intervention.objects.get(person_id=1)


def actions(found: Cause | Intervention) -> list[tuple[str, str]]:
    kind = attention.CAUSE if isinstance(found, Cause) else attention.ITEM
    lines = History.objects.of(kind, str(found.pk)).exclude(actor="system")
    return list(lines.values_list("actor", "action"))


def refused_by(act: Callable[[], object]) -> History | None:
    with pytest.raises(Overtaken) as overtaken:
        act()
    return overtaken.value.line


def in_tab(tab: str, by: str = SAM, at: dt.datetime | None = None) -> list[int | None]:
    found = queries.in_tab(Intervention.objects.all(), tab, queries.marks(by=by, at=at or timezone.now()))
    return sorted(found.values_list("person_id", flat=True), key=str)


class TestSeeingToACause:
    def test_makes_one_its_owner_once(self, cause: Cause) -> None:
        now = timezone.now()
        taken = attention.acknowledge(cause_id=cause.pk, by=SAM, at=now)
        assert (taken.state, taken.owner, taken.acknowledged_by, taken.acknowledged_at) == (
            "acknowledged",
            SAM,
            SAM,
            now,
        )
        for who in (SAM, LENA):
            line = refused_by(partial(attention.acknowledge, cause_id=cause.pk, by=who, at=now))
            assert line is not None
            assert (line.actor, line.action) == (SAM, "cause_acknowledged")
        assert actions(cause) == [(SAM, "cause_acknowledged")]

    def test_is_taken_over_from_whom_one_saw_and_nobody_else(self, cause: Cause) -> None:
        now = timezone.now()
        attention.acknowledge(cause_id=cause.pk, by=SAM, at=now)
        refused_by(lambda: attention.acknowledge(cause_id=cause.pk, by=LENA, at=now, instead_of="user:9"))
        assert attention.acknowledge(cause_id=cause.pk, by=LENA, at=now, instead_of=SAM).owner == LENA
        line = History.objects.get(action="cause_taken_over")
        assert (line.actor, line.from_state, line.to_state) == (LENA, SAM, LENA)

    def test_is_handed_back_by_its_owner_alone(self, cause: Cause) -> None:
        refused_by(lambda: attention.hand_back(cause_id=cause.pk, by=SAM))
        attention.acknowledge(cause_id=cause.pk, by=SAM, at=timezone.now())
        refused_by(lambda: attention.hand_back(cause_id=cause.pk, by=LENA))
        back = attention.hand_back(cause_id=cause.pk, by=SAM)
        assert (back.state, back.owner, back.acknowledged_at, back.acknowledged_by) == ("open", None, None, None)

    def test_that_is_resolved_is_refused(self, cause: Cause) -> None:
        settled(1, 2)
        causes.follow(at=timezone.now())
        line = refused_by(lambda: attention.acknowledge(cause_id=cause.pk, by=SAM, at=timezone.now()))
        assert line is not None
        assert (line.actor, line.action) == ("system", "cause_resolved")

    def test_beside_somebody_who_has_not_committed_waits_and_is_told(
        self, cause: Cause, second_connection: Callable[..., fakes.Connection]
    ) -> None:
        other = second_connection()
        outcomes: list[str] = []

        def take() -> None:
            line = refused_by(partial(attention.acknowledge, cause_id=cause.pk, by=LENA, at=timezone.now()))
            outcomes.append(line.action if line else "nobody")
            connection.close()

        late = threading.Thread(target=take)
        with other.transaction():
            other.execute(
                "UPDATE intervention_cause SET state = 'acknowledged', owner = %(by)s, acknowledged_by = %(by)s,"
                " acknowledged_at = now()",
                {"by": SAM},
            )
            other.execute(
                "INSERT INTO intervention_history (actor, action, object_type, object_id)"
                " SELECT %s, 'cause_acknowledged', 'cause', id::text FROM intervention_cause",
                [SAM],
            )
            late.start()
            fakes.wait_until(lambda: fakes.sql(WAITING), what="the second one waits")
        late.join()
        assert outcomes == ["cause_acknowledged"]
        assert Cause.objects.get().owner == SAM


class TestPuttingOff:
    def test_a_cause_takes_its_items_out_of_the_inbox_until_then(self, cause: Cause) -> None:
        now = timezone.now()
        until = now + dt.timedelta(hours=1)
        attention.snooze(cause_id=cause.pk, until=until, by=SAM, at=now)
        assert (in_tab(""), in_tab("snoozed")) == ([], [1, 2])
        assert (in_tab("", at=until), in_tab("snoozed", at=until)) == ([1, 2], [])
        refused_by(lambda: attention.snooze(cause_id=cause.pk, until=until, by=LENA, at=now))
        attention.unsnooze(cause_id=cause.pk, by=LENA, at=now)
        assert in_tab("") == [1, 2]
        refused_by(lambda: attention.unsnooze(cause_id=cause.pk, by=SAM, at=now))
        assert actions(cause) == [(SAM, "cause_snoozed"), (LENA, "cause_unsnoozed")]

    def test_an_item_leaves_the_others_of_its_cause(self, item: Intervention) -> None:
        now = timezone.now()
        attention.snooze_item(item_id=item.pk, until=now + dt.timedelta(hours=1), by=SAM, at=now)
        assert (in_tab(""), in_tab("snoozed")) == ([2], [1])
        refused_by(lambda: attention.snooze_item(item_id=item.pk, until=now + dt.timedelta(hours=2), by=LENA, at=now))
        attention.unsnooze_item(item_id=item.pk, by=SAM, at=now)
        assert in_tab("") == [1, 2]

    def test_lies_ahead_and_never_further_than_thirty_days(self, cause: Cause, item: Intervention) -> None:
        now = timezone.now()
        for until in (now, now - dt.timedelta(days=1), now + dt.timedelta(days=30, seconds=1)):
            with pytest.raises(WrongMoment):
                attention.snooze(cause_id=cause.pk, until=until, by=SAM, at=now)
            with pytest.raises(WrongMoment):
                attention.snooze_item(item_id=item.pk, until=until, by=SAM, at=now)
            with pytest.raises(WrongMoment):
                attention.ignore(cause_id=cause.pk, until=until, reason="Known.", by=SAM, at=now)
        attention.snooze(cause_id=cause.pk, until=now + dt.timedelta(days=30), by=SAM, at=now)

    def test_an_item_that_fails_again_after_it_was_resolved_is_back_at_once(self, item: Intervention) -> None:
        now = timezone.now()
        attention.snooze_item(item_id=item.pk, until=now + dt.timedelta(days=1), by=SAM, at=now)
        settled(1)
        failed(1)
        assert in_tab("") == [1, 2]

    def test_what_is_resolved_is_not_put_off(self, item: Intervention) -> None:
        settled(1)
        now = timezone.now()
        line = refused_by(
            lambda: attention.snooze_item(item_id=item.pk, until=now + dt.timedelta(hours=1), by=SAM, at=now)
        )
        assert line is not None
        assert line.action == "resolved:auto"


class TestIgnoring:
    def test_needs_a_reason_hides_from_the_inbox_and_from_no_count(self, cause: Cause) -> None:
        now = timezone.now()
        until = now + dt.timedelta(days=7)
        with pytest.raises(NoReason):
            attention.ignore(cause_id=cause.pk, until=until, reason="  ", by=SAM, at=now)
        attention.ignore(cause_id=cause.pk, until=until, reason="The importer is known for it.", by=SAM, at=now)
        assert (in_tab(""), in_tab("snoozed"), in_tab("", at=until)) == ([], [1, 2], [1, 2])
        assert queries.waiting(at=now) == queries.Waiting(now=0, put_off=2)
        (standing,) = causes.standing(at=now)
        assert (standing.items, standing.is_ignored) == (2, True)

    def test_holds_while_the_cause_goes_and_comes_back(self, cause: Cause) -> None:
        now = timezone.now()
        attention.ignore(cause_id=cause.pk, until=now + dt.timedelta(days=7), reason="Known.", by=SAM, at=now)
        settled(1, 2)
        causes.follow(at=timezone.now())
        failed(1)
        causes.follow(at=timezone.now())
        assert Cause.objects.get().state == "reopened"
        assert in_tab("") == []

    def test_ends_when_somebody_heeds_it_again(self, cause: Cause) -> None:
        now = timezone.now()
        refused_by(lambda: attention.unignore(cause_id=cause.pk, by=SAM, at=now))
        attention.ignore(cause_id=cause.pk, until=now + dt.timedelta(days=7), reason="Known.", by=SAM, at=now)
        refused_by(
            lambda: attention.ignore(
                cause_id=cause.pk, until=now + dt.timedelta(days=1), reason="Mine.", by=LENA, at=now
            )
        )
        heeded = attention.unignore(cause_id=cause.pk, by=LENA, at=now)
        assert (heeded.ignored_until, heeded.ignored_reason) == (None, None)
        assert in_tab("") == [1, 2]


class TestANote:
    def test_never_takes_the_place_of_one_that_was_not_seen(self, cause: Cause) -> None:
        attention.note(cause_id=cause.pk, text="Ask the importer.\r\nToday.", by=SAM)
        line = refused_by(lambda: attention.note(cause_id=cause.pk, text="Mine.", by=LENA))
        assert line is not None
        assert (line.actor, line.action) == (SAM, "cause_noted")
        attention.note(cause_id=cause.pk, text="Asked.", by=LENA, was="Ask the importer.\nToday.")
        assert Cause.objects.get().note == "Asked."

    def test_stands_in_no_line_of_history(self, cause: Cause) -> None:
        attention.note(cause_id=cause.pk, text="Call Ada Quist.", by=SAM)
        for line in History.objects.values_list():
            assert "Ada" not in " ".join(map(str, line))


class TestMine:
    def test_is_by_item_or_by_cause(self, cause: Cause, item: Intervention) -> None:
        failed(3, code="22001")
        causes.follow(at=timezone.now())
        assert in_tab("mine") == []
        attention.assign(item_id=item.pk, by=SAM)
        assert (in_tab("mine"), in_tab("mine", by=LENA)) == ([1], [])
        other = Cause.objects.get(code="22001")
        attention.acknowledge(cause_id=other.pk, by=SAM, at=timezone.now())
        assert in_tab("mine") == [1, 3]
        attention.hand_back_item(item_id=item.pk, by=SAM)
        attention.hand_back(cause_id=other.pk, by=SAM)
        assert in_tab("mine") == []

    def test_an_item_is_taken_over_from_whom_one_saw(self, item: Intervention) -> None:
        attention.assign(item_id=item.pk, by=SAM)
        line = refused_by(lambda: attention.assign(item_id=item.pk, by=LENA))
        assert line is not None
        assert (line.actor, line.action) == (SAM, "assigned")
        refused_by(lambda: attention.assign(item_id=item.pk, by=SAM, instead_of=SAM))
        assert attention.assign(item_id=item.pk, by=LENA, instead_of=SAM).assignee == LENA
        refused_by(lambda: attention.hand_back_item(item_id=item.pk, by=SAM))
        settled(1)
        refused_by(lambda: attention.hand_back_item(item_id=item.pk, by=LENA))
        assert actions(item) == [(SAM, "assigned"), (LENA, "assigned")]


class TestWhatIsNew:
    def test_is_what_opened_or_came_back_since(self, cause: Cause) -> None:
        now = timezone.now()
        since = queries.newest_moment(now)
        live = Intervention.objects.filter(resolved=False)
        assert queries.newer(live, since).count() == 0
        settled(1)
        failed(1, 3, at=now + dt.timedelta(seconds=1))
        assert set(queries.newer(live, since).values_list("person_id", flat=True)) == {1, 3}
        assert queries.newer(live, queries.newest_moment(now)).count() == 0

    def test_on_an_empty_page_is_everything_from_then_on(self) -> None:
        now = timezone.now()
        assert queries.newest_moment(now) == now
