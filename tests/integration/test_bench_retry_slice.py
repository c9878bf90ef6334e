"""A slice of `make bench-retry`: real workers, one of them killed on the way, and a report that adds up."""

import pytest

from tests import bench_retry as bench


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_p7_a_bulk_retry_forgets_nothing_and_does_nothing_twice_though_its_worker_is_killed() -> None:
    found = bench.measure(60, kills=1, per_second=10)

    assert found.counts | {"fixed": 60} == found.counts
    assert (found.total, sum(found.counts.values()), found.kills) == (60, 60, 1)
    assert (found.not_once, found.behind, found.still_open) == (0, 0, 0)
