"""The daily digest: one for each day, however many ask and however long nobody was there, and true in its numbers."""

import datetime as dt
import threading
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from interventions import causes, digest, handlers, items, messages, retry_runs
from interventions.handlers import Lag
from interventions.models import AlertDelivery, Cause, Digest, Intervention, Resolution, RetryRun
from sync import repair
from sync import runs as sync_runs
from sync.models import Run, RunState
from tests import fakes
from tests.factories import Cast, therapists
from therapists.models import Profile

UTC = dt.UTC
NOW = dt.datetime(2026, 11, 22, 8, tzinfo=UTC)
TARGET = "therapist_profiles"


@pytest.fixture(autouse=True)
def at_seven(settings: Any, transactional_db: None) -> None:
    settings.DIGEST_MAIL, settings.DIGEST_HOUR, settings.DIGEST_ZONE = ["lead@example.org"], 7, "UTC"


def opened(first: int, end: int, *, at: dt.datetime = NOW, code: str = "23514") -> None:
    failures = [
        items.Failure(target=TARGET, code=code, failure_class="refused", detail="bio_is_short", attempts=1, person_id=p)
        for p in range(first, end)
    ]
    items.open_items(failures=failures, at=at)
    causes.follow(at=at)


class TestTheDay:
    @pytest.mark.parametrize(
        ("at", "zone", "day"),
        [
            ("2026-11-22T06:59:59", "UTC", 21),
            ("2026-11-22T07:00:00", "UTC", 22),
            ("2026-11-22T23:59:59", "UTC", 22),
            ("2026-11-22T05:59:59", "Europe/Berlin", 21),
            ("2026-11-22T06:00:00", "Europe/Berlin", 22),
            ("2026-11-21T22:00:00", "Asia/Tokyo", 22),
        ],
    )
    def test_begins_at_the_hour_in_the_zone(self, at: str, zone: str, day: int) -> None:
        moment = dt.datetime.fromisoformat(at).replace(tzinfo=UTC)
        assert digest.day_of(moment, hour=7, zone=zone) == dt.date(2026, 11, day)

    def test_has_each_of_its_days_once_also_where_the_clocks_change(self) -> None:
        start = dt.datetime(2026, 3, 28, tzinfo=UTC)
        days = [
            digest.day_of(start + dt.timedelta(minutes=m), hour=2, zone="Europe/Berlin") for m in range(4 * 24 * 60)
        ]
        assert days == sorted(days)
        assert len(set(days)) == 5


class TestMaking:
    def test_is_once_a_day_however_often_it_is_asked_for(self) -> None:
        assert [digest.make_due(at=NOW + dt.timedelta(minutes=m)) is not None for m in (0, 1, 600)] == [
            True,
            False,
            False,
        ]
        assert digest.make_due(at=NOW + dt.timedelta(days=1)) is not None
        assert list(Digest.objects.order_by("day").values_list("day", flat=True)) == [
            dt.date(2026, 11, d) for d in (22, 23)
        ]
        assert AlertDelivery.objects.filter(kind="digest").count() == 2

    def test_is_caught_up_once_after_a_pause_and_covers_it(self) -> None:
        digest.make_due(at=NOW)
        later = NOW + dt.timedelta(days=4, hours=5)
        made = digest.make_due(at=later)
        assert made is not None
        assert (made.day, made.since, Digest.objects.count()) == (dt.date(2026, 11, 26), NOW, 2)

    def test_p7_many_beats_at_once_make_one(self) -> None:
        barrier = threading.Barrier(6)

        def beat() -> None:
            barrier.wait()
            digest.make_due(at=NOW)
            connection.close()

        threads = [threading.Thread(target=beat) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (Digest.objects.count(), AlertDelivery.objects.count()) == (1, 1)


class TestWhatItSays:
    def test_counts_what_opened_what_was_resolved_and_how(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handlers, "_lags", [])
        opened(1, 4, at=NOW - dt.timedelta(days=3))
        opened(4, 9, at=NOW - dt.timedelta(hours=2))
        opened(9, 10, at=NOW - dt.timedelta(hours=2), code="22001")
        entities: dict[tuple[int, str], int | None] = {(p, TARGET): None for p in (1, 2)}
        items.settle_items(entities=entities, resolution=Resolution.AUTO, at=NOW - dt.timedelta(hours=1))
        Cause.objects.filter(code="22001").update(
            state="acknowledged", owner=f"user:{cast.sam.pk}", acknowledged_at=NOW, acknowledged_by="user:1"
        )
        run = retry_runs.plan(items=Intervention.objects.all(), title="profiles", by="user:1", at=NOW)
        retry_runs.switch(run_id=run.pk, action="start", by="user:1", at=NOW)
        handlers.register_lags(lambda: [Lag("x", "users is behind.", "", "/admin/targets/users/", NOW, 3)])
        made = digest.make_due(at=NOW)
        assert made is not None
        told = digest.told(made)
        assert [told[word] for word in ("opened", "resolved", "by_itself", "open", "more_causes")] == [6, 2, 2, 7, 0]
        first, second = told["causes"]
        assert (first["items"], first["people"], first["owner"], first["age"]) == (6, 6, "", "3 days")
        assert (second["items"], second["owner"]) == (1, cast.sam.full_name)
        assert [(r["title"], r["state"], r["total"]) for r in told["runs"]] == [
            ("profiles", "Trying the first ones", 7)
        ]
        message = messages.of_digest(made)
        for said in (message.text, message.html):
            assert "6 in therapist_profiles" in said or "6  therapist_profiles" in said
            assert cast.sam.full_name in said
            assert "/admin/interventions/intervention/?cause__exact=v1%3A" in said.replace("&#x27;", "'")
            assert "/admin/targets/users/" in said
            assert "/admin/notices/2026-11-22/" in said
        assert message.title == "[Keepwell] 7 interventions open, 6 new, 2 resolved"

    def test_lists_the_runs_of_the_day_with_their_numbers(self) -> None:
        people = therapists(3)
        with fakes.asleep():
            Profile.objects.filter(user__in=people[:2]).update(bio="Drifted.")
        mended = sync_runs.ask_for_repair(by="user:1", state=RunState.RUNNING)
        while repair.advance(mended.pk):
            pass
        undo = sync_runs.ask_for_undo(of=mended.pk, by="user:1")
        old = sync_runs.ask_for_repair(by="user:1", state=RunState.CANCELLED)
        at = timezone.now()
        Run.objects.filter(pk=old.pk).update(asked_at=at - dt.timedelta(days=2))
        # Asked for long ago, and ended today.
        Run.objects.filter(pk=mended.pk).update(asked_at=at - dt.timedelta(days=2))
        opened(1, 3)
        run = retry_runs.plan(items=Intervention.objects.all(), title="profiles", by="user:1", at=at)
        RetryRun.objects.filter(pk=run.pk).update(asked_at=at - dt.timedelta(days=2), state="done", finished_at=at)
        assert digest.make_due(at=at) is not None
        made = Digest.objects.get()
        told = digest.told(made)
        assert [(work["title"], work["state"], work["counts"]) for work in told["works"]] == [
            (str(undo), "Running", []),
            (str(mended), "Done", [["written", 2]]),
        ]
        assert [(r["title"], r["state"]) for r in told["runs"]] == [("profiles", "Done")]
        message = messages.of_digest(made)
        for said in (message.text, message.html):
            assert "Done: 2 written" in said
            assert f"{mended.pk}" in said
            assert f"{run.pk}" in said

    def test_holds_nobodys_name_on_record(self, cast: Cast) -> None:
        opened(cast.ada.pk, cast.ada.pk + 1, at=timezone.now())
        causes_of = Cause.objects.all()
        causes_of.update(
            state="acknowledged", owner=f"user:{cast.sam.pk}", acknowledged_at=NOW, acknowledged_by="user:1"
        )
        digest.make_due(at=timezone.now())
        (row,) = fakes.sql("SELECT content::text FROM intervention_digest")
        for somebody in (cast.ada, cast.sam):
            assert somebody.full_name not in row[0]
            assert somebody.email not in row[0]

    def test_says_that_it_could_not_be_read_what_is_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handlers, "_lags", [])
        handlers.register_lags(lambda: [Lag("x", "", "", "", NOW, 1) for _ in fakes.sql("SELECT FROM no_such_table")])
        made = digest.make_due(at=NOW)
        assert made is not None
        assert "It could not be read what is behind." in messages.of_digest(made).text
        assert "It could not be read what is behind." in messages.of_digest(made).html
