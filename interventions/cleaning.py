"""Turn anything into what the log can hold: a stable code and a short, clean text. Runs nobody's code, so it never raises."""

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from types import NoneType
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from django.db import Error as DatabaseFailure

TEXT_BYTES = 2048
# The code of what came without one: somebody handed over a text.
REPORTED = "reported"

_LONGEST_NAME = 100
# Of a structure: how deep it is followed, how wide, how many of its parts are kept, and how long each of them.
_DEPTH, _WIDTH, _PARTS, _PART_BYTES = 4, 16, 48, 80
# What stands further back is looked at before the cut: a value that the cut would open is still covered as a whole.
_LOOK_AHEAD = 4
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")
# Addresses, links, whatever is quoted, what a database tells of a row, and numbers as long as a telephone's.
_PRIVATE = re.compile(
    r"DETAIL:.*+|(?<!\S)[^\s@]*+@\S*+|(?<!\w)\w++://\S*+|'[^']*+'|\"[^\"]*+\"|“[^”]*+”|=\([^)]*+\)"
    r"|\+?\d(?:[ ()./-]{0,3}\d){6,}+"
)
# What differs from one failure of a kind to the next: ids, dates, numbers, and whatever stands where they are listed.
_VARYING = re.compile(
    r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|(?<![^\W_])(?=[^\W\d_]*+\d)[^\W_]++"
    r"|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:[a-z]{0,4}day)?\b"
    r"|\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t|tember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b"
)
_LISTED = re.compile(r"#(?:[\s,;:./+-]{0,3}#)+")
# Read past whatever a class of somebody's makes of these names.
_name_of: Callable[[object], str] = type.__dict__["__name__"].__get__
_args_of: Callable[[object], tuple[object, ...]] = BaseException.__dict__["args"].__get__
_cause_of: Callable[[object], object] = BaseException.__dict__["__cause__"].__get__


def code(error: object) -> str:
    """Give what failures of one kind share: a SQLSTATE, the name of an exception's type, or REPORTED for all else."""
    kind = type(error)
    if not issubclass(kind, BaseException):
        return REPORTED
    return _sqlstate(error) or _sqlstate(_cause_of(error)) or name(kind)


def name(kind: type) -> str:
    """Give the name of a type."""
    return _clipped(_clean(str(_name_of(kind))[:_LONGEST_NAME]), _LONGEST_NAME) or "nameless"


def text(value: Any, most: int = TEXT_BYTES, *, is_covered: bool = True) -> str:
    """
    Give at most `most` bytes of text that PostgreSQL and JSON can hold; what could be somebody's is covered.

    The work is bounded, whatever the size of the value. An exception is its type and its arguments, one of a database
    its type and SQLSTATE; a structure is JSON; what is unknown is the name of its type.
    """
    kind = type(value)
    if issubclass(kind, str):
        raw = str.__getitem__(value, slice(most * _LOOK_AHEAD))
    elif issubclass(kind, bytes):
        raw = bytes.__getitem__(value, slice(most * _LOOK_AHEAD)).decode("utf-8", "replace")
    elif issubclass(kind, BaseException):
        return _clipped(_told(value, most), most)
    else:
        found = data(value)
        return _clipped(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False), most)
    return _clipped(masked(_clean(raw)) if is_covered else _clean(raw), most)


def masked(told: str) -> str:
    """Cover what could be somebody's in a text."""
    return _PRIVATE.sub("…", told)


def pattern(told: str) -> str:
    """Give what texts of one kind share: numbers, dates and words with a digit in them, such as ids, are replaced."""
    return _LISTED.sub("#", _VARYING.sub("#", told))


def data(value: object) -> Any:
    """Give what JSON can hold of a value: bounded in depth, width and length, also where it refers to itself."""
    return _part(value, _DEPTH, iter(range(_PARTS)))


def _part(value: Any, depth: int, room: Any) -> Any:
    kind = type(value)
    if next(room, None) is None:
        return "…"
    if kind is bool or kind is NoneType:
        return value
    if issubclass(kind, int) and int.bit_length(value) < 64:
        return int.__pos__(value)
    if issubclass(kind, str | bytes | BaseException):
        return text(value, _PART_BYTES)
    if any(kind is one for one in _PLAIN):
        return _plain(value)
    if depth and issubclass(kind, dict | list | tuple | set | frozenset):
        try:
            return _inside(value, kind, depth - 1, room)
        except RuntimeError:  # somebody changes it meanwhile
            return f"<{name(kind)}>"
    return f"<{name(kind)}>"


def _inside(value: Any, kind: type, depth: int, room: Any) -> Any:
    if issubclass(kind, dict):
        pairs = islice(dict.items(value), _WIDTH)
        return {text(key, _PART_BYTES): _part(inner, depth, room) for key, inner in pairs}
    walk = next(base for base in (list, tuple, set, frozenset) if issubclass(kind, base)).__iter__
    return [_part(inner, depth, room) for inner in islice(walk(value), _WIDTH)]


def _plain(value: Any) -> str:
    zone = getattr(value, "tzinfo", None)
    if not any(type(zone) is one for one in _ZONES):  # a zone of somebody's would be asked for its offset
        return f"<{name(type(value))}>"
    try:
        return format(value, ".20g") if type(value) is Decimal else str(value)
    except (ArithmeticError, AttributeError, ValueError):
        return f"<{name(type(value))}>"


# Compared by identity: a class may have a hash of its own.
_PLAIN = (float, Decimal, complex, dt.datetime, dt.date, dt.time, dt.timedelta, uuid.UUID)
_ZONES = (NoneType, dt.timezone, ZoneInfo)


def _told(error: object, most: int) -> str:
    kind = type(error)
    if state := _sqlstate(error) or _sqlstate(_cause_of(error)):
        return f"{name(kind)} {state}"
    if issubclass(kind, psycopg.Error | DatabaseFailure):
        return name(kind)
    return ": ".join([name(kind), *filter(None, (text(arg, most) for arg in _args_of(error)[:4]))])


def _sqlstate(error: Any) -> str:
    found = error.sqlstate if issubclass(type(error), psycopg.Error) else None
    return found if isinstance(found, str) else ""


def _clean(raw: str) -> str:
    return _CONTROL.sub(" ", raw.encode("utf-8", "replace").decode()).strip()


def _clipped(told: str, most: int) -> str:
    raw = told.encode()
    return told if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "…"
