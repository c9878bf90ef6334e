"""P1, P2, P7 on the whole product: real processes die at random, and nothing that was answered is lost or forgotten."""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storm.storm import CALM_SECONDS, Storm

# `make storm` asks for many more.
KILLS = int(os.environ.get("STORM_KILLS", "30"))
CRASHES = int(os.environ.get("STORM_CRASHES", "3"))
SEED = int(os.environ.get("STORM_SEED") or random.SystemRandom().randrange(10**6))
EVERY_SECONDS = float(os.environ.get("STORM_EVERY_SECONDS", "0.7"))
SECONDS = 2.5 * (KILLS + CRASHES)
AGAIN = f"STORM_SEED={SEED} STORM_KILLS={KILLS} STORM_CRASHES={CRASHES} python -m pytest {Path(__file__).name} -s"


@pytest.fixture
def storm() -> Iterator[Storm]:
    """A copy that runs, with its people in it."""
    with tempfile.TemporaryDirectory(prefix="keepwell-storm-") as folder:
        Path(folder).chmod(0o755)
        storm = Storm(Path(folder), SEED)
        try:
            storm.start()
            yield storm
        finally:
            storm.copy.clean_up()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_p1_p2_p7_a_storm_of_kills_loses_nothing_and_forgets_nothing(storm: Storm) -> None:
    verdict = storm.blow(kills=KILLS, crashes=CRASHES, every_seconds=EVERY_SECONDS, seconds=SECONDS)

    print(f"\n{verdict.table()}\nagain: {AGAIN}")
    assert verdict.figures["kills"] >= KILLS, "too few kills to mean anything"
    assert verdict.figures["PostgreSQL crashes"] >= CRASHES
    assert verdict.figures["  at a failpoint"] > KILLS / 10, "too few of them at a point that somebody chose"
    assert verdict.figures["acknowledged writes"] > 10 * KILLS
    assert verdict.figures["snapshots"] > 100
    assert verdict.silent == []
    assert verdict.forgotten == []
    assert verdict.contradictions == []
    assert verdict.lost == {}
    assert verdict.unknown_addresses == []
    assert verdict.unequal == []
    assert verdict.figures["seconds until all was equal"] < CALM_SECONDS
