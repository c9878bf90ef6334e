"""What a stream is sent: its own, what its filter takes, what it missed; never more than is good for it."""

import json
from typing import Any

import pytest

from config.streams import hub as hubs
from config.streams.hub import Filter, Hub, Stream
from interventions.events import Event
from therapists.accounts.callers import Caller
from therapists.topics import PERMISSIONS

ADA, BEN = Caller(1, frozenset()), Caller(2, frozenset())
VIC = Caller(3, PERMISSIONS)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hub() -> Hub:
    found = Hub(Clock())
    found.begin([own(10, 1)], 10)
    return found


def own(number: int, person: int, topic: str = "profile.updated") -> Event:
    return Event(number, topic, str(person), frozenset({person}), number)


def opened(hub: Hub, caller: Caller, since: int | None = None, wanted: Filter | None = None) -> Stream:
    stream = Stream(f"key-{caller.person_id}", caller, wanted or Filter(), hub.clock(), hub.clock() + 1000)
    hub.join(stream, since)
    return stream


def sent(stream: Stream) -> list[Any]:
    """Give what waits, as topic and event's id, and forget it."""
    found = []
    for frame in stream.waiting:
        words = dict(line.split(": ", 1) for line in frame.decode().strip().splitlines())
        found.append((json.loads(words["data"])["topic"].removesuffix(".updated"), int(words["id"])))
    stream.waiting.clear()
    return found


class TestWhoHears:
    def test_everybody_their_own_and_staff_what_they_may(self, hub: Hub) -> None:
        ada, ben, vic = (opened(hub, caller) for caller in (ADA, BEN, VIC))
        hub.tell([own(11, 1), Event(12, "cause.updated", "x", None, 1), Event(13, "copies.updated", None, None, 13)])
        assert sent(ada) == [("ready", 10), ("profile", 11), ("copies", 13)]
        assert sent(ben) == [("ready", 10), ("copies", 13)]
        assert sent(vic) == [("ready", 10), ("profile", 11), ("cause", 12), ("copies", 13)]

    def test_what_the_filter_takes(self, hub: Hub) -> None:
        of_ben, avatars = Filter(person_id=2), Filter(topics=frozenset({"avatar.updated"}))
        one, two = opened(hub, VIC, wanted=of_ben), opened(hub, VIC, wanted=avatars)
        three = opened(hub, VIC, wanted=Filter(subject="17"))
        hub.tell(
            [
                own(11, 1),
                own(12, 2),
                own(13, 1, "avatar.updated"),
                own(14, 17),
                Event(15, "cause.updated", "x", None, 1),
            ]
        )
        assert [sent(stream)[1:] for stream in (one, two, three)] == [
            [("profile", 12)],
            [("avatar", 13)],
            [("profile", 14)],
        ]


class TestReplay:
    def test_goes_on_after_the_event_that_was_heard_last(self, hub: Hub) -> None:
        hub.tell([own(11, 1), own(12, 2), own(15, 1)])
        assert sent(opened(hub, ADA, since=10)) == [("ready", 10), ("profile", 11), ("profile", 15)]
        assert sent(opened(hub, ADA, since=12)) == [("ready", 12), ("profile", 15)]
        assert sent(opened(hub, ADA, since=15)) == [("ready", 15)]

    def test_tells_to_look_where_it_is_not_known_what_was_missed(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hubs, "MOST_REPLAYED", 3)
        hub.tell([own(number, 1) for number in range(11, 20)])
        for since in (-1, 9, 20, 12):
            assert sent(opened(hub, ADA, since=since)) == [("ready", 19), ("resync", 19)], since
        assert len(sent(opened(hub, ADA, since=16))) == 4

    def test_forgets_what_is_long_ago(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hubs, "REMEMBERED", 4)
        hub = Hub(Clock())
        hub.begin([], 10)
        hub.tell([own(number, 1) for number in range(11, 21)])
        assert sent(opened(hub, ADA, since=15)) == [("ready", 20), ("resync", 20)]
        assert sent(opened(hub, ADA, since=16)) == [("ready", 16), *(("profile", n) for n in range(17, 21))]


class TestAfterAnOutage:
    def test_nobody_is_disturbed_where_the_record_goes_on(self, hub: Hub) -> None:
        ada = opened(hub, ADA)
        hub.begin([own(10, 1), own(11, 1)], 12)
        hub.begin([own(10, 1), own(11, 1)], 12)
        assert sent(ada) == [("ready", 10), ("profile", 11)]

    @pytest.mark.parametrize(("events", "newest"), [([], 5), ([own(3, 1)], 3), ([own(90, 1)], 90), ([], 90)])
    def test_everybody_looks_where_it_is_another_one(self, hub: Hub, events: list[Event], newest: int) -> None:
        ada = opened(hub, ADA)
        hub.begin(events, newest)
        assert sent(ada) == [("ready", 10), ("resync", newest)]
        assert hub.last == newest


class TestBounds:
    def test_who_reads_slowly_is_told_to_look(self, hub: Hub) -> None:
        ada, most = opened(hub, ADA), hubs.MOST_WAITING
        hub.tell([own(number, 1) for number in range(11, 11 + most * 3)])
        assert len(ada.waiting) <= most
        assert sent(ada)[0][0] == "resync"

    def test_a_permission_that_nobody_could_read_counts_no_more(self, hub: Hub) -> None:
        ada, ben = opened(hub, ADA), opened(hub, BEN)
        hub.clock.now += 20  # type: ignore[attr-defined]
        hub.check(["key-1"], {"key-1": ADA}, hub.clock())
        hub.clock.now += 20  # type: ignore[attr-defined]
        hub.end_unchecked(30)
        assert (ada.is_over, ben.is_over) == (False, True)

    def test_an_answer_counts_from_when_it_was_asked_for(self, hub: Hub) -> None:
        ada, asked_at = opened(hub, ADA), hub.clock()
        hub.clock.now += 31  # type: ignore[attr-defined]
        hub.check(["key-1"], {"key-1": ADA}, asked_at)
        hub.end_unchecked(30)
        assert ada.is_over

    def test_an_end_leaves_nothing_behind(self, hub: Hub) -> None:
        ada = opened(hub, ADA)
        hub.leave(ada)
        assert not hub.streams
        assert not hub.of_person
