"""The page of figures and the benchmarks that there are: each knows the other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
BENCHES = sorted(path.stem.removeprefix("bench_") for path in (ROOT / "tests").glob("bench_*.py"))


def targets() -> set[str]:
    """Give what make can be asked for; a pattern stands for every module that it fits."""
    explicit = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, flags=re.MULTILINE))
    return explicit | {f"bench-{name.replace('_', '-')}" for name in BENCHES if "\nbench-%:" in MAKEFILE}


@pytest.mark.parametrize("name", BENCHES)
def test_every_benchmark_has_its_line(name: str) -> None:
    assert f"`make bench-{name.replace('_', '-')}`" in PAGE


def test_every_command_of_the_page_exists() -> None:
    named = set(re.findall(r"`make ([a-z-]+)", PAGE))
    assert len(named) > 3
    assert named - targets() == set()


def test_every_figure_says_what_is_to_be_reached_and_how_to_measure_it() -> None:
    table = PAGE.split("## Figures to reach")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 10
    assert [row[0] for row in rows if len(row) != 5 or not all(row)] == []


def test_the_page_says_where_its_figures_come_from() -> None:
    assert re.search(r"^Measured on \d{4}-\d\d-\d\d, \d+ cores, .*PostgreSQL \d+", PAGE, flags=re.MULTILINE)
