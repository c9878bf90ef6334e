"""A slice of `make bench-write`: copies and debt are no heavy price on a save."""

import pytest

from tests import bench_write


@pytest.mark.slow
def test_p3_a_save_with_copies_and_debt_costs_at_most_so_many_bare_ones(transactional_db: None) -> None:
    ratios = []
    for _ in range(3):  # other work on the machine may spoil a run, hardly three
        costs = bench_write.measure(100)
        ratios.append(costs[bench_write.NET].ratio_to(costs[bench_write.BARE]))
        if ratios[-1] <= bench_write.LIMIT:
            return
    raise AssertionError(f"A save with copies and debt costs {min(ratios):.2f} times a bare one.")
