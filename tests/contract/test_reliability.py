"""The page on faults: each says what happens, and names tests that are there."""

import re
from pathlib import Path

from tests.contract.test_founding_documents import is_tested

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
# Whoever reads the page looks for these.
FAULTS = (
    "away", "frozen", "killed with -9", "locked", "one bad row", "full", "Redis is away", "a worker is killed", "beat, are dead",
    "the web is killed", "breaker", "statement or a lock takes too long", "deadlock", "a service is down",
)  # fmt: skip


def lines() -> list[list[str]]:
    """Give the cells of each fault, but of what was seen by hand."""
    told = PAGE.read_text().partition("## Seen by hand")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if line.startswith("| ")
    ]
    return [row for row in rows if row[0] != "fault"]


def test_every_fault_is_told_with_a_test_that_is_there() -> None:
    lost = []
    assert len(lines()) > 30
    for row in lines():
        fault, happens, tests = row
        named = re.findall(r"`(tests/[^`]+)`", tests)
        assert fault
        assert happens
        assert named, fault
        lost += [name for name in named if not is_tested(*name.split("::"))]
    assert lost == []


def test_the_faults_that_one_looks_for_are_there() -> None:
    page = "\n".join(" ".join(row[:2]) for row in lines())
    assert [fault for fault in FAULTS if fault not in page] == []
