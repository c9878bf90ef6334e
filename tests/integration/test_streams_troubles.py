"""P9: streams go on over killed processes and PostgreSQL, miss nothing, cost one connection, and end when they are asked to."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from interventions import events
from interventions.models import StreamEvent
from sync import realtime
from sync.vitals import engine
from tests import fakes
from tests.factories import Cast
from tests.streaming import Listen, StreamsProcess, edit, listening

OF_STREAMS = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s::int[])"
SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid()"
)


@pytest.fixture
def streams(transactional_db: None, tmp_path: Path) -> Iterator[StreamsProcess]:
    """The streams process."""
    process = StreamsProcess(tmp_path, settings={"STREAMS_CHECK_SECONDS": "1"})
    process.start()
    yield process
    process.stop()


@pytest.fixture
def listen(streams: StreamsProcess) -> Iterator[Listen]:
    """Open streams; each is closed at the end."""
    with listening(streams) as one:
        yield one


def test_a_stream_that_broke_off_goes_on_where_it_was_also_in_another_process(
    cast: Cast, streams: StreamsProcess, listen: Listen
) -> None:
    ada = listen(cast.ada)
    edit(cast.ada, "Heard.")
    ada.hears("profile.updated", cast.ada.pk)
    last = ada.last
    ada.close()
    edit(cast.ada, "Missed.")
    edit(cast.ben, "Somebody else's.")
    again = listen(cast.ada, **{"Last-Event-ID": last})
    again.hears("profile.updated", cast.ada.pk)
    assert again.topics == ["profile.updated"]
    streams.stop(signal.SIGKILL)
    again.ends()
    edit(cast.ada, "While nobody was there.")
    streams.start()
    other = listen(cast.ada, f"?last_event_id={again.last}")
    other.hears("profile.updated", cast.ada.pk)
    assert other.topics == ["profile.updated"], "nothing missed, and nothing twice"
    assert listen(cast.ada, **{"Last-Event-ID": "1"}).topics in (["resync"], [])
    assert "resync" in listen(cast.ada, **{"Last-Event-ID": "999999999"}).topics


def test_postgresql_that_ends_every_session_is_come_back_to(
    cast: Cast, streams: StreamsProcess, listen: Listen
) -> None:
    ada = listen(cast.ada)
    before = {pid for (pid,) in fakes.sql(SESSIONS)}
    fakes.sql(f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS}) AS s")
    edit(cast.ada)
    ada.hears("profile.updated", cast.ada.pk)
    assert not ada.is_over, "whoever is connected notices nothing"
    after = {pid for (pid,) in fakes.sql(SESSIONS)}
    assert len(after) == 1
    assert not after & before
    assert "streams.reader.away" in streams.log


def test_any_number_of_streams_costs_one_session(cast: Cast, streams: StreamsProcess, listen: Listen) -> None:
    opened = [listen(cast.ada) for _ in range(15)]
    edit(cast.ada)
    for stream in opened:
        stream.hears("profile.updated", cast.ada.pk)
    assert len(fakes.sql(SESSIONS)) == 1


def test_how_many_are_open_is_told_by_those_who_are_at_it(cast: Cast, streams: StreamsProcess, listen: Listen) -> None:
    for _ in range(3):
        listen(cast.ada)
    fakes.wait_until(lambda: engine.signs().figures["streams"] == 3, what="Three streams")
    assert engine.signs().figures["alive"]["streams"] == 1
    streams.stop(signal.SIGTERM)
    assert not fakes.sql("SELECT FROM sync_pulse WHERE role = 'streams'"), "who ends in order takes the sign along"
    streams.start()
    fakes.wait_until(lambda: "streams" in engine.signs().figures["alive"], what="A sign")
    streams.stop(signal.SIGKILL)
    fakes.sql("UPDATE sync_pulse SET at = at - interval '1 hour' WHERE role = 'streams'")
    found = engine.signs()
    assert (found.figures["streams"], found.figures["alive"]["streams"]) == (0, 0)
    assert "no streams process is at work" in found.says


@pytest.mark.parametrize("point", ["sync.look.before_commit", "sync.look.after_commit"])
def test_a_process_that_is_killed_while_it_looks_tells_of_each_write_once(
    cast: Cast, streams: StreamsProcess, point: str, tmp_path: Path
) -> None:
    orders = tmp_path / "orders.json"
    orders.write_text("{}")
    streams.stop()
    streams.start(ALLOW_FAILPOINTS="1", FAILPOINTS_FILE=str(orders))
    with listening(streams) as listen:
        ada = listen(cast.ada)
        orders.write_text(json.dumps({point: "kill"}))
        edit(cast.ada)
        ada.ends()
        streams.stop(signal.SIGKILL)
        streams.start()
        again = listen(cast.ada, **{"Last-Event-ID": ada.last})
        again.hears("profile.updated", cast.ada.pk)
        assert StreamEvent.objects.filter(topic="profile.updated").count() == 1


def test_it_ends_within_its_time_though_streams_are_open(cast: Cast, streams: StreamsProcess, listen: Listen) -> None:
    opened = [listen(cast.ada), listen(cast.vic)]
    began = time.monotonic()
    assert streams.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 5
    for stream in opened:
        stream.ends(seconds=1)
    assert "Traceback" not in streams.log
    assert "Cancel" not in streams.log


class TestWhatIsKept:
    def test_is_bounded_by_age_and_number(
        self, transactional_db: None, settings: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "MOST_KEPT", 3)
        for number in range(5):
            events.announce("run.updated", [number])
        events.prune(at=timezone.now())
        assert list(StreamEvent.objects.order_by("pk").values_list("subject", flat=True)) == ["2", "3", "4"]
        StreamEvent.objects.update(at="2020-01-01T00:00Z")
        events.prune(at=timezone.now())
        assert not StreamEvent.objects.exists()

    def test_an_announcement_never_fails_or_holds_up_whoever_makes_it(
        self, transactional_db: None, second_connection: Callable[..., fakes.Connection]
    ) -> None:
        busy = second_connection()
        busy.execute("BEGIN")
        busy.execute(f"SELECT pg_advisory_xact_lock({events._TURN})")
        began = time.monotonic()
        events.announce("run.updated", ["one"])
        assert time.monotonic() - began < 2
        busy.execute("ROLLBACK")
        assert not StreamEvent.objects.exists()
        events.announce_people("copies.updated", range(events.MOST_AT_ONCE + 1))
        assert list(StreamEvent.objects.values_list("subject", "people")) == [(None, None)]

    def test_a_look_costs_two_statements_while_nothing_is_written(
        self, cast: Cast, django_assert_num_queries: Callable[[int], object]
    ) -> None:
        for _ in range(3):
            realtime.look()
        with django_assert_num_queries(2):  # type: ignore[attr-defined]
            realtime.look()
