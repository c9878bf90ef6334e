"""The words of the declaration, and what a project may not say with them."""

import pytest

from sync import checks, mirrors
from sync.conversions import is_one
from sync.mirrors import Copy, Declaration, Mirror, Place, SharedMirror, Table
from therapists.mirrors import DECLARATION

PEOPLE, CARDS = Table("people", "id", "t_people"), Table("cards", "person_id", "t_cards")


def test_a_mirror_gives_a_pair_for_each_copy() -> None:
    mirror = Mirror("name", Place("people", "name"), (Copy(Place("cards", "name")), Copy(Place("cards", "label"))), "f")
    pairs = list(Declaration((PEOPLE, CARDS), (mirror,)).pairs)
    assert [(str(p.source), str(p.copy)) for p in pairs] == [
        ("people.name", "cards.name"),
        ("people.name", "cards.label"),
    ]


def test_a_shared_mirror_gives_a_pair_for_each_direction() -> None:
    places = (Place("people", "face"), Place("cards", "face"))
    pairs = list(Declaration((PEOPLE, CARDS), (SharedMirror("face", places, "f"),)).pairs)
    assert [(p.source, p.copy) for p in pairs] == [places, places[::-1]]
    assert all(p.is_shared for p in pairs)


def test_targets_are_the_tables_that_hold_copies_in_locking_order() -> None:
    assert DECLARATION.targets == ("users", "therapist_enrollments", "therapist_profiles")
    assert DECLARATION.persons.name == "users"


def test_a_conversion_is_one_expression_over_the_source() -> None:
    mirror = Mirror("yes", Place("people", "word"), (Copy(Place("cards", "yes"), is_one("aye")),), "f")
    (pair,) = Declaration((PEOPLE, CARDS), (mirror,)).pairs
    assert pair.wanted == "coalesce(people.word = 'aye', false)"


def test_an_unknown_table_is_no_silent_none() -> None:
    with pytest.raises(KeyError):
        DECLARATION.table("nowhere")


def test_a_copy_with_two_sources_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = (Copy(Place("cards", "name")),)
    twice = (Mirror("name", Place("people", "name"), copy, "f"), Mirror("nick", Place("people", "nick"), copy, "f"))
    monkeypatch.setattr(mirrors, "_registered", [Declaration((PEOPLE, CARDS), twice)])
    assert [problem.id for problem in checks.check_declaration(None)] == ["sync.E001"]


def test_ours_is_accepted() -> None:
    assert checks.check_declaration(None) == []


def test_without_a_declaration_the_engine_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "_registered", [])
    with pytest.raises(LookupError, match="register"):
        mirrors.declaration()
