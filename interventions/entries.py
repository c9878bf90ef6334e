"""Failures that somebody reports, on their way into the log: one call adds one or many, each at most once."""

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils.crypto import salted_hmac

from interventions import cleaning, fingerprint
from interventions.correlation import request_id

_NAME_BYTES, _KEY_BYTES, _KEY_SEEN = 100, 100, 1000


@dataclass(frozen=True)
class Entry:
    """A reported failure as the log can hold it: texts are cleaned, `at` is ISO 8601, `id` is the item's."""

    id: str
    at: str
    operation: str
    entity_id: str | None
    error: str
    code: str
    cause: str
    payload: Any
    request_id: str


def entry(*, operation: object, entity_id: object, error: object, payload: object, at: dt.datetime) -> Entry:
    """Make an entry of anything at all. Never raises; the work is bounded whatever is handed over."""
    name = cleaning.text(operation, _NAME_BYTES) or "unnamed"
    code, told = cleaning.code(error), cleaning.text(error) or "Nothing was said about it."
    # Failures of an exception share its code. Those of a text share the text, whatever the numbers in it are.
    kind = f"reported.{_digest(cleaning.pattern(told))}" if code == cleaning.REPORTED else "reported"
    # Whoever names an operation after somebody names every one of them alike.
    word = cleaning.pattern(name)
    return Entry(
        id=str(uuid.uuid4()), at=at.isoformat(), operation=name, entity_id=_key(entity_id), error=told, code=code,
        cause=fingerprint.of(target="", operation=word, kind=kind, code=code, detail=word),
        payload=None if payload is None else cleaning.data(payload), request_id=request_id.get(),
    )  # fmt: skip


def as_record(one: Entry) -> dict[str, Any]:
    """Give what the spool keeps of an entry."""
    return vars(one)


def from_record(record: Mapping[str, Any]) -> Entry:
    """Give the entry that a record of the spool was made of. Raises TypeError where it was not."""
    return Entry(**record)


def add(entries: Sequence[Entry]) -> None:
    """
    Put the entries into the log, all of them or none; again is the same as once.

    Of entries with the same operation and entity the first becomes an item, and none while such an item is open, also
    where several callers report it at the same moment: each waits until who reported it before has committed, 50 ms at
    most for all entries. Whoever takes longer than that, or reads by a snapshot from before (REPEATABLE READ), leaves a
    second item: better than a caller who waits for somebody's long transaction. Waits 200 ms at most for a log that
    somebody has locked. Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT intervention_report(%s::jsonb)", [json.dumps([vars(one) for one in entries])])


def _key(entity_id: object) -> str | None:
    """Give an id as it is; for what is too long to be one, or could be an address, a word that tells nothing of it."""
    if entity_id is None:
        return None
    told = cleaning.text(entity_id, _KEY_SEEN, is_covered=False)
    if len(told.encode()) <= _KEY_BYTES and "@" not in told:
        return told
    return "#" + salted_hmac("interventions.entity", told, algorithm="sha256").hexdigest()[:32]


def _digest(told: str) -> str:
    return hashlib.sha256(told.encode()).hexdigest()[:8]
