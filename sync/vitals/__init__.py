"""Everything that must work, each part read with a bound of its own: what cannot be read in time is not known."""

from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, connection, transaction

from interventions.sqlstates import code_of
from sync.lookout import Lookout
from sync.vitals import disks, engine, postgres, queues, second_bests
from sync.vitals.parts import TITLES, Part, Verdict, unknown

__all__ = ["KEPT_SECONDS", "READS", "WAIT_SECONDS", "Part", "Verdict", "everything"]

# Of one part; whoever asks for all of them waits no longer than WAIT_SECONDS together, also where a server hangs.
READ_MS, LOCK_MS = 1_000, 100
WAIT_SECONDS = 3.0
# Who asks again and again, as a monitor does, costs PostgreSQL one look in so many seconds.
KEPT_SECONDS = 5.0
READS: dict[str, Callable[[], Part]] = {
    "database": postgres.database,
    "durability": postgres.durability,
    "replicas": postgres.replicas,
    "net": engine.net,
    "owed": engine.owed,
    "targets": engine.targets,
    "items": engine.items,
    "signs": engine.signs,
    "consistency": engine.equality,
    "failures": engine.failed,
    "keys": engine.keys,
    "second_bests": second_bests.second_bests,
}


def everything(*, kept: float = 0.0) -> list[Part]:
    """Give every part, in the order in which people are told; read now, or no longer than `kept` seconds ago. Never raises."""
    found: dict[str, Part] = {}
    for one in [lookout.look(kept=kept) for lookout in LOOKOUTS]:
        found |= one.found(wait=WAIT_SECONDS, kept=kept)
    return [found.get(name) or unknown(name) for name in TITLES]


def _look_into_postgresql(note: Callable[[str, Part], None]) -> None:
    try:
        for name, read in READS.items():
            try:
                note(name, _bounded(read))
            except (DatabaseError, InterfaceError) as error:
                code = code_of(error)
                note(name, unknown(name, f"cannot be read ({code or 'PostgreSQL does not answer'})"))
                if not code:
                    # Nobody is there: asking for the rest would only take as long again.
                    return
    finally:
        connection.close()


def _bounded(read: Callable[[], Part]) -> Part:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {READ_MS}; SET LOCAL lock_timeout = {LOCK_MS}")
        return read()


LOOKOUTS = (
    Lookout("look-into-postgresql", _look_into_postgresql),
    Lookout("look-into-redis", queues.look),
    Lookout("look-at-disks", disks.look),
)
