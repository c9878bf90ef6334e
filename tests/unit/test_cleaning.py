"""Whatever is handed over becomes a short clean text and a code: no exception, no foreign code run, no long work."""

import datetime as dt
import io
import json
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError
from hypothesis import given
from hypothesis import strategies as st

from interventions import cleaning
from tests.anything import anything


class Hostile:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise AssertionError("Somebody's code was run.")

    def __repr__(self) -> str:
        raise AssertionError("Somebody's code was run.")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("Somebody's code was run.")

    @property
    def __class__(self) -> Any:
        raise AssertionError("Somebody's code was run.")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AssertionError("Somebody's code was run.")


class HostileText(str):
    def __str__(self) -> str:
        raise AssertionError("Somebody's code was run.")

    def __getitem__(self, key: Any) -> str:
        raise AssertionError("Somebody's code was run.")

    def encode(self, *_: Any) -> bytes:
        raise AssertionError("Somebody's code was run.")


class HostileError(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise AssertionError("Somebody's code was run.")

    def __str__(self) -> str:
        raise AssertionError("Somebody's code was run.")


class HostileZone(dt.tzinfo):
    def utcoffset(self, _: Any) -> dt.timedelta:
        raise AssertionError("Somebody's code was run.")

    dst = utcoffset

    def tzname(self, _: Any) -> str:
        raise AssertionError("Somebody's code was run.")


def itself() -> list[Any]:
    found: list[Any] = []
    found += [found, {"again": found}]
    return found


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


def caused(cause: psycopg.Error) -> IntegrityError:
    error = IntegrityError("Key (email)=(ada@example.org) already exists.")
    error.__cause__ = cause
    return error


# A list, not parameters: pytest would ask each value for its text.
KNOWN: list[tuple[object, str, str]] = [
    ("no profile", "no profile", "reported"),
    ("a\x00b\ud800c\r\nd", "a b?c d", "reported"),
    (float("nan"), "nan", "reported"),
    (float("-inf"), "-inf", "reported"),
    (Decimal("1.50"), "1.50", "reported"),
    (Decimal("sNaN"), "sNaN", "reported"),
    (dt.datetime(2026, 11, 22, tzinfo=dt.UTC), "2026-11-22 00:00:00+00:00", "reported"),
    (dt.datetime(2026, 11, 22, tzinfo=HostileZone()), "<datetime>", "reported"),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007", "reported"),
    (b"half\xff\x00", "half\ufffd", "reported"),
    (io.StringIO("inside"), "<StringIO>", "reported"),
    (10**5000, "<int>", "reported"),
    (
        itself()[1]["again"][:1],
        '[[[["<list>", "<dict>"], {"again": "<list>"}], {"again": ["<list>", "<dict>"]}]]',
        "reported",
    ),
    (deep(), '[[[["<list>"]]]]', "reported"),
    (Hostile(), "<Hostile>", "reported"),
    (HostileText("half"), "half", "reported"),
    (Hostile, "<type>", "reported"),
    (None, "null", "reported"),
    (Exception(), "Exception", "Exception"),
    (ValueError("half", 7), "ValueError: half: 7", "ValueError"),
    (HostileError("half"), "HostileError: half", "HostileError"),
    (psycopg.errors.UniqueViolation("Key (email)=(ada)"), "UniqueViolation 23505", "23505"),
    (caused(psycopg.errors.UniqueViolation()), "IntegrityError 23505", "23505"),
    (IntegrityError("Failing row contains (1, Ada)"), "IntegrityError", "IntegrityError"),
]


@pytest.mark.parametrize("number", range(len(KNOWN)))
def test_gives_a_code_and_a_text(number: int) -> None:
    value, told, code = KNOWN[number]
    assert cleaning.text(value) == told
    assert cleaning.code(value) == code
    json.dumps(cleaning.data({"inside": value}), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("refused for ada.quist@example.org", "refused for …"),
        ("see https://example.org/ada?x=1 there", "see … there"),
        ("invalid input: 'Ada Quist' or \"Ada\"", "invalid input: … or …"),
        ("duplicate key\nDETAIL:  Failing row contains (1, Ada Quist).", "duplicate key …"),
        ("call +44 20 7946 0000", "call …"),
        ("divide: 22012", "divide: 22012"),
        ("line 7 of 1200", "line 7 of 1200"),
    ],
)
def test_p10_covers_what_could_be_somebodys(text: str, told: str) -> None:
    assert cleaning.text(text) == told
    assert cleaning.data({"a": text}) == {"a": told}
    assert told in cleaning.text(ValueError(text))


def test_p10_covers_what_the_cut_would_have_opened() -> None:
    assert "Ada" not in cleaning.text("x" * 2000 + " 'Ada Quist, " + "y" * 2000 + "'")


@pytest.mark.parametrize("word", ["x", "@", "='", "=(", "a '", "1 ", "\ud800"])
def test_p9_the_work_is_bounded(word: str) -> None:
    huge = word * (300_000_000 // len(word)) if word.isascii() else word * 50_000_000
    values = [huge, {"a": huge}, [huge] * 1000, ValueError(huge), KeyError(huge)]
    started = time.perf_counter()
    for value in values:
        assert len(cleaning.text(value).encode()) <= cleaning.TEXT_BYTES
        assert len(json.dumps(cleaning.data(value))) < 16_000
    assert time.perf_counter() - started < 1.5


@given(anything())
def test_p7_takes_anything(value: object) -> None:
    told = cleaning.text(value)
    assert len(told.encode()) <= cleaning.TEXT_BYTES
    assert "\x00" not in told
    kept = json.dumps(cleaning.data(value), allow_nan=False)
    assert "\\u0000" not in kept
    assert "\\ud8" not in kept.lower() or json.loads(kept)
    assert len(kept) < 16_000
    assert 0 < len(cleaning.code(value)) <= 100


@given(st.text())
def test_texts_that_differ_in_numbers_alone_are_of_one_pattern(text: str) -> None:
    assert cleaning.pattern(f"{text} 17") == cleaning.pattern(f"{text} 4")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Row 17 is bad", "Row 4 is bad"),
        ("Job 0b5f5c70-8a9e-4b7e-9b57-5f0d2a3c1e11 died", "Job deadbeef-cafe-babe-face-feedfacedead died"),
        ("Charge ch_3PzXk2 failed", "Charge ch_9QaaB71x failed"),
        ("Due 2026-11-22T12:00:00.123+00:00", "Due 2026-01-02T03:04:05Z"),
        ("Due Sun, 22 Nov 2026", "Due Friday, 1 May 2027"),
        ("Ids 1, 2, 3 are gone", "Ids 7 are gone"),
        ("import_2026_11", "import_2026_12"),
    ],
)
def test_ids_dates_and_numbers_make_no_other_kind(one: str, other: str) -> None:
    assert cleaning.pattern(cleaning.text(one)) == cleaning.pattern(cleaning.text(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("No answer from ada@example.org", "No answer from ben@example.com"),
        ("Refused 'Ada Quist'", "Refused 'Ben Okoro'"),
        ("Read https://a.example/x?id=1 twice", "Read http://b.example/y twice"),
        ("Call +44 20 7946 0000 back", "Call 030 123 45 67 back"),
    ],
)
def test_what_could_be_somebodys_makes_no_other_kind(one: str, other: str) -> None:
    assert cleaning.pattern(cleaning.text(one)) == cleaning.pattern(cleaning.text(other))


def test_words_alone_make_another_kind_and_take_no_longer_for_being_long() -> None:
    assert cleaning.pattern("The index may march on") != cleaning.pattern("The table may march on")
    for text in ("a" * 200_000, "a1" * 100_000, "1 " * 100_000, "#, " * 60_000):
        started = time.perf_counter()
        cleaning.pattern(text)
        assert time.perf_counter() - started < 5
