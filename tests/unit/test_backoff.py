"""When to try again and who is told: every class of failure at every boundary."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import backoff
from sync.backoff import BLOCKING, FailureClass, Limits, Urgency, Verdict, classify, decide

LIMITS = Limits(base_seconds=5, cap_seconds=3600, urgent_cap_seconds=900, item_after_attempts=5, item_after_seconds=900)
# What each class is called by: every listed code, and one of each open family.
CODES: dict[FailureClass, list[str]] = {
    FailureClass.TRANSIENT: [*sorted(backoff.TRANSIENT_CODES), "08000", "08006", "08P01", "500", "502", "503", "504"],
    FailureClass.REFUSED: [
        *sorted(backoff.REFUSED_CODES), "22001", "22P02", "23502", "23503", "23505", "23514", "23P01", "400", "401",
        "403", "404", "409", "410", "422",
    ],
    FailureClass.IDENTITY: sorted(backoff.IDENTITY_CODES),
    FailureClass.MISCONFIGURED: sorted(backoff.MISCONFIGURED_CODES),
    FailureClass.UNKNOWN: ["", "XX000", "XX001", "P0001", "0A000", "58030", "42601", "302", "200", "4x4", "50000", "KW999"],
}  # fmt: skip
BEFORE, AT, AFTER = 899.0, 900.0, 901.0


def verdict(
    code: str, *, attempts: int = 1, owed_seconds: float = 0, urgency: Urgency = Urgency.NORMAL,
    retry_after: float | None = None,
) -> Verdict:  # fmt: skip
    """Decide with the longest delay that jitter allows."""
    return decide(
        code=code, attempts=attempts, owed_seconds=owed_seconds, urgency=urgency, limits=LIMITS,
        uniform=lambda low, high: high, retry_after=retry_after,
    )  # fmt: skip


@pytest.mark.parametrize(("found", "code"), [(found, code) for found, codes in CODES.items() for code in codes])
def test_a_code_has_its_class(found: FailureClass, code: str) -> None:
    assert classify(code) is found


def test_every_class_is_in_the_table() -> None:
    assert {*CODES, FailureClass.THROTTLED} == set(FailureClass)


@pytest.mark.parametrize("code", ["429", "503"])
def test_a_refusal_for_now_is_throttled_where_it_says_until_when(code: str) -> None:
    assert classify(code, retry_after=0) is FailureClass.THROTTLED
    assert classify(code, retry_after=30) is FailureClass.THROTTLED
    assert classify(code) is FailureClass.TRANSIENT


@pytest.mark.parametrize("code", ["500", "404", "55P03", "23514", ""])
def test_a_retry_after_makes_nothing_else_throttled(code: str) -> None:
    assert classify(code, retry_after=30) is classify(code)


class TestBlockedAtOnce:
    @pytest.mark.parametrize("code", [code for found in sorted(BLOCKING) for code in CODES[found]])
    def test_asking_again_does_not_help(self, code: str) -> None:
        for attempts, owed_seconds, urgency in product([1, 4, 5, 6, 1000], [0, BEFORE, AT, AFTER], Urgency):
            found = verdict(code, attempts=attempts, owed_seconds=owed_seconds, urgency=urgency)
            assert found == Verdict(delay_seconds=None, opens_item=True), (attempts, owed_seconds, urgency)


class TestTransient:
    BOUNDS = (5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600)
    URGENT = (5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900)

    @pytest.mark.parametrize("code", CODES[FailureClass.TRANSIENT])
    def test_the_bound_doubles_up_to_the_cap_whatever_the_code(self, code: str) -> None:
        assert tuple(verdict(code, attempts=n).delay_seconds for n in range(1, 13)) == self.BOUNDS
        urgent = (verdict(code, attempts=n, urgency=Urgency.URGENT).delay_seconds for n in range(1, 13))
        assert tuple(urgent) == self.URGENT

    @pytest.mark.parametrize("attempts", [31, 32, 1_000, 10**9])
    def test_no_number_of_tries_is_too_large(self, attempts: int) -> None:
        assert verdict("55P03", attempts=attempts).delay_seconds == 3600

    @pytest.mark.parametrize(
        ("attempts", "owed_seconds", "opens"),
        [(n, s, n >= 5 or s >= AT) for n in (1, 2, 4, 5, 6) for s in (0, BEFORE, AT, AFTER)],
    )
    def test_somebody_is_told_after_five_tries_or_a_quarter_of_an_hour(
        self, attempts: int, owed_seconds: float, opens: bool
    ) -> None:
        assert verdict("55P03", attempts=attempts, owed_seconds=owed_seconds).opens_item is opens

    @given(st.integers(1, 10**6), st.floats(0, 10**9), st.sampled_from(Urgency))
    def test_p7_never_drops_a_transient_failure(self, attempts: int, owed_seconds: float, urgency: Urgency) -> None:
        found = verdict("55P03", attempts=attempts, owed_seconds=owed_seconds, urgency=urgency)
        assert found.delay_seconds is not None
        assert 0 <= found.delay_seconds <= LIMITS.cap_seconds
        assert found.counts

    def test_the_jitter_spreads_from_zero(self) -> None:
        bounds: list[tuple[float, float]] = []

        def lowest(low: float, high: float) -> float:
            bounds.append((low, high))
            return low

        found = decide(
            code="55P03", attempts=3, owed_seconds=0, urgency=Urgency.NORMAL, limits=LIMITS, uniform=lowest
        )  # fmt: skip
        assert (found.delay_seconds, bounds) == (0, [(0.0, 20.0)])


class TestUnknown:
    @pytest.mark.parametrize("code", CODES[FailureClass.UNKNOWN])
    @pytest.mark.parametrize("attempts", [1, 2, 3, 4])
    def test_is_transient_four_times(self, code: str, attempts: int) -> None:
        assert verdict(code, attempts=attempts) == verdict("55P03", attempts=attempts)

    @pytest.mark.parametrize("code", CODES[FailureClass.UNKNOWN])
    @pytest.mark.parametrize("attempts", [5, 6, 100])
    def test_is_blocked_from_the_fifth_on(self, code: str, attempts: int) -> None:
        assert verdict(code, attempts=attempts) == Verdict(delay_seconds=None, opens_item=True)


class TestThrottled:
    @pytest.mark.parametrize("code", sorted(backoff.THROTTLED_CODES))
    @pytest.mark.parametrize(("asked", "waits"), [(0, 0), (0.5, 0.5), (30, 30), (3601, 3601), (-5, 0)])
    def test_waits_as_long_as_asked_and_counts_no_attempt(self, code: str, asked: float, waits: float) -> None:
        for attempts, urgency in product([1, 4, 5, 1000], Urgency):
            found = verdict(code, attempts=attempts, retry_after=asked, urgency=urgency)
            assert found == Verdict(delay_seconds=waits, opens_item=False, counts=False), (attempts, urgency)

    @pytest.mark.parametrize(("owed_seconds", "opens"), [(0, False), (BEFORE, False), (AT, True), (AFTER, True)])
    def test_somebody_is_told_after_a_quarter_of_an_hour(self, owed_seconds: float, opens: bool) -> None:
        assert verdict("429", retry_after=1, owed_seconds=owed_seconds).opens_item is opens
