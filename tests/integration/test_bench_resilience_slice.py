"""A slice of `make bench-resilience`: every trouble is made, every write succeeds in it, and all is equal afterwards."""

import pytest

from tests import bench_resilience as bench


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_p3_a_person_saves_while_redis_is_frozen_or_gone_and_a_copy_is_locked() -> None:
    samples, backs, answers = bench.measure(rounds=1, writes=5, times=1, outage=0.5)

    assert {name: len(sample.took) for name, sample in samples.items()} == dict.fromkeys(
        [bench.BASELINE, bench.LOCKED, bench.FROZEN, bench.FROZEN_LOCKED, bench.HOLE, bench.HOLE_LOCKED], 5
    )
    assert set(backs) == {bench.DATABASE_BACK, bench.REDIS_BACK, bench.RETAKEN}
    assert (answers.asked, answers.failed) == (30, []), "under 0.5 % of so few is none"
    assert (answers.outages, answers.lost) == (1, 0)
    assert len(bench.figures(samples, backs, answers, 0.5)) == 6
