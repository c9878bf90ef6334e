"""When a target is left alone and how it is taken up again: every threshold from both sides."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import breaker
from sync.backoff import FailureClass
from sync.breaker import Call, Limits, State, Word

LIMITS = Limits()
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
GOOD = Call(answered=frozenset({1}))


def after(seconds: float) -> dt.datetime:
    """Give a moment so long after noon."""
    return NOON + dt.timedelta(seconds=seconds)


def bad(*people: int, answered: Iterable[int] = (), retry_after: float | None = None) -> Call:
    """Give a call that failed for these people."""
    return Call(frozenset(answered), frozenset(people), retry_after, code="55P03", error_object="profiles")


def noted(calls: Iterable[tuple[float, Call]], state: State | None = None) -> State:
    """Give the state after calls, each at its second."""
    found = state or State()
    for second, call in calls:
        found = breaker.note(found, call, after(second), LIMITS)
    return found


def several(number: int, *, first: int = 0) -> list[tuple[float, Call]]:
    """Give so many failed calls, of another person each, in the same second."""
    return [(0, bad(first + person)) for person in range(1, number + 1)]


OPENED = noted(several(5))


class TestWhatAFailureSays:
    @pytest.mark.parametrize("failure", list(FailureClass))
    @pytest.mark.parametrize("is_about_target", [True, False])
    def test_by_class(self, failure: FailureClass, is_about_target: bool) -> None:
        answers = {FailureClass.REFUSED, FailureClass.IDENTITY, FailureClass.MISCONFIGURED}
        expected = False if failure in answers else (True if is_about_target else None)
        assert breaker.speaks(failure, is_about_target=is_about_target) is expected

    @pytest.mark.parametrize(
        ("answered", "failed", "speaks_against"),
        [(0, 0, False), (1, 0, False), (0, 1, True), (1, 1, True), (2, 1, False), (250, 250, True), (251, 250, False)],
    )
    def test_half_of_a_batch(self, answered: int, failed: int, speaks_against: bool) -> None:
        assert bad(*range(failed), answered=range(1000, 1000 + answered)).has_failed is speaks_against


class TestOpening:
    @pytest.mark.parametrize(("number", "word"), [(1, Word.CLOSED), (4, Word.CLOSED), (5, Word.OPEN), (6, Word.OPEN)])
    def test_after_five_failed_calls_in_a_row(self, number: int, word: Word) -> None:
        assert noted(several(number)).word is word

    def test_says_since_when_why_and_when_it_is_tried_next(self) -> None:
        assert (OPENED.since, OPENED.code, OPENED.error_object) == (NOON, "55P03", "profiles")
        assert (OPENED.probe_at, OPENED.probe_seconds, OPENED.probe) == (after(60), 60, None)

    def test_one_batch_is_one_call_however_many_people_it_holds(self) -> None:
        assert noted([(0, bad(*range(1, 501)))]).failures == 1

    def test_calls_of_many_people_count_each_time(self) -> None:
        assert noted([(n, bad(1, 2)) for n in range(5)]).word is Word.OPEN

    def test_one_that_goes_well_begins_the_row_anew(self) -> None:
        found = noted([*several(4), (1, GOOD), *several(4, first=10)])
        assert (found.word, found.failures) == (Word.CLOSED, 4)

    def test_hours_between_failures_do_not_make_them_less_of_a_row(self) -> None:
        assert noted([(n * 3600, bad(n)) for n in range(1, 6)]).word is Word.OPEN

    def test_what_says_nothing_changes_nothing(self) -> None:
        found = noted(several(4))
        assert breaker.note(found, Call(), after(1), LIMITS) == found
        assert breaker.note(State(), Call(), NOON, LIMITS) == State()

    def test_nothing_is_remembered_while_all_is_well(self) -> None:
        assert noted([(n, GOOD) for n in range(100)]) == State()


class TestTheWindow:
    def half(self, pairs: int, *, seconds: float = 1) -> list[tuple[float, Call]]:
        return [entry for n in range(pairs) for entry in ((n * seconds, bad(n + 1)), (n * seconds, GOOD))]

    @pytest.mark.parametrize(("pairs", "word"), [(9, Word.CLOSED), (10, Word.OPEN)])
    def test_half_of_twenty(self, pairs: int, word: Word) -> None:
        assert noted(self.half(pairs)).word is word

    def test_less_than_half_is_borne(self) -> None:
        calls = [entry for n in range(200) for entry in ((n / 10, bad(n + 1)), (n / 10, GOOD), (n / 10, GOOD))]
        assert noted(calls).word is Word.CLOSED

    @pytest.mark.parametrize(("seconds", "word"), [(6.0, Word.OPEN), (6.7, Word.CLOSED)])
    def test_within_a_minute(self, seconds: float, word: Word) -> None:
        assert noted(self.half(10, seconds=seconds)).word is word

    def test_is_forgotten_once_a_minute_has_gone_well(self) -> None:
        assert noted([(0, bad(1)), (59, GOOD)]).window != ()
        assert noted([(0, bad(1)), (60, GOOD)]) == State()

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=400))
    def test_p9_holds_an_entry_a_second_at_most(self, steps: list[tuple[int, int]]) -> None:
        state, second = State(), 0
        for step, failed in steps:
            second += step
            state = breaker.note(state, bad(failed) if failed else GOOD, after(second / 10), LIMITS)
            assert len(state.window) <= LIMITS.window_seconds


class TestOnePerson:
    def test_p3_one_persons_poison_never_opens_it(self) -> None:
        found = noted([(n, bad(7)) for n in range(1000)])
        assert (found.word, found.failures) == (Word.CLOSED, 1)

    def test_p3_one_persons_poison_among_good_calls_never_opens_it(self) -> None:
        calls = [entry for n in range(500) for entry in ((n / 10, bad(7)), (n / 10, GOOD))]
        assert noted(calls).word is Word.CLOSED

    def test_p3_one_persons_poison_does_not_slow_a_ramp(self) -> None:
        ramping = noted([(1, bad(7))], breaker.closed(NOON))
        assert noted([(n, bad(7)) for n in range(2, 60)], ramping).ramp_since == after(1)

    def test_two_people_in_turn_are_several(self) -> None:
        assert noted([(n, bad(n % 2 + 1)) for n in range(4)]).word is Word.CLOSED
        assert noted([(n, bad(n % 2 + 1)) for n in range(5)]).word is Word.OPEN


class TestProbing:
    @pytest.mark.parametrize(("second", "rows"), [(59.9, 0), (60, 1), (61, 1)])
    def test_one_row_after_a_minute(self, second: float, rows: int) -> None:
        assert breaker.pull(OPENED, after(second), LIMITS) == rows

    def test_pushes_the_next_one_ahead_before_it_begins(self) -> None:
        found = breaker.pulled(OPENED, after(60), 1, probe=7)
        assert (found.probe, found.probe_at) == (7, after(120))
        assert breaker.pull(found, after(60), LIMITS) == 0

    def test_admits_the_probe_alone(self) -> None:
        found = breaker.pulled(OPENED, after(60), 1, probe=7)
        assert breaker.admits(found, 7, after(60))
        assert not breaker.admits(found, 8, after(60))
        assert not breaker.admits(OPENED, 7, after(60))
        assert breaker.admits(State(), 8, after(60))

    def test_a_failed_one_doubles_the_wait_up_to_a_quarter_of_an_hour(self) -> None:
        state, second, waits = OPENED, 60.0, []
        for person in range(1, 8):
            state = breaker.note(
                breaker.pulled(state, after(second), 1, probe=person), bad(person), after(second), LIMITS
            )
            assert (state.word, state.since, state.probe) == (Word.OPEN, NOON, None)
            assert state.probe_at is not None
            waits.append((state.probe_at - after(second)).total_seconds())
            second += waits[-1]
        assert waits == [120, 240, 480, 900, 900, 900, 900]
        assert state.failures == 5 + 7

    @pytest.mark.parametrize("call", [Call(frozenset({7})), Call(frozenset({7}), frozenset({8, 9}))])
    def test_one_that_is_answered_closes_it(self, call: Call) -> None:
        found = breaker.note(breaker.pulled(OPENED, after(60), 1, probe=7), call, after(60), LIMITS)
        assert found == breaker.closed(after(60))

    @pytest.mark.parametrize("call", [Call(), GOOD, bad(1)])
    def test_whatever_is_not_the_probe_says_nothing(self, call: Call) -> None:
        found = breaker.pulled(OPENED, after(60), 1, probe=7)
        assert breaker.note(found, call, after(60), LIMITS) == found

    @pytest.mark.parametrize("call", [GOOD, bad(1)])
    def test_what_began_before_it_opened_says_nothing(self, call: Call) -> None:
        assert breaker.note(OPENED, call, after(1), LIMITS) == OPENED

    def test_a_reset_probes_at_once_and_forgets_the_doubled_wait(self) -> None:
        waited = replace(OPENED, probe_seconds=900, probe_at=after(900))
        found = breaker.reset(waited, after(100), LIMITS)
        assert breaker.pull(found, after(100), LIMITS) == 1
        assert (found.word, found.since, found.probe_seconds) == (Word.OPEN, NOON, 60)

    def test_a_reset_of_a_closed_one_forgets_what_was_counted(self) -> None:
        assert breaker.reset(noted(several(4)), NOON, LIMITS) == State()


class TestTheRamp:
    @pytest.mark.parametrize(
        ("seconds", "rows"),
        [(-1, 0), (0, 0), (0.2, 1), (1, 5), (5, 25), (6, 35), (10, 75), (20, 375), (30, 1_575), (60, 102_375)],
    )
    def test_begins_at_five_a_second_and_doubles_every_five(self, seconds: float, rows: int) -> None:
        assert breaker.ramped(seconds, LIMITS) == pytest.approx(rows)
        assert breaker.pull(breaker.closed(NOON), after(seconds), LIMITS) == rows

    @given(st.floats(0, 10**6), st.floats(0, 100))
    def test_never_takes_back(self, seconds: float, more: float) -> None:
        assert breaker.ramped(seconds, LIMITS) <= breaker.ramped(seconds + more, LIMITS)

    def test_counts_what_was_taken(self) -> None:
        state = breaker.pulled(breaker.closed(NOON), after(1), 5)
        assert breaker.pull(state, after(1), LIMITS) == 0
        assert breaker.pull(state, after(2), LIMITS) == 5

    @pytest.mark.parametrize(("seconds", "bounded"), [(119.9, True), (120, False), (10**9, False)])
    def test_ends(self, seconds: float, bounded: bool) -> None:
        assert (breaker.pull(breaker.closed(NOON), after(seconds), LIMITS) is not None) is bounded

    def test_a_failure_begins_it_anew(self) -> None:
        state = breaker.pulled(breaker.closed(NOON), after(30), 350)
        found = breaker.note(state, bad(1, 2), after(30), LIMITS)
        assert (found.word, found.ramp_since, found.ramp_taken) == (Word.CLOSED, after(30), 0)
        assert breaker.pull(found, after(31), LIMITS) == 5

    def test_goes_on_while_calls_go_well(self) -> None:
        state = breaker.pulled(breaker.closed(NOON), after(30), 350)
        assert noted([(31, GOOD)], state) == state

    def test_is_none_for_a_target_that_never_failed(self) -> None:
        assert breaker.pull(State(), NOON, LIMITS) is None
        assert breaker.pulled(State(), NOON, 500) == State()


class TestThrottled:
    @pytest.mark.parametrize(("second", "shut"), [(0, True), (29.9, True), (30, False)])
    def test_the_lane_is_shut_as_long_as_was_asked(self, second: float, shut: bool) -> None:
        state = noted([(0, bad(1, retry_after=30))])
        assert breaker.is_shut(state, after(second)) is shut
        assert breaker.admits(state, 1, after(second)) is not shut
        assert breaker.pull(state, after(second), LIMITS) == (0 if shut else None)

    @pytest.mark.parametrize(("asked", "seconds"), [(-5, 0), (0, 0), (3601, 3601), (10**9, 86_400)])
    def test_within_reason(self, asked: float, seconds: float) -> None:
        assert noted([(0, bad(1, retry_after=asked))]).throttled_until == after(seconds)

    def test_a_shorter_wish_does_not_shorten_a_longer_one(self) -> None:
        state = noted([(0, bad(1, retry_after=300)), (1, bad(2, retry_after=1))])
        assert state.throttled_until == after(300)

    def test_five_in_a_row_open_it_and_the_probe_waits_as_long_as_was_asked(self) -> None:
        state = noted([(n, bad(n + 1, retry_after=300)) for n in range(5)])
        assert (state.word, state.probe_at) == (Word.OPEN, after(304))
