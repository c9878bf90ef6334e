"""What a save costs with copies, receivers and ledger, against a bare save and against three tables in the request."""

from tests import conftest  # isort: skip - first, because it sets Django up
import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.core.management import call_command
from django.db import connections, transaction

from config import embedded
from sync import triggers
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

PEOPLE = 200
TABLES = ("users", "therapist_enrollments", "therapist_profiles")
LIMIT = 1.6
WARM_UP = 10
BARE, NET = "saved bare", "saved, copies and debt"
EVERYTHING, THREE = "saved, copies, debt and receivers", "three tables in the request"


@dataclass(frozen=True)
class Cost:
    """What one way to save took, in milliseconds, call by call."""

    name: str
    took: list[float]

    @property
    def median(self) -> float:
        """The middle call."""
        return statistics.median(self.took)

    def ratio_to(self, other: "Cost") -> float:
        """The middle of the ratios of calls that were made one right after the other: noise hits both of a pair."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.took, other.took, strict=True))


def measure(rounds: int) -> dict[str, Cost]:
    """Save with every layer, with the net alone, bare, and to three tables, call by call on one connection."""
    people, was = therapists(PEOPLE), settings.SYNC_RECEIVERS
    with bare_tables():
        took = _measured(people, rounds)
    settings.SYNC_RECEIVERS = was
    assert fakes.behind() == set(), "what was measured did not do its work"
    return {name: Cost(name, kept) for name, kept in took.items()}


def _measured(people: list[User], rounds: int) -> dict[str, list[float]]:
    rows = list(Enrollment.objects.order_by("pk"))
    profiles = {profile.user_id: profile for profile in Profile.objects.all()}
    took: dict[str, list[float]] = {name: [] for name in (EVERYTHING, NET, BARE, THREE)}
    for number in range(rounds + WARM_UP):
        row = rows[number * 7 % PEOPLE]
        profile, user = profiles[row.user_id], people[number * 7 % PEOPLE]
        one, three = partial(_save, row, number), partial(_save_three, row, profile, user, number)
        found = {
            EVERYTHING: _timed("public", partial(one, "a"), receivers=True),
            BARE: _timed("bare, public", partial(one, "b"), receivers=False),
            NET: _timed("public", partial(one, "c"), receivers=False),
            THREE: _timed("bare, public", three, receivers=False),
        }
        for name, milliseconds in found.items():
            took[name] += [milliseconds] if number >= WARM_UP else []
    return took


def _timed(path: str, save: Callable[[], None], *, receivers: bool) -> float:
    settings.SYNC_RECEIVERS = receivers
    fakes.sql(f"SET search_path TO {path}")
    started = time.perf_counter()
    save()
    return (time.perf_counter() - started) * 1000


def _save(row: Enrollment, number: int, word: str) -> None:
    row.bio = f"{word} {number}"
    row.save(update_fields=["bio"])


def _save_three(row: Enrollment, profile: Profile, user: User, number: int) -> None:
    row.bio = profile.bio = f"c {number}"
    user.is_verified = number % 2 == 0
    with transaction.atomic():
        user.save(update_fields=["is_verified"])
        row.save(update_fields=["bio"])
        profile.save(update_fields=["bio"])


@contextmanager
def bare_tables() -> Iterator[None]:
    """Keep copies of the three tables, without any trigger, in the schema `bare`."""
    _copy_tables_without_triggers()
    try:
        yield
    finally:
        fakes.sql("SET search_path TO DEFAULT; DROP SCHEMA bare CASCADE")


def _copy_tables_without_triggers() -> None:
    fakes.sql("CREATE SCHEMA bare")
    for table in TABLES:
        columns = ", ".join(
            name
            for (name,) in fakes.sql(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name = %s AND is_generated = 'NEVER'",
                table,
            )
        )
        fakes.sql(f"CREATE TABLE bare.{table} (LIKE public.{table} INCLUDING ALL)")
        fakes.sql(f"INSERT INTO bare.{table} ({columns}) SELECT {columns} FROM public.{table}")
    fakes.sql("ANALYZE")


def main() -> int:
    """Measure on servers of our own and print a table; 1 when a save costs more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1500, help="calls of each kind")
    rounds: int = parser.parse_args().rounds
    with embedded.servers(conftest.VAR_DIR):
        call_command("migrate", verbosity=0)
        triggers.install()
        costs = measure(rounds)
        connections.close_all()
    print(f"{rounds} interleaved calls of each, medians")
    for name in (BARE, NET, EVERYTHING, THREE):
        to_bare, to_three = (costs[name].ratio_to(costs[other]) for other in (BARE, THREE))
        print(f"{name:34} {costs[name].median:7.2f} ms {to_bare:6.2f} x bare {to_three:6.2f} x three tables")
    return int(costs[NET].ratio_to(costs[BARE]) > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
