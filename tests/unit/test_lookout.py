"""A lookout answers in time whatever it looks at, and begins no round for each who asks."""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from sync import lookout
from sync.lookout import Lookout

Note = Callable[[str, int], None]
WAIT = 0.5


class Frozen:
    """Something to look at that answers once, and then nobody until it is let go."""

    def __init__(self) -> None:
        self.rounds = 0
        self.noted, self.thaw = threading.Event(), threading.Event()

    def look(self, note: Note) -> None:
        self.rounds += 1
        note("quick", self.rounds)
        self.noted.set()
        assert self.thaw.wait(10)
        note("frozen", self.rounds)


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    found = Frozen()
    yield found
    found.thaw.set()


def test_p9_who_asks_waits_no_longer_than_they_want_and_gets_what_is_there(frozen: Frozen) -> None:
    one = Lookout("test", frozen.look)
    first = one.look()
    assert frozen.noted.wait(10)
    assert first.found(wait=WAIT) == {"quick": 1}
    assert one.look().found(wait=WAIT) == {"quick": 1}
    assert frozen.rounds == 1, "whoever asks meanwhile waits for the same round"
    frozen.thaw.set()
    assert one.look().found(wait=30) == {"quick": 1, "frozen": 1}


def test_what_a_round_that_hangs_once_read_is_not_known_for_ever(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Lookout("test", frozen.look).look()
    assert frozen.noted.wait(10)
    assert one.found(wait=WAIT) == {"quick": 1}
    monkeypatch.setattr(lookout, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 60))
    assert one.found(wait=WAIT) == {}


def test_p9_beside_a_round_that_hangs_for_good_one_more_is_begun_and_no_third(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Lookout("test", frozen.look)
    one.look().found(wait=WAIT)
    monkeypatch.setattr(lookout, "HANGS_SECONDS", 0)
    for _ in range(5):
        one.look().found(wait=WAIT)
    assert frozen.rounds == 2


def test_what_was_read_is_kept_for_those_who_do_not_need_it_newer() -> None:
    numbers = iter(range(10))
    one = Lookout[int]("test", lambda note: note("number", next(numbers)))
    assert [one.look(kept=60).found(wait=30) for _ in range(2)] == [{"number": 0}] * 2
    assert one.look().found(wait=30) == {"number": 1}
