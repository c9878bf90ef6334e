"""When a target is left alone, and how it is taken up again: pure decisions over what its last calls found out."""

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum

from sync.backoff import BLOCKING, FailureClass


class Word(StrEnum):
    """What a breaker says."""

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True)
class Limits:
    """The thresholds, in calls, seconds and rows."""

    failures: int = 5
    window_seconds: int = 60
    window_calls: int = 20
    window_share: float = 0.5
    probe_seconds: float = 60
    probe_cap_seconds: float = 900
    # So much of a wait for the next probe is waited, drawn anew for each.
    probe_share: float = 1.0
    # Whoever asks for more is asked again after a day.
    throttled_cap_seconds: float = 86_400
    ramp_per_second: float = 5
    ramp_doubles_seconds: float = 5
    ramp_seconds: float = 120


@dataclass(frozen=True)
class Call:
    """
    What one batch found out about one target: for whom it answered, and for whom it failed in a way that is its own.

    A batch is one call however many people are in it: a lock that lasts a moment must not count a hundred times.
    """

    answered: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    retry_after: float | None = None
    code: str = ""
    error_object: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether it speaks against the target: at least half of those of whom anything can be said."""
        return bool(self.failed) and len(self.failed) >= len(self.answered)

    @property
    def lone(self) -> int | None:
        """The one person it failed for, where there is only one."""
        return next(iter(self.failed)) if len(self.failed) == 1 else None


@dataclass(frozen=True)
class State:
    """What is known of a target. The default is: all is well, and nothing needs to be remembered."""

    word: Word = Word.CLOSED
    since: dt.datetime | None = None
    # Failed calls in a row, failed probes among them; the last person who failed alone, whose failures after one another count once.
    failures: int = 0
    lone: int | None = None
    # (second, calls, failed calls) of the last minute, from the first failure on: what went well before is not noted.
    window: tuple[tuple[int, int, int], ...] = ()
    probe_at: dt.datetime | None = None
    probe_seconds: float = 0
    # Whose row is the probe under way.
    probe: int | None = None
    throttled_until: dt.datetime | None = None
    # Since when rows are pulled forward, and how many have been.
    ramp_since: dt.datetime | None = None
    ramp_taken: int = 0
    code: str = ""
    error_object: str = ""


def speaks(failure: FailureClass, *, is_about_target: bool) -> bool | None:
    """
    Tell what one person's failure says of the target: True: it is ill; False: it answered; None: nothing.

    A target that refuses a value or misses a row works. What concerns a single row, such as somebody's lock on it, or
    another table, says nothing.
    """
    if failure in BLOCKING:
        return False
    return True if is_about_target else None


def is_shut(state: State, at: dt.datetime) -> bool:
    """Whether nothing but the probe may be attempted."""
    return state.word is Word.OPEN or (state.throttled_until is not None and at < state.throttled_until)


def admits(state: State, person_id: int, at: dt.datetime) -> bool:
    """Whether this person's row may be attempted."""
    if not is_shut(state, at):
        return True
    return state.word is Word.OPEN and state.probe == person_id


def pull(state: State, at: dt.datetime, limits: Limits) -> int | None:
    """Tell how many parked rows may be pulled forward now. None: as many as there are; of an open target: its probe."""
    if state.word is Word.OPEN:
        return int(state.probe_at is not None and state.probe_at <= at)
    if is_shut(state, at):
        return 0
    if state.ramp_since is None:
        return None
    elapsed = (at - state.ramp_since).total_seconds()
    if elapsed >= limits.ramp_seconds:
        return None
    return max(0, int(ramped(elapsed, limits)) - state.ramp_taken)


def pulled(state: State, at: dt.datetime, rows: int, probe: int | None = None) -> State:
    """
    Note that rows were pulled forward; of an open target, whose row is the probe.

    The next probe is pushed ahead before this one is tried: a worker that dies over it needs nobody to notice.
    """
    if state.word is Word.OPEN:
        return replace(state, probe=probe, probe_at=at + dt.timedelta(seconds=state.probe_seconds))
    return replace(state, ramp_taken=state.ramp_taken + rows) if state.ramp_since is not None else state


def ramped(elapsed: float, limits: Limits) -> float:
    """Give how many rows a ramp lets through in its first `elapsed` seconds: its rate doubles step by step."""
    if elapsed <= 0:
        return 0.0
    step = limits.ramp_doubles_seconds
    whole = min(int(elapsed // step), 60)
    before = limits.ramp_per_second * step * (2.0**whole - 1)
    return before + limits.ramp_per_second * 2.0**whole * (elapsed - whole * step)


def note(state: State, call: Call, at: dt.datetime, limits: Limits) -> State:
    """
    Give the state after a call.

    While the breaker is open only its probe counts: a batch that began before it opened knows nothing new.
    """
    if state.word is Word.OPEN:
        return _probed(state, call, at, limits)
    if not call.answered and not call.failed:
        return state
    after = _counted(state, call, at, limits)
    if after.failures > state.failures and after.ramp_since is not None:
        # The rate doubles after clean seconds only: it begins anew.
        after = replace(after, ramp_since=at, ramp_taken=0)
    if call.retry_after is not None:
        until = at + dt.timedelta(seconds=_bounded(call.retry_after, limits))
        after = replace(after, throttled_until=max(until, state.throttled_until or until))
    if after.failures >= limits.failures or _is_half_failing(after.window, limits):
        failed = max(after.failures, sum(entry[2] for entry in after.window))
        return _opened(call, at, failed, limits.probe_seconds, limits)
    return after


def reset(state: State, at: dt.datetime, limits: Limits) -> State:
    """Forget how often it failed: an open breaker probes at once, and a closed one knows nothing bad."""
    if state.word is Word.OPEN:
        return replace(state, probe_at=at, probe_seconds=limits.probe_seconds, probe=None)
    return State(since=state.since, ramp_since=state.ramp_since, ramp_taken=state.ramp_taken)


def closed(at: dt.datetime) -> State:
    """Give the state of a target that works again: what is parked comes over a ramp."""
    return State(since=at, ramp_since=at)


def _probed(state: State, call: Call, at: dt.datetime, limits: Limits) -> State:
    if state.probe in call.answered:
        return closed(at)
    if state.probe not in call.failed:
        return state
    wait = min(state.probe_seconds * 2, limits.probe_cap_seconds)
    return replace(_opened(call, at, state.failures + 1, wait, limits), since=state.since)


def _opened(call: Call, at: dt.datetime, failures: int, wait: float, limits: Limits) -> State:
    asked = 0.0 if call.retry_after is None else _bounded(call.retry_after, limits)
    probe_at = at + dt.timedelta(seconds=max(wait * limits.probe_share, asked))
    return State(
        Word.OPEN,
        since=at,
        failures=failures,
        probe_at=probe_at,
        probe_seconds=wait,
        code=call.code,
        error_object=call.error_object,
    )


def _counted(state: State, call: Call, at: dt.datetime, limits: Limits) -> State:
    second = int(at.timestamp())
    window = tuple(entry for entry in state.window if entry[0] > second - limits.window_seconds)
    lone = state.lone if window or state.failures else None
    if call.has_failed:
        if call.lone is not None and call.lone == lone:
            return replace(state, window=window)
        return replace(
            state, failures=state.failures + 1, lone=lone if call.lone is None else call.lone,
            window=_with(window, second, failed=1), code=call.code, error_object=call.error_object,
        )  # fmt: skip
    while window and not window[0][2]:
        window = window[1:]
    if not window:
        return replace(state, failures=0, lone=None, window=(), code="", error_object="")
    return replace(state, failures=0, window=_with(window, second, failed=0))


def _with(window: tuple[tuple[int, int, int], ...], second: int, *, failed: int) -> tuple[tuple[int, int, int], ...]:
    """Add a call to the window, which has one entry a second at most and so is bounded."""
    if window and window[-1][0] == second:
        last = window[-1]
        return (*window[:-1], (second, last[1] + 1, last[2] + failed))
    return (*window, (second, 1, failed))


def _is_half_failing(window: tuple[tuple[int, int, int], ...], limits: Limits) -> bool:
    calls, failed = sum(entry[1] for entry in window), sum(entry[2] for entry in window)
    return calls >= limits.window_calls and failed >= calls * limits.window_share


def _bounded(retry_after: float, limits: Limits) -> float:
    return min(max(0.0, retry_after), limits.throttled_cap_seconds)
