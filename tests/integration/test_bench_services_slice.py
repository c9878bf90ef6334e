"""A slice of `make bench-services`: every service down at once, every write saved, and everything told afterwards, once."""

import pytest

from tests import bench_services as bench


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_p3_p7_a_person_saves_while_every_service_is_down_and_all_are_told_afterwards() -> None:
    found = bench.measure(crowd=20, calm=2, outage=8, delays=2, probe=2, probe_cap=4)

    assert (found.failed, found.wrong, found.twice) == ([], 0, 0)
    assert found.most_causes == 1, "one cause stands for a service, however many it was not told of"
    assert len(found.before.took) > 5
    assert len(found.beside.took) > 20
    assert len(bench.figures(found, 8)) == 5
