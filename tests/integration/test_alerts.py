"""Whom the desk tells of what: written down once for each level, however many look, and ended when it is over."""

import datetime as dt
import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from interventions import alerts, causes, channels, deliveries, digest, handlers, items, messages, operations
from interventions.handlers import Lag
from interventions.ladder import Kind, Level
from interventions.models import Alert, AlertDelivery, AlertReading, AlertState, AlertWatch, Cause, Resolution
from sync import alerts as engine
from sync.models import Debt, Ledger
from tests import fakes
from tests.factories import Cast, UserFactory
from therapists.models import User

TARGET = "therapist_profiles"
NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
STAFF, LEAD, PAGE = Level.STAFF, Level.LEAD, Level.PAGE


@pytest.fixture(autouse=True)
def channels_of_each_level(settings: Any, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALERT_URLS_STAFF, settings.ALERT_URLS_LEAD = ["json://staff"], ["json://lead"]
    settings.ALERT_URLS_PAGE, settings.ALERT_MAIL_PAGE = ["json://page"], ["night@example.org"]
    monkeypatch.setattr(handlers, "_lags", [])


def opened(first: int, end: int, *, at: dt.datetime = NOW, detail: str = "bio_is_short") -> None:
    failures = [
        items.Failure(target=TARGET, code="23514", failure_class="refused", detail=detail, attempts=1, person_id=person)
        for person in range(first, end)
    ]
    items.open_items(failures=failures, at=at)
    causes.follow(at=at)


def mended(first: int, end: int, *, at: dt.datetime) -> None:
    entities: dict[tuple[int, str], int | None] = {(person, TARGET): None for person in range(first, end)}
    items.settle_items(entities=entities, resolution=Resolution.AUTO, at=at)
    causes.follow(at=at)


def after(**words: float) -> dt.datetime:
    return NOW + dt.timedelta(**words)


def told() -> list[tuple[str, str]]:
    """List what was put to be sent: what, and to whom."""
    names = {channel.name: channel.address for channel in channels.every().values()}
    found = AlertDelivery.objects.order_by("pk").values_list("kind", "channel")
    return [(kind, names[channel].removeprefix("json://")) for kind, channel in found]


def sent(**words: Any) -> None:
    AlertDelivery.objects.update(state=AlertState.SENT, sent_at=NOW, attempts=1)


class TestACause:
    def test_is_told_to_each_level_once_by_its_age(self) -> None:
        opened(1, 3)
        assert [alerts.look(at=after(seconds=s)) for s in (0, 15, 30)] == [1, 0, 0]
        assert alerts.look(at=after(hours=1)) == 1
        assert alerts.look(at=after(hours=23)) == 0
        assert alerts.look(at=after(hours=24)) == 1
        assert told() == [("raised", "staff"), ("raised", "lead"), ("raised", "page"), ("raised", "night@example.org")]
        first = Alert.objects.get(level=STAFF)
        assert (first.items, first.people, first.since, first.kind) == (2, 2, NOW, Kind.RAISED)
        assert first.says == ("therapist_profiles: The place refuses the value by a CHECK constraint (bio_is_short).")
        assert first.path == (
            "/admin/interventions/intervention/?cause__exact=v1%3Atherapist_profiles%3Async%3Arefused%3A23514%3Abio_is_short"
        )

    def test_of_more_than_twenty_people_is_told_to_a_lead_at_once(self) -> None:
        opened(1, 22)
        assert alerts.look(at=NOW) == 2
        assert sorted(told()) == [("raised", "lead"), ("raised", "staff")]

    def test_is_told_to_an_address_once_where_levels_share_it(self, settings: Any) -> None:
        settings.ALERT_URLS_LEAD = []
        opened(1, 22)
        assert alerts.look(at=NOW) == 2
        assert told() == [("raised", "staff")]
        assert AlertDelivery.objects.get().alert == Alert.objects.get(level=LEAD)

    def test_that_somebody_sees_to_is_not_told_further(self) -> None:
        opened(1, 3)
        alerts.look(at=NOW)
        sam = UserFactory.create(is_staff=True)
        owner = f"user:{sam.pk}"
        Cause.objects.update(state="acknowledged", owner=owner, acknowledged_at=NOW, acknowledged_by=owner)
        assert [alerts.look(at=after(hours=h)) for h in (1, 24, 48)] == [0, 0, 0]
        # Whoever cannot sign in any more sees to nothing.
        User.objects.update(is_active=False)
        assert alerts.look(at=after(hours=49)) == 2
        assert told() == [("raised", "staff"), ("raised", "page"), ("raised", "night@example.org"), ("raised", "lead")]

    def test_that_nobody_sees_to_is_told_again_every_day(self) -> None:
        opened(1, 3)
        for hours in (0, 1, 24, 47.9, 48, 48.1, 72):
            alerts.look(at=after(hours=hours))
        assert [kind for kind, whom in told() if whom == "page"] == ["raised", "repeated", "repeated"]
        assert [kind for kind, whom in told() if whom == "staff"] == ["raised"]

    @pytest.mark.parametrize("silence", ["snoozed", "ignored"])
    def test_that_is_snoozed_or_ignored_is_silent_until_then(self, silence: str) -> None:
        opened(1, 30)
        until = after(hours=2)
        if silence == "snoozed":
            Cause.objects.update(snoozed_until=until)
        else:
            Cause.objects.update(ignored_at=NOW, ignored_until=until, ignored_reason="known")
        assert [alerts.look(at=at) for at in (NOW, after(hours=1.99))] == [0, 0]
        assert alerts.look(at=until) == 2

    def test_is_over_when_it_is_resolved_and_those_who_heard_of_it_hear_that_too(self) -> None:
        opened(1, 3)
        alerts.look(at=NOW)
        sent()
        mended(1, 3, at=after(minutes=5))
        assert alerts.look(at=after(minutes=5)) == 1
        assert told() == [("raised", "staff"), ("recovered", "staff")]
        alert = Alert.objects.get()
        assert (alert.kind, alert.ended_at) == (Kind.RECOVERED, after(minutes=5))
        assert "tab=resolved&cause__exact=v1" in alert.path
        assert alerts.look(at=after(minutes=6)) == 0

    def test_that_was_over_before_it_could_be_told_is_not_told_at_all(self) -> None:
        opened(1, 3)
        alerts.look(at=NOW)
        mended(1, 3, at=after(minutes=5))
        alerts.look(at=after(minutes=5))
        assert told() == [("raised", "staff")]
        assert AlertDelivery.objects.get().state == AlertState.DROPPED

    def test_that_flutters_is_not_told_of_all_night(self) -> None:
        for minute in range(30):
            opened(1, 3, at=after(minutes=minute))
            alerts.look(at=after(minutes=minute))
            sent()
            mended(1, 3, at=after(minutes=minute, seconds=30))
            alerts.look(at=after(minutes=minute, seconds=30))
        assert len(told()) == 6

    def test_that_comes_back_is_told_of_anew(self) -> None:
        opened(1, 3)
        alerts.look(at=NOW)
        mended(1, 3, at=after(minutes=5))
        alerts.look(at=after(minutes=5))
        opened(1, 3, at=after(hours=5))
        assert alerts.look(at=after(hours=5)) == 1
        assert [a.since for a in Alert.objects.order_by("pk")] == [NOW, after(hours=5)]

    def test_p9_a_thousand_of_them_are_no_thousand_messages(self, settings: Any) -> None:
        for number in range(60):
            opened(number, number + 1, detail=f"constraint_{number}")
        assert alerts.look(at=NOW) == 60
        assert len(told()) == 30
        alerts.look(at=after(hours=2))
        assert Alert.objects.count() == 120
        assert sorted(set(told())) == [("raised", "lead"), ("raised", "staff")]
        assert len(told()) == 60
        # They share a channel that is away: what is urgent finds room all the same, and goes before the rest.
        settings.ALERT_URLS_PAGE, settings.ALERT_MAIL_PAGE = [], []
        alerts.look(at=after(hours=25))
        assert Alert.objects.filter(level=PAGE).count() == 60
        assert len(told()) == 90
        claim = deliveries.claim_next(at=after(hours=25))
        assert claim is not None
        assert AlertDelivery.objects.get(pk=claim.id).alert.level == PAGE  # type: ignore[union-attr]
        sent()
        opened(100, 101, at=after(hours=2), detail="another")
        alerts.look(at=after(hours=2))
        assert len(told()) == 91

    def test_p10_names_nobody_whatever_a_program_reported(self) -> None:
        for words in ("avatar of jane@example.org", "sync 'Jane Doe'"):
            operations.log_manual_intervention_needed(
                operation=words, entity_id="jane", error="jane@example.org +44 7700 900123"
            )
        fakes.sql(
            "INSERT INTO manual_intervention_log (operation, entity_id, error) VALUES ('jane@example.org', 'jane', 'jane')"
        )
        causes.follow(at=timezone.now())
        assert alerts.look(at=timezone.now() + dt.timedelta(hours=2)) == 6
        made = digest.make_due(at=timezone.now())
        assert made is not None
        said = [messages.of_alert(one, Kind.RAISED) for one in Alert.objects.all()] + [messages.of_digest(made)]
        assert [one for one in said if "jane" in f"{one}".lower() or "7700" in f"{one}"] == []
        assert "jane" not in f"{fakes.sql('SELECT * FROM intervention_alert')}{made.content}".lower()


class TestATarget:
    def test_whose_breaker_opens_is_told_of_and_over_when_it_closes(self) -> None:
        failure = items.TargetFailure(
            target="users", code="42P01", failure_class="misconfigured", detail="users", attempts=5
        )
        items.write_items(failures=[failure], at=NOW)
        causes.follow(at=NOW)
        assert alerts.look(at=NOW) == 1
        assert Alert.objects.get().says == "users: The table is not there."
        sent()
        with transaction.atomic():
            items.settle_target(target="users", resolution=Resolution.AUTO, at=after(minutes=1))
        causes.follow(at=after(minutes=1))
        alerts.look(at=after(minutes=1))
        assert told() == [("raised", "staff"), ("recovered", "staff")]


class TestWhatIsBehind:
    def test_is_told_and_over_when_it_is_not_behind_any_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lag = Lag("urgent:verification", "Verification is behind.", "", "/admin/targets/users/", NOW, 2, is_urgent=True)
        behind = [lag]
        handlers.register_lags(lambda: behind)
        assert [alerts.look(at=after(minutes=m)) for m in (5, 6, 7)] == [0, 1, 0]
        sent()
        behind.clear()
        assert alerts.look(at=after(minutes=8)) == 1
        assert [kind for kind, _ in told()] == ["raised", "raised", "recovered", "recovered"]

    def test_p7_that_cannot_be_read_is_neither_over_nor_in_the_way_of_causes(self) -> None:
        lag = Lag("owed:users", "users is behind.", "", "/admin/targets/users/", NOW, 2)
        handlers.register_lags(lambda: [lag])
        alerts.look(at=after(hours=1))
        handlers.register_lags(lambda: [lag for _ in fakes.sql("SELECT FROM no_such_table")])
        opened(1, 3)
        assert alerts.look(at=after(hours=2)) == 2
        assert Alert.objects.get(subject="owed:users").ended_at is None


class TestTheEngine:
    @pytest.fixture(autouse=True)
    def _old(self, cast: Cast) -> None:
        self.cast, self.old = cast, timezone.now() - dt.timedelta(hours=1)

    def owe(self, person: int, target: str = TARGET, **words: Any) -> None:
        values = {"owed_since": self.old, "desired_revision": 1, "next_attempt_at": self.old} | words
        Ledger.objects.update_or_create(person_id=person, target=target, defaults=values)

    def names(self) -> list[str]:
        return [lag.name for lag in engine.lags()]

    def test_tells_of_what_is_owed_for_long_and_no_item_stands_for(self) -> None:
        Debt.objects.all().delete()
        Ledger.objects.all().delete()
        assert self.names() == []
        self.owe(self.cast.ada.pk)
        (lag,) = engine.lags()
        assert (lag.name, lag.people, lag.since, lag.path) == (
            f"owed:{TARGET}",
            1,
            self.old,
            f"/admin/targets/{TARGET}/",
        )
        opened(self.cast.ada.pk, self.cast.ada.pk + 1)
        assert self.names() == []

    @pytest.mark.parametrize("words", [{"is_paused": True}, {"excluded_reason": "accepted"}])
    def test_does_not_tell_of_what_staff_decided(self, words: dict[str, Any]) -> None:
        Debt.objects.all().delete()
        Ledger.objects.all().delete()
        self.owe(self.cast.ada.pk, **words)
        assert self.names() == []

    def test_tells_of_debt_that_nobody_takes_up(self) -> None:
        Ledger.objects.all().delete()
        Debt.objects.all().delete()
        Debt.objects.create(person_id=self.cast.ada.pk, targets=[TARGET], revision=1, at=self.old)
        assert self.names() == [f"owed:{TARGET}"]

    def test_p7_tells_of_verification_only_where_it_differs(self) -> None:
        Debt.objects.all().delete()
        Ledger.objects.all().delete()
        self.owe(self.cast.ada.pk)
        opened(self.cast.ada.pk, self.cast.ada.pk + 1)
        assert self.names() == []
        with fakes.asleep():
            fakes.sql(
                "UPDATE therapist_profiles SET verification_status = 'rejected' WHERE user_id = %s", self.cast.ada.pk
            )
        (lag,) = engine.lags()
        assert (lag.name, lag.is_urgent, lag.people) == ("urgent:verification", True, 1)
        with fakes.renamed(TARGET, "verification_status"):
            assert "urgent:verification" in self.names()


class TestTogether:
    def test_two_who_look_at_once_write_each_alert_once(self) -> None:
        opened(1, 30)
        barrier = threading.Barrier(4)

        def look() -> None:
            barrier.wait()
            alerts.look(at=NOW)
            connection.close()

        for _ in range(5):
            AlertDelivery.objects.all().delete()
            Alert.objects.all().delete()
            threads = [threading.Thread(target=look) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(told()) == [("raised", "lead"), ("raised", "staff")]

    def test_p7_whoever_finds_somebody_looking_leaves_it_to_them(self, second_connection: Any) -> None:
        alerts.look(at=NOW)
        opened(1, 3)
        other = second_connection()
        with other.transaction():
            other.execute("SELECT FROM intervention_alert_watch FOR UPDATE")
            assert alerts.look(at=NOW) == 0
        assert alerts.look(at=NOW) == 1
        assert AlertWatch.objects.get().looked_at == NOW


class TestReading:
    def test_is_each_persons_own_and_over_when_it_is_told_again(self) -> None:
        opened(1, 3)
        alerts.look(at=NOW)
        alert = Alert.objects.get()
        assert alerts.read(alerts=[alert.pk], user_id=7, at=NOW) == 1
        assert alerts.read(alerts=[alert.pk], user_id=7, at=NOW) == 0
        assert (alerts.unread(7).count(), alerts.unread(8).count()) == (0, 1)
        alerts.look(at=after(hours=1))
        assert [a.level for a in alerts.unread(7)] == [LEAD]
        Cause.objects.update(snoozed_until=after(hours=2))
        alerts.read(alerts=list(Alert.objects.values_list("pk", flat=True)), user_id=7, at=NOW)
        alerts.look(at=after(hours=3))
        assert [a.level for a in alerts.unread(7)] == [LEAD]

    def test_old_alerts_go_with_what_belongs_to_them(self) -> None:
        opened(1, 3)
        alerts.look(at=NOW)
        alerts.read(alerts=[Alert.objects.get().pk], user_id=7, at=NOW)
        alerts.prune(at=after(days=500))
        assert Alert.objects.count() == 1
        mended(1, 3, at=after(days=1))
        alerts.look(at=after(days=1))
        alerts.prune(at=after(days=90))
        assert Alert.objects.count() == 1
        alerts.prune(at=after(days=92))
        assert [model.objects.count() for model in (Alert, AlertDelivery, AlertReading)] == [0, 0, 0]
