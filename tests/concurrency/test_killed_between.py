"""Deaths in the middle of breakers, leases, linking, merges, holds and erasures: all of it is there, or nothing."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from interventions.models import History, Intervention
from sync import deletion, delivery
from sync.models import Belated, Debt, Hold, Ledger, Tombstone
from sync.stops import Breaker
from tests import fakes
from tests.factories import therapist, therapists
from tests.victims import Victims
from therapists import erasure, identity, images
from therapists.models import EmailAlias, Enrollment, Profile, Status, User

pytestmark = pytest.mark.django_db(transaction=True)
TARGET = "therapist_profiles"
# Each is a point that a process passes and the one where it is killed then.
LATE = [("sync.belated.before_commit", "sync.belated.before_commit")]
OPENING = [("sync.before_claim", "sync.breaker.before_turn"), ("sync.breaker.before_turn", "sync.breaker.after_turn")]
CLOSING = [("sync.breaker.before_turn", "sync.breaker.after_turn"), ("sync.breaker.after_turn", "sync.before_settle")]
PULLING = [
    ("sync.breaker.after_lock", "sync.breaker.after_lock"),
    ("sync.breaker.after_lock", "sync.breaker.pull.before_commit"),
    ("sync.breaker.pull.before_commit", "sync.breaker.pull.after_commit"),
]
CHANGING = [("sync.breaker.change.before_commit", "sync.breaker.change.before_commit")]
LEASING = [
    ("sync.lease.after_take", "sync.lease.after_take"),
    ("sync.lease.after_take", "sync.lease.before_write"),
    ("sync.lease.before_write", "sync.lease.after_write"),
]
LINKING = [
    ("sync.link.before_owe", "sync.link.before_owe"),
    ("sync.link.before_owe", "sync.link.before_write"),
    ("sync.link.before_write", "sync.link.after_write"),
]
MERGING = [
    ("therapists.before_write", "therapists.merge.before_write"),
    ("therapists.merge.before_write", "therapists.before_commit"),
    ("therapists.before_commit", "therapists.after_commit"),
]
RETIRING = [
    ("sync.deletion.after_claim", "sync.deletion.after_claim"),
    ("sync.deletion.after_claim", "sync.deletion.before_commit"),
    ("sync.deletion.before_commit", "sync.deletion.after_commit"),
]
HOLDING = [
    ("sync.hold.before_commit", "sync.hold.before_commit"),
    ("sync.hold.before_commit", "sync.hold.after_commit"),
]
DECIDING = [
    ("sync.hold.decide.before_commit", "sync.hold.decide.before_commit"),
    ("sync.hold.decide.before_commit", "sync.hold.decide.after_commit"),
]
ERASING = [
    ("therapists.erase.before_write", "therapists.erase.before_write"),
    ("therapists.erase.before_write", "therapists.erase.before_commit"),
    ("therapists.erase.before_commit", "therapists.erase.after_commit"),
]
ALL = (LATE, OPENING, CLOSING, PULLING, CHANGING, LEASING, LINKING, MERGING, RETIRING, HOLDING, DECIDING, ERASING)
OTHERS = {"sync.before_settle", "therapists.before_commit", "therapists.after_commit"}
# What is killed here need not be killed in test_failpoints.
KILLED = {second for pairs in ALL for _, second in pairs} - OTHERS


def others() -> set[int]:
    """Give who else has a session on this database."""
    return {pid for (pid,) in fakes.sql(fakes.OTHERS.replace("SELECT 1", "SELECT pid"))}


def kill(victims: Victims, pair: tuple[str, str], work: str, /, **words: object) -> None:
    """Kill at the second point a process that has passed the first; come back when PostgreSQL has noticed."""
    first, second = pair
    before = others()
    if first == second:
        assert victims.run(work, orders={second: "kill"}, **words) == -9, f"{work} does not come to {second}"
    else:
        victims.killed_between(first, second, work, **words)
    fakes.wait_until(lambda: others() <= before, what="PostgreSQL has noticed the death")
    assert fakes.silently_behind() == set()


@pytest.mark.parametrize("pair", LATE)
def test_p7_a_late_alias_is_appended_once(pair: tuple[str, str], ada: User, victims: Victims) -> None:
    with fakes.locked_table("user_aliases"):
        User.objects.filter(pk=ada.pk).update(email="ada@new.example")
    kill(victims, pair, "append")
    assert (Belated.objects.count(), EmailAlias.objects.count()) == (1, 0)
    fakes.sweep()
    assert (Belated.objects.count(), EmailAlias.objects.count()) == (0, 1)


class TestABreaker:
    @pytest.fixture
    def people(self, copying_off: None) -> Iterator[list[User]]:
        """Six who are owed a bio behind a held table, one failed batch before the breaker opens."""
        people = therapists(6)
        fakes.settled()
        with fakes.locked_table(TARGET, "EXCLUSIVE"):
            Enrollment.objects.update(bio="Owed behind a lock.")
            self.fail()
            assert Breaker.objects.filter(pk=TARGET, word="closed").update(failures=4) == 1
            yield people
        self.comes_to_rest()

    def fail(self) -> None:
        self.make_due()
        delivery.drain()

    def make_due(self) -> None:
        fakes.sql("UPDATE sync_ledger SET next_attempt_at = clock_timestamp() WHERE next_attempt_at IS NOT NULL")
        fakes.sql("UPDATE sync_breaker SET probe_at = now() WHERE word = 'open'")

    def comes_to_rest(self) -> None:
        fakes.settled()
        assert fakes.behind() == set()
        assert Breaker.objects.get(pk=TARGET).word == "closed"
        assert not Intervention.objects.filter(resolved=False).exists()

    @pytest.mark.parametrize("pair", OPENING)
    def test_p9_that_opens_does_so_with_its_item_or_not_yet(
        self, pair: tuple[str, str], people: list[User], victims: Victims
    ) -> None:
        self.make_due()
        kill(victims, pair, "drain")
        assert Breaker.objects.get(pk=TARGET).word == "closed"
        assert not Intervention.objects.exists()
        assert not History.objects.filter(action="breaker_open").exists()
        self.fail()
        assert Breaker.objects.get(pk=TARGET).word == "open"
        assert Intervention.objects.filter(resolved=False, person_id=None).count() == 1

    @pytest.mark.parametrize("pair", PULLING)
    def test_p7_that_pulls_rows_forward_forgets_none(
        self, pair: tuple[str, str], people: list[User], victims: Victims
    ) -> None:
        self.fail()
        self.make_due()
        kill(victims, pair, "drain")
        assert Breaker.objects.get(pk=TARGET).word == "open"
        assert Ledger.objects.filter(target=TARGET, owed_since__isnull=False).count() == len(people)

    @pytest.mark.parametrize("pair", CHANGING)
    def test_p7_that_staff_reset_is_as_it_was(
        self, pair: tuple[str, str], people: list[User], victims: Victims
    ) -> None:
        self.fail()
        before = Breaker.objects.values().get(pk=TARGET)
        kill(victims, pair, "reset_breaker", target=TARGET)
        assert Breaker.objects.values().get(pk=TARGET) == before
        assert not History.objects.filter(action="breaker_reset").exists()


@pytest.mark.parametrize("pair", CLOSING)
def test_p8_a_breaker_closes_with_its_item_or_not_yet(
    pair: tuple[str, str], copying_off: None, victims: Victims
) -> None:
    breaker = TestABreaker()
    therapists(6)
    fakes.settled()
    with fakes.locked_table(TARGET, "EXCLUSIVE"):
        Enrollment.objects.update(bio="Owed behind a lock.")
        breaker.fail()
        Breaker.objects.update(failures=4)
        breaker.fail()
    assert Breaker.objects.get(pk=TARGET).word == "open"
    breaker.make_due()
    kill(victims, pair, "drain")
    assert Breaker.objects.get(pk=TARGET).word == "open"
    assert Intervention.objects.filter(resolved=False).count() == 1
    breaker.comes_to_rest()


@pytest.mark.parametrize("is_used", [True, False])
@pytest.mark.parametrize("pair", LEASING)
def test_p7_who_dies_with_a_lease_leaves_it_to_the_next(
    pair: tuple[str, str], is_used: bool, ada: User, victims: Victims
) -> None:
    Ledger.objects.update_or_create(
        person_id=ada.pk, target=TARGET,
        defaults={
            "desired_revision": 3, "applied_revision": 1, "verified_revision": 1,
            "owed_since": timezone.now(), "next_attempt_at": timezone.now(),
        },
    )  # fmt: skip
    kill(victims, pair, "lease", target=TARGET, is_used=is_used)
    row = Ledger.objects.get(person_id=ada.pk, target=TARGET)
    is_held = pair[1] != "sync.lease.after_take"
    assert (row.owed_since is not None, row.applied_revision) == (True, 1)
    assert (row.lease_owner, row.crashes) == (("victim", 1) if is_held else (None, 0))
    fakes.sql("UPDATE sync_ledger SET lease_until = now() WHERE lease_until IS NOT NULL")
    assert victims.run("lease", orders={}, target=TARGET) == 0
    row.refresh_from_db()
    assert (row.applied_revision, row.lease_owner, row.crashes, row.owed_since) == (3, None, 0, None)


@pytest.mark.parametrize("pair", LINKING)
def test_p7_a_link_is_made_by_the_next(pair: tuple[str, str], ada: User, victims: Victims) -> None:
    Enrollment.objects.filter(user=ada).update(user=None)
    Tombstone.objects.all().delete()
    Debt.objects.all().delete()
    kill(victims, pair, "link")
    assert not Enrollment.objects.filter(user=ada).exists()
    assert victims.run("link", orders={}) == 0
    assert Enrollment.objects.filter(user=ada).count() == 1
    fakes.settled()
    assert fakes.behind() == set()


@pytest.mark.parametrize("pair", MERGING)
def test_p7_a_merge_is_made_whole_or_not_at_all(pair: tuple[str, str], ada: User, victims: Victims) -> None:
    first = Enrollment.objects.get(user=ada)
    second = Enrollment.objects.create(
        email=ada.email, full_name="Ada", bio="The other bio.", status=Status.APPROVED, approved_at=timezone.now()
    )
    identity.review(at=timezone.now())
    kill(victims, pair, "merge", first=first.pk, second=second.pk, picks={"bio": "b"})
    is_merged = pair[1] == "therapists.after_commit"
    rows = {row.pk: row for row in Enrollment.objects.all()}
    assert rows[second.pk].superseded_by == (first.pk if is_merged else None)
    assert (rows[first.pk].bio == "The other bio.") is is_merged
    assert History.objects.filter(action="duplicate:merge").count() == 2 * is_merged
    assert Intervention.objects.filter(operation=identity.DUPLICATE, resolved=False).exists() is not is_merged
    fakes.settled()
    assert fakes.behind() == set()


class TestADeletion:
    @pytest.fixture
    def many(self, transactional_db: None) -> list[User]:
        people = therapists(30)
        fakes.settled()
        return people

    def delete(self, people: list[User]) -> None:
        fakes.sql("DELETE FROM therapist_enrollments WHERE user_id = ANY(%s)", [person.pk for person in people])
        fakes.settled()

    def verified(self) -> int:
        return User.objects.filter(is_verified=True).count()

    @pytest.mark.parametrize("pair", RETIRING)
    def test_p7_is_carried_out_by_the_next(self, pair: tuple[str, str], many: list[User], victims: Victims) -> None:
        self.delete(many[:3])
        kill(victims, pair, "retire")
        is_done = pair[1] == "sync.deletion.after_commit"
        assert self.verified() == (27 if is_done else 30)
        assert Tombstone.objects.filter(applied_at=None).count() == (0 if is_done else 3)
        assert victims.run("retire", orders={}) == 0
        assert (self.verified(), Tombstone.objects.filter(applied_at=None).count()) == (27, 0)

    @pytest.mark.parametrize("pair", HOLDING)
    def test_p7_of_many_is_held_all_the_same(self, pair: tuple[str, str], many: list[User], victims: Victims) -> None:
        self.delete(many[:21])
        kill(victims, pair, "retire")
        assert self.verified() == 30
        assert victims.run("retire", orders={}) == 0
        assert self.verified() == 30
        assert Hold.objects.count() == 1
        assert Intervention.objects.filter(operation=deletion.MASS, resolved=False).count() == 1

    @pytest.mark.parametrize("is_released", [True, False])
    @pytest.mark.parametrize("pair", DECIDING)
    def test_p7_that_is_held_is_decided_whole_or_not_at_all(
        self, pair: tuple[str, str], is_released: bool, many: list[User], victims: Victims
    ) -> None:
        self.delete(many[:21])
        deletion.retire(at=timezone.now())
        hold = Hold.objects.get()
        kill(victims, pair, "decide_hold", hold=hold.pk, is_released=is_released)
        is_decided = pair[1] == "sync.hold.decide.after_commit"
        hold.refresh_from_db()
        assert hold.is_released is (is_released if is_decided else None)
        assert Tombstone.objects.exists() is (is_released or not is_decided)
        assert Intervention.objects.filter(resolved=False).exists() is not is_decided
        if not is_decided:
            assert victims.run("decide_hold", orders={}, hold=hold.pk, is_released=is_released) == 0
        deletion.retire(at=timezone.now())
        assert self.verified() == (9 if is_released else 30)


@pytest.mark.parametrize("pair", ERASING)
def test_p7_an_erasure_is_whole_or_not_at_all(
    pair: tuple[str, str], tmp_path: Path, settings: Any, transactional_db: None, victims: Victims
) -> None:
    settings.MEDIA_ROOT = tmp_path
    url = images.store(b"RIFF0000WEBP")
    person = therapist("Zoe Quist").pk
    User.objects.filter(pk=person).update(avatar_url=url)
    fakes.settled()
    kill(victims, pair, "erase", person=person, media=str(tmp_path))
    is_erased = pair[1] == "therapists.erase.after_commit"
    left = [model.objects.count() for model in (User, Enrollment, Profile)]
    assert left == ([0, 0, 0] if is_erased else [1, 1, 1])
    assert History.objects.filter(action=erasure.ERASED).exists() is is_erased
    assert len(list(tmp_path.rglob("*.webp"))) == 1
    if not is_erased:
        assert victims.run("erase", orders={}, person=person, media=str(tmp_path)) == 0
    else:  # the file is named by nobody now: the daily look takes it
        images.remove_unused_avatars(at=timezone.now() + dt.timedelta(hours=25))
    assert list(tmp_path.rglob("*.webp")) == []
    assert not User.objects.exists()
