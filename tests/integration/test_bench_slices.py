"""A slice of each benchmark, with few rows: what is measured does its work exactly; speed is for `make bench-…`."""

import pytest

from tests import bench_drain, measuring


@pytest.mark.slow
def test_the_drain_is_exact_by_one_worker_and_by_two(transactional_db: None) -> None:
    measuring.crowd(300)

    samples = bench_drain.measure(1)

    assert list(samples) == [
        bench_drain.LIMIT, bench_drain.CLEAN, bench_drain.POISONED, bench_drain.TWO_CLEAN, bench_drain.TWO_POISONED
    ]  # fmt: skip
    assert all(len(row) == 4 for row in bench_drain.rows(samples, 300))


def test_the_drain_that_leaves_somebody_behind_is_found_out(transactional_db: None) -> None:
    measuring.crowd(20)

    with pytest.raises(AssertionError):
        bench_drain.drained(poison=False, drain=lambda: None)
