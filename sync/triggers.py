"""Install the safety net, switch copying on and off, and say by fingerprint whether it is the one declared."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import md5

from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from interventions.sqlstates import code_of
from sync import net
from sync.mirrors import declaration
from sync.models import Gap

LOCK_TIMEOUT_MS, PAUSE_SECONDS, TRIES = 200, 0.3, 20


@dataclass(frozen=True)
class Part:
    """One trigger or function of the net. `state`: installed, missing, differs or disabled."""

    kind: str
    name: str
    state: str
    is_copying: bool


@dataclass(frozen=True)
class Status:
    """What is installed, against what is declared."""

    parts: tuple[Part, ...]
    gaps: int

    @property
    def debt(self) -> str:
        """`on` while every write is seen, else `off`."""
        return "on" if all(p.state == "installed" for p in self.parts if not p.is_copying) else "off"

    @property
    def copying(self) -> str:
        """`on` while copies are made at commit, else `off`."""
        return "on" if all(p.state == "installed" for p in self.parts if p.is_copying) else "off"

    @property
    def is_verified(self) -> bool:
        """Whether an audit has run since the net was last off."""
        return self.gaps == 0


class NetBusy(Exception):
    """Somebody holds a table: nothing was changed. Try again when they are done."""


def install() -> None:
    """
    Create or replace the whole net in one transaction, unless it is the one declared already.

    Where debt was not on, writes may have gone unseen: a gap is on record until an audit has run. Raises NetBusy.
    """
    before = status()
    if all(part.state == "installed" for part in before.parts):
        Gap.objects.filter(closed_at=None).update(closed_at=timezone.now())
        return

    had_hole = any(part.state in {"missing", "disabled"} for part in before.parts if not part.is_copying)

    def create() -> None:
        with connection.cursor() as cursor:
            cursor.execute(net.install(declaration()))
        if had_hole and not Gap.objects.filter(closed_at=None).exists():
            Gap.objects.create()
        Gap.objects.filter(closed_at=None).update(closed_at=timezone.now())

    _without_holding_up(create)


def uninstall() -> None:
    """Remove the net, debt included, and record the gap: from now on writes are not seen. Raises NetBusy."""

    def remove() -> None:
        with connection.cursor() as cursor:
            cursor.execute(net.uninstall(declaration()))
        Gap.objects.create()

    _without_holding_up(remove)


def disable() -> None:
    """Switch copying off; debt stays, and workers keep copies equal. Raises NetBusy."""
    _switch("DISABLE")


def enable() -> None:
    """Switch copying on again. Raises NetBusy."""
    _switch("ENABLE")


def status() -> Status:
    """Compare what is installed with what is declared."""
    declared = declaration()
    bodies, comments = _installed()
    routines = {mirror.routine for mirror in declared.mirrors}
    parts = [
        Part(
            "function",
            f.name,
            _state(bodies.get(f.name), _digest(f.body)),
            f.name in routines or f.name.startswith("keepwell_copy_"),
        )
        for f in net.functions(declared)
    ]
    parts += [
        Part("function", f.name, _state(bodies.get(f.name), _digest(f.body)), is_copying=True)
        for f in net.lasting(declared)
    ]  # fmt: skip
    for trigger in net.triggers(declared):
        comment, is_enabled = comments.get((trigger.table, trigger.name), (None, False))
        state = _state(comment, trigger.fingerprint)
        if state == "installed" and not is_enabled:
            state = "disabled"
        parts.append(Part("trigger", f"{trigger.table}.{trigger.name}", state, trigger.is_copying))
    return Status(tuple(parts), Gap.objects.filter(Q(closed_at=None) | Q(audited_at=None)).count())


def _switch(word: str) -> None:
    for trigger in net.triggers(declaration()):
        if trigger.is_copying:
            _without_holding_up(partial(_alter, f"ALTER TABLE {trigger.table} {word} TRIGGER {trigger.name}"))


def _alter(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _without_holding_up(change: Callable[[], None]) -> None:
    """Make a change that needs tables for itself: users' writes queue behind us, so we wait briefly, and again."""
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                _alter(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                change()
            return
        except OperationalError as error:
            if code_of(error) not in {"55P03", "40P01"}:
                raise
            time.sleep(PAUSE_SECONDS)
    raise NetBusy


def _state(found: str | None, wanted: str) -> str:
    if found is None:
        return "missing"
    return "installed" if found == wanted else "differs"


def _digest(body: str) -> str:
    return md5(body.encode(), usedforsecurity=False).hexdigest()


def _installed() -> tuple[dict[str, str], dict[tuple[str, str], tuple[str, bool]]]:
    with connection.cursor() as cursor:
        # In brackets, the schema is looked up once, and not for each row of the catalog.
        here = "(SELECT current_schema()::regnamespace)"
        cursor.execute(f"SELECT proname, md5(prosrc) FROM pg_proc WHERE pronamespace = {here}")
        bodies = dict(cursor.fetchall())
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname, coalesce(obj_description(pg_trigger.oid, 'pg_trigger'), ''),"
            " tgenabled IN ('O', 'A') FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            f" WHERE NOT tgisinternal AND relnamespace = {here}"
        )
        comments = {(table, name): (comment, enabled) for table, name, comment, enabled in cursor.fetchall()}
    return bodies, comments
