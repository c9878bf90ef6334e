"""Install the safety net, switch copying on and off, and say by fingerprint whether it is the one declared."""

from dataclasses import dataclass
from hashlib import md5

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from sync import net
from sync.mirrors import declaration
from sync.models import Gap


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


def install() -> None:
    """Create or replace the whole net in one transaction, and close the gap if it had been off."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(net.install(declaration()))
        Gap.objects.filter(closed_at=None).update(closed_at=timezone.now())


def uninstall() -> None:
    """Remove the net, debt included, and record the gap: from now on writes are not seen."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(net.uninstall(declaration()))
        Gap.objects.create()


def disable() -> None:
    """Switch copying off; debt stays, and workers keep copies equal."""
    _switch("DISABLE")


def enable() -> None:
    """Switch copying on again."""
    _switch("ENABLE")


def status() -> Status:
    """Compare what is installed with what is declared."""
    declared = declaration()
    bodies, comments = _installed()
    routines = {mirror.routine for mirror in declared.mirrors}
    parts = [
        Part("function", f.name, _state(bodies.get(f.name), _digest(f.body)),
             f.name in routines or f.name.startswith("keepwell_copy_"))
        for f in net.functions(declared)
    ]  # fmt: skip
    for trigger in net.triggers(declared):
        comment, is_enabled = comments.get((trigger.table, trigger.name), (None, False))
        state = _state(comment, trigger.fingerprint)
        if state == "installed" and not is_enabled:
            state = "disabled"
        parts.append(Part("trigger", f"{trigger.table}.{trigger.name}", state, trigger.is_copying))
    return Status(tuple(parts), Gap.objects.filter(Q(closed_at=None) | Q(audited_at=None)).count())


def _switch(word: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for trigger in net.triggers(declaration()):
            if trigger.is_copying:
                cursor.execute(f"ALTER TABLE {trigger.table} {word} TRIGGER {trigger.name}")


def _state(found: str | None, wanted: str) -> str:
    if found is None:
        return "missing"
    return "installed" if found == wanted else "differs"


def _digest(body: str) -> str:
    return md5(body.encode(), usedforsecurity=False).hexdigest()


def _installed() -> tuple[dict[str, str], dict[tuple[str, str], tuple[str, bool]]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname, md5(prosrc) FROM pg_proc WHERE pronamespace = current_schema()::regnamespace")
        bodies = dict(cursor.fetchall())
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname, coalesce(obj_description(pg_trigger.oid, 'pg_trigger'), ''),"
            " tgenabled <> 'D' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
        )
        comments = {(table, name): (comment, enabled) for table, name, comment, enabled in cursor.fetchall()}
    return bodies, comments
