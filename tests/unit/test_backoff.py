"""When to try again and who is told, for every class of failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.backoff import FailureClass, Limits, Urgency, Verdict, classify, decide

LIMITS = Limits(base_seconds=5, cap_seconds=3600, urgent_cap_seconds=900, item_after_attempts=5, item_after_seconds=900)


def verdict(code: str, *, attempts: int = 1, owed_seconds: float = 0, urgency: Urgency = Urgency.NORMAL) -> Verdict:
    """Decide with the longest delay that jitter allows."""
    return decide(
        code=code, attempts=attempts, owed_seconds=owed_seconds, urgency=urgency, limits=LIMITS,
        uniform=lambda low, high: high,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("40001", FailureClass.TRANSIENT),
        ("40P01", FailureClass.TRANSIENT),
        ("55P03", FailureClass.TRANSIENT),
        ("57014", FailureClass.TRANSIENT),
        ("08006", FailureClass.TRANSIENT),
        ("22001", FailureClass.REFUSED),
        ("23514", FailureClass.REFUSED),
        ("KW001", FailureClass.REFUSED),
        ("KW002", FailureClass.REFUSED),
        ("KW004", FailureClass.MISCONFIGURED),
        ("P0002", FailureClass.IDENTITY),
        ("P0003", FailureClass.IDENTITY),
        ("42703", FailureClass.MISCONFIGURED),
        ("42P01", FailureClass.MISCONFIGURED),
        ("42501", FailureClass.MISCONFIGURED),
        ("XX000", FailureClass.UNKNOWN),
        ("", FailureClass.UNKNOWN),
    ],
)
def test_a_code_has_its_class(code: str, found: FailureClass) -> None:
    assert classify(code) is found


class TestDecide:
    @pytest.mark.parametrize("code", ["23514", "P0002", "42703"])
    def test_blocks_and_tells_at_once_what_asking_again_will_not_mend(self, code: str) -> None:
        assert verdict(code) == Verdict(delay_seconds=None, opens_item=True)

    def test_doubles_the_bound_up_to_the_cap(self) -> None:
        bounds = [verdict("55P03", attempts=n).delay_seconds for n in range(1, 13)]
        assert bounds == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]

    def test_caps_an_urgent_fact_at_a_quarter_of_an_hour(self) -> None:
        assert verdict("55P03", attempts=30, urgency=Urgency.URGENT).delay_seconds == 900

    def test_tells_nobody_of_the_first_four_tries(self) -> None:
        assert [verdict("55P03", attempts=n).opens_item for n in (1, 4, 5)] == [False, False, True]

    def test_tells_after_a_quarter_of_an_hour_whatever_the_tries(self) -> None:
        assert [verdict("55P03", owed_seconds=s).opens_item for s in (899, 900)] == [False, True]

    def test_blocks_the_unknown_after_five_tries(self) -> None:
        assert verdict("XX000", attempts=4).delay_seconds is not None
        assert verdict("XX000", attempts=5) == Verdict(delay_seconds=None, opens_item=True)

    @given(st.integers(1, 10**6), st.floats(0, 10**9), st.sampled_from(Urgency))
    def test_p7_never_drops_a_transient_failure(self, attempts: int, owed_seconds: float, urgency: Urgency) -> None:
        found = verdict("55P03", attempts=attempts, owed_seconds=owed_seconds, urgency=urgency)
        assert found.delay_seconds is not None
        assert 0 <= found.delay_seconds <= LIMITS.cap_seconds

    def test_spreads_from_zero(self) -> None:
        low = decide(
            code="55P03",
            attempts=3,
            owed_seconds=0,
            urgency=Urgency.NORMAL,
            limits=LIMITS,
            uniform=lambda low, high: low,
        )
        assert low.delay_seconds == 0
