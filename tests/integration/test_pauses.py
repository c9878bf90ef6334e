"""What staff switch off stays owed, is shown as parked, and follows when it is switched on again."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from interventions.models import History, Intervention
from interventions.operations import mark_resolved
from sync import breaker_state, delivery, switches, tasks
from sync.api.standing import read_standing
from sync.models import Attempt, Debt, Ledger
from sync.pauses import AUDIT, LINK, SYNC, Scope
from sync.stops import Breaker, Pause
from sync.switches import UnknownSwitch
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

TARGET = "therapist_profiles"
BY = "user:7"


@pytest.fixture
def people(transactional_db: None, settings: Any) -> list[User]:
    """Three therapists in line, whose copies workers alone make."""
    settings.SYNC_RECEIVERS = False
    return therapists(3)


@pytest.fixture
def workers_copy(copying_off: None) -> None:
    """Copying at commit is the database's own and goes on while workers pause; here it is off."""


def pause(scope: Scope, key: object) -> bool:
    return switches.pause(scope=scope, key=str(key), by=BY, note=" A move. ", at=timezone.now())


def resume(scope: Scope, key: object) -> bool:
    return switches.resume(scope=scope, key=str(key), by=BY, at=timezone.now())


def edit(people: list[User]) -> None:
    Enrollment.objects.filter(user__in=people).update(bio="Edited meanwhile.")


def later(seconds: float) -> None:
    for row in Breaker.objects.filter(ramp_since__isnull=False):
        Breaker.objects.filter(pk=row.pk).update(
            ramp_since=row.ramp_since and row.ramp_since - dt.timedelta(seconds=seconds)
        )


def edited() -> int:
    return Profile.objects.filter(bio="Edited meanwhile.").count()


def scopes(people: list[User]) -> dict[str, tuple[Scope, object, int]]:
    """Give each kind of pause with how many of the people it stops."""
    return {
        "person": (Scope.PERSON, people[0].pk, 1),
        "target": (Scope.TARGET, TARGET, 3),
        "operation": (Scope.OPERATION, SYNC, 3),
    }


@pytest.mark.usefixtures("workers_copy")
@pytest.mark.parametrize("kind", ["person", "target", "operation"])
class TestAPause:
    def test_p1_stops_the_work_at_once_and_keeps_what_is_owed(self, people: list[User], kind: str) -> None:
        scope, key, stopped = scopes(people)[kind]
        assert pause(scope, key)
        edit(people)
        assert fakes.states(people[0].pk)[TARGET] == "parked", "before any worker came by"
        delivery.drain()
        assert edited() == 3 - stopped
        assert fakes.states(people[0].pk)[TARGET] == "parked"
        assert fakes.silently_behind() == set()
        assert not Debt.objects.exists()
        assert not Attempt.objects.exists()

    def test_ends_when_it_is_switched_on_again(self, people: list[User], kind: str) -> None:
        scope, key, _ = scopes(people)[kind]
        pause(scope, key)
        edit(people)
        delivery.drain()
        assert resume(scope, key)
        later(30)
        delivery.drain()
        assert edited() == 3
        assert not Ledger.objects.filter(is_paused=True).exists()
        assert fakes.states(people[0].pk)[TARGET] == "in_sync"

    def test_lets_a_retry_asked_for_wait_too(self, people: list[User], kind: str) -> None:
        scope, key, _ = scopes(people)[kind]
        pause(scope, key)
        edit(people)
        report = delivery.bring_in_line([people[0].pk])
        assert report.parked >= 1
        assert Profile.objects.get(user=people[0]).bio != "Edited meanwhile."

    def test_is_written_down_once_each_way(self, people: list[User], kind: str) -> None:
        scope, key, _ = scopes(people)[kind]
        assert [pause(scope, key), pause(scope, key)] == [True, False]
        assert Pause.objects.get().note == "A move."
        assert [resume(scope, key), resume(scope, key)] == [True, False]
        lines = History.objects.order_by("id").values_list(
            "actor", "action", "object_type", "object_id", "from_state", "to_state"
        )
        assert list(lines) == [
            (BY, "paused", kind, str(key), "on", "paused"),
            (BY, "resumed", kind, str(key), "paused", "on"),
        ]


@pytest.mark.usefixtures("workers_copy")
class TestWhatIsParked:
    def test_follows_over_a_ramp_when_a_target_is_switched_on(self, people: list[User]) -> None:
        pause(Scope.TARGET, TARGET)
        edit(people)
        delivery.drain()
        at = timezone.now()
        switches.resume(scope=Scope.TARGET, key=TARGET, by=BY, at=at)
        assert [breaker_state.pull_forward(at + dt.timedelta(seconds=s)) for s in (0.1, 0.5, 0.5, 1)] == [0, 2, 0, 1]
        assert not Ledger.objects.filter(is_paused=True).exists()

    def test_stays_parked_for_a_paused_person_while_the_others_follow(self, people: list[User]) -> None:
        pause(Scope.PERSON, people[0].pk)
        pause(Scope.TARGET, TARGET)
        edit(people)
        delivery.drain()
        resume(Scope.TARGET, TARGET)
        later(30)
        delivery.drain()
        assert edited() == 2
        assert fakes.states(people[0].pk)[TARGET] == "parked"

    def test_is_told_truthfully_by_the_api(self, people: list[User]) -> None:
        pause(Scope.PERSON, people[0].pk)
        edit(people)
        standing = read_standing(people[0].pk)
        assert {t.target: t.state for t in standing.targets}[TARGET] == "parked"
        assert standing.is_degraded

    def test_does_not_bring_an_accepted_difference_in_line(self, people: list[User]) -> None:
        person = people[0]
        with fakes.refusing(TARGET, "bio IS DISTINCT FROM 'Edited meanwhile.'"):
            edit([person])
            delivery.drain()
        items = Intervention.objects.filter(person_id=person.pk)
        mark_resolved(items=items, by=BY, note="It may differ.", may_accept=True, at=timezone.now())
        pause(Scope.TARGET, TARGET)
        Enrollment.objects.filter(user=person).update(phone="+44 20 7946 0001")
        delivery.drain()
        assert Ledger.objects.get(target=TARGET).is_paused
        resume(Scope.TARGET, TARGET)
        later(30)
        delivery.drain()
        profile = Profile.objects.get(user=person)
        assert (profile.bio, profile.phone) == ("Twelve years with couples.", "+44 20 7946 0001")


class TestSwitches:
    @pytest.mark.parametrize(
        ("scope", "key"), [(Scope.PERSON, "Ada"), (Scope.TARGET, "nowhere"), (Scope.OPERATION, "everything")]
    )
    def test_unknown_ones_are_refused(self, transactional_db: None, scope: Scope, key: str) -> None:
        for act in (pause, resume):
            with pytest.raises(UnknownSwitch):
                act(scope, key)
        assert not History.objects.exists()

    def test_a_paused_audit_compares_nothing(self, people: list[User]) -> None:
        with fakes.asleep():
            Profile.objects.filter(user=people[0]).update(bio="Written past everything.")
        pause(Scope.OPERATION, AUDIT)
        tasks.audit()
        assert not Debt.objects.exists()
        resume(Scope.OPERATION, AUDIT)
        tasks.audit()
        assert Debt.objects.exists()

    def test_paused_linking_links_nobody(self, people: list[User]) -> None:
        pause(Scope.OPERATION, LINK)
        with fakes.asleep():
            Enrollment.objects.filter(user=people[0]).update(user=None)
        tasks.link()
        assert not Debt.objects.exists()
