"""Right after a commit: bring the person's copies in line within the budget, and wake the workers for the rest."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from interventions.failpoints import reach
from sync import delivery, tasks  # noqa: F401 - importing the tasks connects the doorbell
from sync.doorbell import bell
from sync.mirrors import declaration

logger = logging.getLogger(__name__)


@dataclass
class Held:
    """Whose fan-out waits for a look at the copies that is taken anyway."""

    people: list[int] = field(default_factory=list)

    def let_go(self, *, is_owed: bool = True) -> bool:
        """Fan out, unless the look has shown that nothing is owed; give whether anything was done. Never raises."""
        people, self.people = self.people, []
        for person_id in people:
            _fan_out(person_id, is_owed=is_owed)
        return is_owed and bool(people)


_held: ContextVar[Held | None] = ContextVar("held", default=None)


@contextmanager
def held() -> Iterator[Held]:
    """Let the fan-out of what is committed in the block wait until it is let go, at the latest until the block ends."""
    waiting = Held()
    token = _held.set(waiting)
    try:
        yield waiting
    finally:
        _held.reset(token)
        waiting.let_go()


def connect() -> None:
    """Listen to the models of the declared tables."""
    names = {table.name for table in declaration().tables}
    for model in apps.get_models():
        if model._meta.db_table in names:
            identity = f"sync.{model._meta.db_table}"
            post_save.connect(fan_out_after_commit, sender=model, dispatch_uid=f"{identity}.saved")
            post_delete.connect(fan_out_after_commit, sender=model, dispatch_uid=f"{identity}.deleted")


def fan_out_after_commit(sender: type[Model], instance: Model, raw: bool = False, **_: Any) -> None:
    """Note who was written; nothing touches the database before the commit, or a caught error would undo the write."""
    if raw or not settings.SYNC_RECEIVERS:
        return
    table = next(t for t in declaration().tables if t.name == sender._meta.db_table)
    person_id = getattr(instance, table.key if hasattr(instance, table.key) else "pk")
    if person_id is not None:
        transaction.on_commit(lambda: _committed(person_id), robust=True)


def _committed(person_id: int) -> None:
    if (waiting := _held.get()) is not None:
        waiting.people.append(person_id)
    else:
        _fan_out(person_id)


def _fan_out(person_id: int, *, is_owed: bool = True) -> None:
    try:
        reach("sync.after_commit", [person_id])
        if is_owed and settings.SYNC_INLINE_BUDGET_MS:
            is_owed = delivery.fan_out(person_id, budget_ms=settings.SYNC_INLINE_BUDGET_MS)
        reach("sync.after_fan_out", [person_id])
    # One of the two isolation points: a copy's trouble, our own bugs included, is not the user's.
    except Exception as error:  # noqa: BLE001
        logger.warning("sync.fan_out.failed", extra={"reason": type(error).__name__, "person_id": person_id})
    if is_owed:
        bell.ring()
