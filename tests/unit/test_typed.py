"""Text as it is stored: tidy once is tidy for ever, and what can be seen stays."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interventions.typed import tidy


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Cafe\u0301", "Caf\u00e9"),
        ("one\r\ntwo\rthree\x0bfour\x85five\u2028six", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("a\x07b\x1bc\x7fd\x9fe", "abcde"),
        ("admin\u202egnp.exe\u202c", "admingnp.exe"),
        ("\ufeffText", "Text"),
        ("a\tb\n\n c ", "a\tb\n\n c "),
        # Part of how it is written: a joiner in a family of emoji, a mark in Hebrew beside Latin.
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("\u05d0\u200fA", "\u05d0\u200fA"),
        ("\ufb01ne \u2460", "\ufb01ne \u2460"),
        ("a\0b", "a\0b"),
    ],
)
def test_is_told_by_example(typed: str, stored: str) -> None:
    assert tidy(typed) == stored


def test_of_a_line_has_single_spaces() -> None:
    assert tidy(" Ada\t\n \u00a0 Quist\r\n", is_line=True) == "Ada Quist"


@given(st.text(), st.booleans())
def test_again_changes_nothing_and_loses_nothing_that_is_seen(text: str, is_line: bool) -> None:
    once = tidy(text, is_line=is_line)
    assert tidy(once, is_line=is_line) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not [one for one in once if unicodedata.category(one) == "Cc" and one not in "\0\t\n"]
    assert letters(once) == letters(text)


def letters(text: str) -> list[str]:
    return [one for one in unicodedata.normalize("NFD", text) if unicodedata.category(one)[0] in "LN"]
