"""Whom the tests of interleavings write."""

import pytest

from tests import fakes
from tests.factories import therapist
from therapists.models import User


@pytest.fixture
def ada(transactional_db: None) -> User:
    """One therapist with all three rows, in line."""
    person = therapist("Ada Quist")
    fakes.settled()
    return person
