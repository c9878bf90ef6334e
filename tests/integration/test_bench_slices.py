"""A slice of each benchmark, with few rows: what is measured does its work exactly; speed is for `make bench-…`."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from django.db.models import Count

from sync.models import Run, RunChange
from tests import bench_drain, bench_peers, bench_repair, bench_streams, fakes, measuring
from tests.peers.registry import BARE, LIMIT, OURS, PEERS, peer
from therapists.demo.population import seed_population


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


@pytest.mark.slow
def test_the_repair_finds_the_same_drift_each_time_and_leaves_none(transactional_db: None) -> None:
    seed_population(therapists=300, drift_percent=Decimal(5), seed=1)

    figures = [*bench_repair.audits(1), *bench_repair.repairs(2), bench_repair.incremental()]

    assert [figure.reach for figure in figures] == ["≤ 1.2", "≤ 1.0", "≤ 100 ms", "≤ 60 MB", "≤ 50 ms"]
    assert {run.tally.get("owed", 0) for run in Run.objects.all()} == {0}
    mended = Run.objects.filter(kind="repair").order_by("asked_at")
    undone = RunChange.objects.filter(outcome="undone").values("run").annotate(n=Count("pk"))
    assert {row["n"] for row in undone} == {15}
    assert RunChange.objects.filter(run=mended.last(), outcome="written").count() == 15
    assert fakes.behind() == set()


@pytest.mark.slow
def test_a_peer_that_fails_is_told_and_the_others_do_their_work(transactional_db: None, tmp_path: Path) -> None:
    measuring.crowd(300)
    lost = replace(peer("with_domain_events"), package="")  # in an environment that has it not
    absent = peer("with_procrastinate")
    here = [one for one in PEERS if not one.package]

    runners = bench_peers.measure(
        [*here, lost, absent], {"procrastinate": "ERROR: not found"}, tmp_path,
        save_rounds=2, saves=5, drain_rounds=1, pending=300, seconds=3,
    )  # fmt: skip

    found = {runner.peer.name: runner for runner in runners}
    assert "No module named 'django_domain_events'" in found[lost.name].error
    assert found[absent.name].error == "ERROR: not found"
    assert [found[name].error for name in (BARE, LIMIT, OURS)] == ["", "", ""]
    assert [row[1] for row in bench_peers.save_rows(runners)].count("failed") == 2
    assert {row[0] for row in bench_peers.drain_rows(runners)} == {LIMIT, OURS, lost.name, absent.name}
    clean, poisoned = found[OURS].drains[False][0], found[OURS].drains[True][0]
    assert (clean["done"], clean["failures"]) == (300, "0 items, 0 causes")
    assert (poisoned["done"], poisoned["failures"]) == (297, "3 items, 1 cause")
    assert found[LIMIT].drains[True][0]["done"] == 0


@pytest.mark.slow
def test_everybody_with_a_stream_open_is_told_of_each_write_over_one_session(
    transactional_db: None, tmp_path: Path
) -> None:
    measuring.crowd(5)

    told = bench_streams.measure(tmp_path, clients=60, writes=5, between=0.2)

    assert (len(told.took), told.missing, told.sessions) == (300, 0, 1)
