"""What cannot be read is neither equal nor absent, and is asked for once."""

import pytest

from interventions.handlers import Cell
from sync import drift
from tests import fakes
from tests.factories import therapists

pytestmark = pytest.mark.django_db(transaction=True)
PROFILES = "therapist_profiles"


def cells(person: int, place: str) -> list[Cell]:
    comparison = drift.compare([(person, PROFILES)])[person, PROFILES]
    assert not comparison.is_equal
    facts = [row for row in comparison.rows if row.fact not in {"name", "email"}]  # no column repeats them
    return [cell for row in facts for cell in row.cells if cell.place == place]


def test_p8_a_locked_table_is_not_called_a_missing_row() -> None:
    person = therapists(1)[0].pk
    with fakes.locked_table(PROFILES):
        found = cells(person, PROFILES)
        assert all(cell.is_unread and not cell.is_absent for cell in found)
        assert fakes.milliseconds(lambda: drift.compare([(person, PROFILES)])) < 2000
        outlook = drift.compare([(person, PROFILES)])[person, PROFILES].outlook
    assert "cannot be read" in outlook


def test_p8_a_missing_row_is_called_missing() -> None:
    person = therapists(1)[0].pk
    fakes.sql("DELETE FROM therapist_profiles")
    assert all(cell.is_absent and not cell.is_unread for cell in cells(person, PROFILES))


def test_p8_a_renamed_column_is_unread_alone() -> None:
    person = therapists(1)[0].pk
    with fakes.renamed(PROFILES, "bio"):
        assert [cell.is_unread for cell in cells(person, PROFILES)].count(True) == 1
