"""Whom the tests of interleavings write, and the process that is killed."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import fakes
from tests.factories import therapist
from tests.victims import Victims, waiting
from therapists.models import User


@pytest.fixture
def ada(transactional_db: None) -> User:
    """One therapist with all three rows, in line."""
    person = therapist("Ada Quist")
    fakes.settled()
    return person


@pytest.fixture(scope="module")
def victims(django_db_setup: None, django_db_blocker: Any) -> Iterator[Victims]:
    """A process that forks for each piece of work and dies where it is told to."""
    with tempfile.TemporaryDirectory() as folder, django_db_blocker.unblock(), waiting(Path(folder)) as found:
        yield found
