"""Outside services are targets: owed in the transaction of the change, called outside any, settled by their lease."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from interventions import operations
from interventions.models import Intervention
from sync import breaker_state, calling, delivery, leases, outside, switches
from sync.models import Attempt, Breaker, Debt, Ledger, Service
from sync.operations import Desk
from sync.pauses import Scope
from sync.vitals import engine
from tests import fakes
from tests.factories import Cast, UserFactory
from tests.stand_ins.control import Control, started
from tests.stand_ins.listing import SECRET
from therapists.models import Enrollment, Status, User

pytestmark = pytest.mark.django_db(transaction=True)
LISTING = "listing"


@pytest.fixture(scope="module")
def directory() -> Iterator[Control]:
    with started("listing") as (control,):
        yield control


@pytest.fixture
def listing(directory: Control, settings: Any, cast: Cast) -> Control:
    """A directory that is configured, and knows everybody it should. Whatever fails there is tried again much later."""
    settings.SYNC_PRIVATE_ADDRESSES = True
    settings.LISTING_SECRET = SECRET
    settings.LISTING_URL = f"{directory.address}/"
    directory.forget()
    fakes.settled()
    configure()
    told()
    return directory


def configure() -> None:
    outside.follow(at=timezone.now())


def told() -> calling.Report:
    """Fold what is owed, and call."""
    delivery.drain()
    return calling.call(LISTING)


def messages(control: Control) -> list[tuple[str, int]]:
    found = [json.loads(effect["body"]) for effect in control.effects]
    return [(message["type"], message["data"]["id"]) for message in found]


def row(person: User) -> Ledger:
    return Ledger.objects.get(person_id=person.pk, target=LISTING)


def edit(person: User, bio: str = "Anew.") -> None:
    enrollment = Enrollment.objects.get(user=person)
    enrollment.bio = bio
    enrollment.save(update_fields=["bio"])


def decide(person: User, status: Status) -> None:
    Enrollment.objects.filter(user=person).update(status=status)


class TestConfigured:
    def test_unconfigured_nothing_is_owed_and_no_answer_knows_of_it(self, cast: Cast, settings: Any) -> None:
        settings.SYNC_RECEIVERS = False
        configure()
        edit(cast.ada)
        decide(cast.ada, Status.REJECTED)
        UserFactory.create()
        assert not [debt for debt in Debt.objects.all() if any(word.startswith("*") for word in debt.targets)]
        assert LISTING not in fakes.states(cast.ada.pk)

    def test_configured_later_everybody_is_owed_and_only_the_approved_are_published(
        self, listing: Control, cast: Cast
    ) -> None:
        approved = set(
            Enrollment.objects.filter(status="approved", user__isnull=False).values_list("user_id", flat=True)
        )
        assert {person for _, person in messages(listing)} == approved
        assert all(kind == "profile.published" for kind, _ in messages(listing))
        assert fakes.states(cast.ada.pk)[LISTING] == "unverifiable"
        configure()
        assert not leases.is_due(LISTING), "once"
        newcomer = UserFactory.create()
        told()
        assert fakes.states(newcomer.pk)[LISTING] == "excluded"

    def test_everybody_is_owed_only_when_nobody_is_left_who_knew_of_no_service(
        self, directory: Control, cast: Cast, settings: Any, second_connection: Any
    ) -> None:
        settings.SYNC_PRIVATE_ADDRESSES, settings.LISTING_SECRET = True, SECRET
        fakes.settled()
        earlier = second_connection()
        earlier.execute("BEGIN")
        earlier.execute("UPDATE therapist_enrollments SET bio = 'Unseen.' WHERE user_id = %s", [cast.ada.pk])
        earlier.execute("SELECT pg_current_xact_id()")
        settings.LISTING_URL = f"{directory.address}/"
        configure()
        assert Service.objects.get().everybody_owed_at is None
        earlier.execute("COMMIT")
        configure()
        assert Service.objects.get().everybody_owed_at
        assert Ledger.objects.filter(person_id=cast.ada.pk, target=LISTING).exists()

    def test_configured_no_more_it_is_owed_nothing_and_its_item_is_settled(
        self, listing: Control, cast: Cast, settings: Any
    ) -> None:
        listing.follow({"do": "status", "status": 422})
        edit(cast.ada)
        told()
        assert Intervention.objects.filter(target=LISTING, resolved=False).count() == 1
        settings.LISTING_URL = ""
        configure()
        assert not Ledger.objects.filter(target=LISTING, owed_since__isnull=False).exists()
        assert Intervention.objects.get(target=LISTING).resolution == "superseded"
        assert LISTING not in fakes.states(cast.ada.pk)


class TestTold:
    def test_an_edit_is_owed_in_its_transaction_and_told_once_with_what_is_so_by_then(
        self, listing: Control, cast: Cast, database_alone: None
    ) -> None:
        listing.forget()
        edit(cast.ada, "First.")
        assert fakes.states(cast.ada.pk)[LISTING] == "due"
        edit(cast.ada, "Second.")
        assert told().told == 1
        (effect,) = listing.effects
        assert effect["key"] == f"{cast.ada.pk}:listing:{row(cast.ada).applied_revision}"
        assert json.loads(effect["body"])["data"]["profile"]["bio"] == "Second."
        assert fakes.states(cast.ada.pk)[LISTING] == "unverifiable"
        assert Attempt.objects.filter(target=LISTING, person_id=cast.ada.pk).latest("id").answer == {
            "published": 1, "queued": 0, "skipped": 0,
        }  # fmt: skip

    def test_what_is_public_goes_out_and_nothing_else(self, listing: Control, cast: Cast) -> None:
        sent = json.dumps([request["body"] for request in listing.received])
        for person in User.objects.all():
            assert person.email not in sent
        assert '"phone"' not in sent.replace("\\", "")

    def test_who_is_rejected_or_deleted_is_withdrawn_once(self, listing: Control, cast: Cast) -> None:
        listing.forget()
        decide(cast.ada, Status.REJECTED)
        told()
        assert messages(listing) == [("profile.withdrawn", cast.ada.pk)]
        assert fakes.states(cast.ada.pk)[LISTING] == "excluded"
        edit(cast.ada, "Not public.")
        told()
        assert len(listing.effects) == 1, "nothing is told of who is not known there"
        pk = cast.ben.pk
        cast.ben.delete()
        told()
        assert len(listing.effects) == 1, "not before the deletion has taken effect"
        fakes.sweep()
        Ledger.objects.filter(person_id=pk, target=LISTING).update(next_attempt_at=timezone.now())
        told()
        assert messages(listing)[1:] == [("profile.withdrawn", pk)]

    def test_what_changes_while_it_is_told_stays_owed(self, listing: Control, cast: Cast, monkeypatch: Any) -> None:
        listing.forget()
        edit(cast.ada, "First.")
        settle = leases.settle

        def meanwhile(lease: leases.Lease, **words: Any) -> bool:
            monkeypatch.setattr(leases, "settle", settle)
            delivery.bring_in_line([cast.ada.pk])
            return settle(lease, **words)

        delivery.drain()
        monkeypatch.setattr(leases, "settle", meanwhile)
        taken = calling._take(LISTING)
        turn = calling._turn(LISTING, calling.Report())
        assert turn is not None
        assert calling._attempt(turn, taken[0])
        assert row(cast.ada).owed_since is not None
        assert calling.call(LISTING).told == 1
        assert len({effect["key"] for effect in listing.effects}) == 2

    def test_read_back_where_the_directory_allows_it(self, listing: Control, cast: Cast, settings: Any) -> None:
        settings.LISTING_READ_URL = f"{listing.address}/profiles"
        configure()
        edit(cast.ada)
        told()
        assert fakes.states(cast.ada.pk)[LISTING] == "in_sync"
        decide(cast.ada, Status.SUSPENDED)
        told()
        assert row(cast.ada).verified_revision == row(cast.ada).applied_revision


class TestDesk:
    def test_p8_what_a_service_has_is_never_called_equal_unseen(self, listing: Control, cast: Cast) -> None:
        listing.follow({"do": "status", "status": 422})
        edit(cast.ada)
        told()
        items = Intervention.objects.filter(target=LISTING, resolved=False)
        done = operations.mark_resolved(items=items, by="user:1", note="Seen.", may_accept=False, at=timezone.now())
        assert (done.done, done.refused) == (0, 1)
        assert items.count() == 1
        assert "A retry tells listing" in Desk().compare([(cast.ada.pk, LISTING)])[cast.ada.pk, LISTING].outlook

    def test_who_may_accept_it_does_until_the_next_edit(self, listing: Control, cast: Cast) -> None:
        listing.follow({"do": "status", "status": 422, "times": 1})
        edit(cast.ada)
        told()
        operations.mark_resolved(
            items=Intervention.objects.filter(target=LISTING), by="user:1", note="Theirs.", may_accept=True,
            at=timezone.now(),
        )  # fmt: skip
        assert fakes.states(cast.ada.pk)[LISTING] == "excluded"
        assert calling.call(LISTING).told == 0
        edit(cast.ada, "Another.")
        assert told().told == 1

    def test_a_retry_and_a_switch_reach_it(self, listing: Control, cast: Cast) -> None:
        listing.follow({"do": "status", "status": 422, "times": 1})
        edit(cast.ada)
        told()
        switches.pause(scope=Scope.TARGET, key=LISTING, by="user:1", note="", at=timezone.now())
        operations.retry_items(items=Intervention.objects.filter(target=LISTING), by="user:1", at=timezone.now())
        assert told().told == 0
        assert fakes.states(cast.ada.pk)[LISTING] == "parked"
        switches.resume(scope=Scope.TARGET, key=LISTING, by="user:1", at=timezone.now())
        Breaker.objects.update(ramp_since=timezone.now() - dt.timedelta(hours=1))
        breaker_state.pull_forward(timezone.now())
        assert told().told == 1
        assert not Intervention.objects.filter(target=LISTING, resolved=False).exists()

    def test_whose_work_is_paused_is_told_nothing(self, listing: Control, cast: Cast) -> None:
        switches.pause(scope=Scope.PERSON, key=str(cast.ada.pk), by="user:1", note="", at=timezone.now())
        for person in (cast.ada, cast.ben):
            edit(person)
        assert told().told == 1
        assert fakes.states(cast.ada.pk)[LISTING] == "parked"
        switches.resume(scope=Scope.PERSON, key=str(cast.ada.pk), by="user:1", at=timezone.now())
        assert told().told == 1


class TestTroubles:
    def test_a_lost_answer_is_one_effect(self, listing: Control, cast: Cast) -> None:
        listing.forget()
        listing.follow({"do": "lost", "times": 1})
        edit(cast.ada)
        told()
        assert row(cast.ada).last_error_code == "KW022"
        Ledger.objects.filter(target=LISTING).update(next_attempt_at=timezone.now())
        told()
        assert len(listing.effects) == 1
        assert row(cast.ada).owed_since is None

    @pytest.mark.parametrize(
        ("step", "code", "is_blocked"),
        [
            ({"do": "status", "status": 500}, "500", False),
            ({"do": "status", "status": 422}, "422", True),
            ({"do": "status", "status": 401}, "KW011", True),
            ({"do": "reset"}, "KW022", False),
            ({"do": "bad_body"}, "KW023", False),
            ({"do": "redirect"}, "KW024", True),
        ],
    )
    def test_each_trouble_by_its_kind(
        self, listing: Control, cast: Cast, step: dict[str, Any], code: str, is_blocked: bool
    ) -> None:
        listing.follow(step)
        edit(cast.ada)
        assert told().failed == 1
        assert row(cast.ada).last_error_code == code
        assert (row(cast.ada).next_attempt_at is None) is is_blocked
        assert Intervention.objects.filter(target=LISTING, resolved=False).exists() is is_blocked
        listing.follow()
        Ledger.objects.filter(target=LISTING, owed_since__isnull=False).update(next_attempt_at=timezone.now())
        told()
        assert row(cast.ada).owed_since is None
        assert not Intervention.objects.filter(target=LISTING, resolved=False).exists()

    def test_slow_answers_end_with_the_time_allowed(self, listing: Control, cast: Cast, settings: Any) -> None:
        settings.SYNC_CALL_SECONDS = 1
        for step in ({"do": "hang"}, {"do": "drip"}):
            listing.follow(step)
            edit(cast.ada, json.dumps(step))
            told()
            assert row(cast.ada).last_error_code == "KW021", step

    def test_how_long_it_takes_is_measured_by_what_becomes_of_it(self, listing: Control, cast: Cast) -> None:
        Attempt.objects.all().delete()
        for step in ({"do": "slow", "seconds": 0.2}, {"do": "status", "status": 503}):
            listing.follow(step)
            edit(cast.ada, json.dumps(step))
            told()
        found = engine.failed().figures
        assert found["tries"] == {LISTING: {"503": 1}}
        assert 0.2 <= found["seconds"][LISTING]["settled"] < 5 > found["seconds"][LISTING]["503"]

    def test_who_asks_for_patience_gets_it_and_no_try_is_counted(self, listing: Control, cast: Cast) -> None:
        listing.follow({"do": "status", "status": 429, "retry_after": 30})
        for person in (cast.ada, cast.ben):
            edit(person)
        report = told()
        assert (report.failed, report.told) == (1, 0), "the lane waits, not the row alone"
        assert not Ledger.objects.filter(target=LISTING, attempts__gt=0).exists()
        assert fakes.states(cast.ben.pk)[LISTING] == "parked"
        assert calling.call(LISTING).failed == 0
        listing.follow()
        Breaker.objects.update(throttled_until=timezone.now())
        Ledger.objects.filter(target=LISTING).update(next_attempt_at=timezone.now())
        told()
        assert not Ledger.objects.filter(target=LISTING, owed_since__isnull=False).exists()

    def test_one_poison_opens_no_breaker_and_holds_back_nobody(self, listing: Control, cast: Cast) -> None:
        listing.follow({"do": "status", "status": 422, "when": f'"id": {cast.ada.pk},'})
        for _ in range(7):
            edit(cast.ada, timezone.now().isoformat())
            edit(cast.ben, timezone.now().isoformat())
            told()
        assert not Breaker.objects.filter(target=LISTING, word="open").exists()
        assert row(cast.ben).owed_since is None
        assert Intervention.objects.filter(target=LISTING, resolved=False).count() == 1

    def test_a_service_that_is_down_is_left_alone_with_one_item_until_its_probe(
        self, listing: Control, cast: Cast
    ) -> None:
        listing.follow({"do": "status", "status": 503})
        people = list(User.objects.filter(enrollment__status="approved")[:2])
        for _ in range(5):
            for person in people:
                edit(person, timezone.now().isoformat())
            told()
        assert Breaker.objects.get(target=LISTING).word == "open"
        asked = len(listing.received)
        for person in people:
            edit(person, timezone.now().isoformat())
        told()
        assert len(listing.received) == asked, "nothing is asked of it"
        assert fakes.states(people[0].pk)[LISTING] == "parked"
        item = Intervention.objects.get(target=LISTING, resolved=False)
        assert item.person_id is None
        listing.follow()
        Breaker.objects.update(probe_at=timezone.now())
        told()
        assert Breaker.objects.get(target=LISTING).word == "closed"
        Breaker.objects.update(ramp_since=timezone.now() - dt.timedelta(hours=1))
        told()
        assert not Ledger.objects.filter(target=LISTING, owed_since__isnull=False).exists()
        assert not Intervention.objects.filter(target=LISTING, resolved=False).exists()
