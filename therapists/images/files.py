"""Where avatars are kept: random names, written durably before a row names them, removed when no place does."""

import datetime as dt
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction

from sync.mirrors import Place, SharedMirror
from therapists.mirrors import DECLARATION

FOLDER = "avatars"
NAME = re.compile(rf"{FOLDER}/[0-9a-f]{{2}}/[0-9a-f]{{32}}\.webp")
FACT = "avatar"
# Longer than any request, retry or backup of rows may take to name a file that it wrote.
KEPT_AT_LEAST = dt.timedelta(hours=24)
A_QUERY = 5_000
# Texts that a place may get its value back from: what a repair replaced and its undo gives back, what a lead may adopt, what
# a decision about two enrollments changed. A test fails for a new column of such a kind until it is named here or there.
REMEMBERED: dict[str, tuple[str, ...]] = {
    "sync_run_change": ("before", "after"),
    "sync_lost_value": ("values",),
    "sync_belated": ("values",),
    "enrollment_decisions": ("before", "after"),
    # An answer that is given again: whoever gets it shows what it names.
    "keyed_request": ("body",),
}


def store(content: bytes) -> str:
    """Write a new file under a name that nobody can guess, durably; give its URL."""
    word = secrets.token_hex(16)
    name = default_storage.save(f"{FOLDER}/{word[:2]}/{word}.webp", ContentFile(content))
    _flush(name)
    return default_storage.url(name)


def unused_avatars(older_than: dt.datetime) -> Iterator[str]:
    """
    Give the names of files that were written before `older_than` and that nothing names now.

    Neither a place, nor a text from which a place may get its value back (see REMEMBERED). Raises DatabaseError when one of them cannot be read: what cannot be known unused is not.
    """
    files = _names(older_than)
    while names := list(islice(files, A_QUERY)):
        used = _used(names)
        yield from (name for name in names if name not in used)


def remove_unused_avatars(*, at: dt.datetime) -> int:
    """
    Delete what has been unused for a day; give the number of files. Raises DatabaseError as unused_avatars().

    Safe beside an upload: its row names the file within seconds, and a file that is younger than a day is not looked at.
    Safe beside whoever gives an old value back: the text that it is given back from names the file until then.
    """
    removed = 0
    for name in unused_avatars(at - KEPT_AT_LEAST):
        default_storage.delete(name)
        removed += 1
    return removed


def named_by(ids: Mapping[str, list[int]]) -> set[str]:
    """Give the names of the files that these rows (table to ids) name."""
    found: set[str] = set()
    for place in _places():
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT substring({place.column} from '{NAME.pattern}') FROM {place.table} WHERE id = ANY(%s)",
                [ids[place.table]],
            )
            found.update(row[0] for row in cursor.fetchall() if row[0] is not None)
    return found


def delete_unused(names: list[str]) -> None:
    """Delete those of the files that no place names, at once. Raises DatabaseError as unused_avatars()."""
    used = _used(names)
    for name in names:
        if name not in used:
            default_storage.delete(name)


def _flush(name: str) -> None:
    """Force file and directory entry to the disk, where the storage is one."""
    try:
        path = Path(default_storage.path(name))
    except NotImplementedError:
        return
    # Some stores name a path and keep nothing there.
    if not path.exists():
        return
    for place in (path, *path.parents[:3]):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _names(older_than: dt.datetime) -> Iterator[str]:
    # Not exists(): a bucket has no folders, only names with strokes in them.
    try:
        folders = sorted(default_storage.listdir(FOLDER)[0])
    except FileNotFoundError:
        return
    for folder in folders:
        for file in default_storage.listdir(f"{FOLDER}/{folder}")[1]:
            name = f"{FOLDER}/{folder}/{file}"
            if NAME.fullmatch(name) and default_storage.get_modified_time(name) < older_than:
                yield name


def _used(names: list[str]) -> set[str]:
    """Find which of the files something names, by name: whatever stands before it in a URL may have changed."""
    in_places = [
        f"SELECT substring({place.column} from '{NAME.pattern}') AS name FROM {place.table}" for place in _places()
    ]
    in_texts = [
        f"SELECT found[1] FROM {table}, regexp_matches({column}::text, '({NAME.pattern})', 'g') AS found"
        f" WHERE strpos({column}::text, '{FOLDER}/') > 0"
        for table, columns in REMEMBERED.items()
        for column in columns
    ]
    # Most files are named by a place, and need no look through the texts.
    used = _named(in_places, names)
    left = [name for name in names if name not in used]
    return used | _named(in_places + in_texts, left) if left else used


def _named(readings: list[str], names: list[str]) -> set[str]:
    """Ask all of them in one statement, which sees one moment: a name may move from one to another meanwhile."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute(f"SELECT DISTINCT name FROM ({' UNION ALL '.join(readings)}) AS n WHERE name = ANY(%s)", [names])
        return {row[0] for row in cursor.fetchall()}


def _places() -> tuple[Place, ...]:
    return next(m.places for m in DECLARATION.mirrors if isinstance(m, SharedMirror) and m.fact == FACT)
