"""What every measurement shares: servers of its own, rounds that take turns, medians, and rows of Markdown."""

from tests import conftest  # isort: skip - first, because it sets Django up
import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import django
import psycopg
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from config import embedded
from sync import triggers
from tests import fakes

LIMIT_HEAD = ("what", "reach", "measured", "reached")
BIO = "Twelve years with couples and families. "
_CROWD_USERS = """
INSERT INTO users (email, full_name, user_type, password, avatar_url, is_verified, is_superuser)
SELECT 'crowd' || n || '@example.org', 'Crowd ' || n, 'therapist', '', '/media/avatars/first.webp', true, false
FROM generate_series(1, %s) AS n
"""
_CROWD_ENROLLMENTS = f"""
INSERT INTO therapist_enrollments (user_id, email, full_name, phone, bio, experience_years, status, approved_at,
    profile_image_url, updated_at)
SELECT id, email, full_name, '+44 20 7946 0000', repeat('{BIO}', 5) || id, 12, 'approved', now(), avatar_url, now()
FROM users WHERE email LIKE 'crowd%%'
"""
_CROWD_PROFILES = """
INSERT INTO therapist_profiles (user_id, phone, bio, experience_years, verification_status, profile_image_url, updated_at)
SELECT user_id, phone, bio, experience_years, status, profile_image_url, now()
FROM therapist_enrollments WHERE email LIKE 'crowd%%'
"""


@dataclass(frozen=True)
class Sample:
    """What one way took, in seconds, round by round."""

    name: str
    took: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.took)

    @property
    def p99(self) -> float:
        """What 99 of 100 rounds stay below; the slowest round where there are fewer."""
        return sorted(self.took)[min(len(self.took) - 1, len(self.took) * 99 // 100)]

    def ratio_to(self, other: "Sample") -> float:
        """The middle of the ratios of rounds that were made one right after the other: noise hits both of a pair."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.took, other.took, strict=True))


@dataclass(frozen=True)
class Figure:
    """One line of docs/benchmarks.md: what is measured, what is to be reached, what was found."""

    what: str
    reach: str
    measured: str
    is_reached: bool

    @property
    def row(self) -> tuple[str, ...]:
        """The line's cells."""
        return self.what, self.reach, self.measured, "yes" if self.is_reached else "**no**"


def seconds(work: Callable[[], object]) -> float:
    """Run something once and give how long it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(ways: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 0) -> dict[str, Sample]:
    """
    Run every way once a round, each round beginning with the next way: none is always first after another.

    A way that returns a float has timed itself, so that its preparation does not count; seconds are meant.
    """
    names, took = list(ways), {name: list[float]() for name in ways}
    for number in range(-warm_up, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            own = ways[name]()
            spent = own if isinstance(own, float) else time.perf_counter() - started
            took[name] += [spent] if number >= 0 else []
    return {name: Sample(name, tuple(found)) for name, found in took.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Give a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def report(figures: Sequence[Figure]) -> int:
    """
    Print the figures as they stand in docs/benchmarks.md, and where they were measured, while the servers still run.

    Gives 1 when one is not reached.
    """
    print(table(LIMIT_HEAD, [figure.row for figure in figures]))
    print(f"\n{surroundings()}")
    return int(not all(figure.is_reached for figure in figures))


def surroundings() -> str:
    """Say when and where something was measured, and what else the machine was doing; while the servers run."""
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    postgres = fakes.sql("SHOW server_version")[0][0]
    return (
        f"measured on {timezone.now():%Y-%m-%d %H:%M} UTC: {os.cpu_count()} cores, load average {loads},"
        f" PostgreSQL {postgres}, Python {platform.python_version()}, Django {django.get_version()}"
    )


@contextmanager
def bench() -> Iterator[None]:
    """
    Run servers of our own with every table and the net as it is declared now; nothing is left behind.

    Not in development mode, in which Django remembers every statement.
    """
    with embedded.servers(conftest.VAR_DIR), override_settings(DEBUG=False):
        call_command("migrate", verbosity=0)
        triggers.install()
        try:
            yield
        finally:
            connections.close_all()


def crowd(count: int) -> None:
    """Save so many approved therapists whose copies are all equal, in three statements that no trigger sees."""
    with fakes.asleep():
        fakes.sql(_CROWD_USERS, count)
        fakes.sql(_CROWD_ENROLLMENTS)
        fakes.sql(_CROWD_PROFILES)
    fakes.sql("VACUUM ANALYZE users, therapist_enrollments, therapist_profiles")


@contextmanager
def crowded(database_url: str, count: int) -> Iterator[fakes.Connection]:
    """Save `crowd` in another database; give a session on it."""
    with psycopg.connect(database_url, autocommit=True) as own:
        own.execute("SET session_replication_role = replica")
        own.execute(_CROWD_USERS, [count])
        for statement in (_CROWD_ENROLLMENTS, _CROWD_PROFILES):
            own.execute(statement.replace("%%", "%"))
        own.execute("RESET session_replication_role")
        own.execute("VACUUM ANALYZE users, therapist_enrollments, therapist_profiles")
        yield own


def arguments(about: str | None, **defaults: int) -> argparse.Namespace:
    """Read whole numbers from the command line, such as `--rounds 5`."""
    parser = argparse.ArgumentParser(description=about)
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    return parser.parse_args()


def resident_megabytes(pid: int | str = "self") -> float:
    """Give how much memory a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
