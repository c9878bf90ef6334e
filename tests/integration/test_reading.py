"""Numbers of a page are read within bounds that nobody else gets."""

from collections.abc import Iterator

import pytest
from django.db import connection

from interventions.admin import reading
from tests import fakes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[False, True], ids=["each", "together"])
def together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether the bounds were set once for several, with which no wait is long."""
    monkeypatch.setattr(reading, "READ_MS", 50)
    monkeypatch.setattr(reading, "LOCK_MS", 40)
    if not request.param:
        yield False
        return
    with reading.bounds():
        yield True


def now() -> list[str]:
    return [fakes.sql(f"SHOW {name}")[0][0] for name in ("statement_timeout", "lock_timeout")]


def test_a_number_that_takes_too_long_is_unknown_and_spoils_no_other(together: bool) -> None:
    assert reading.read(now).value == ["50ms", "40ms"]
    assert not reading.read(lambda: fakes.sql("SELECT pg_sleep(20)")).is_known
    assert reading.read(now).value == ["50ms", "40ms"]


def test_the_bounds_are_for_the_page_alone() -> None:
    before = now()
    with reading.bounds():
        assert now() != before
    assert now() == before
    reading.read(now)
    assert now() == before


def test_after_a_lost_connection_each_sets_bounds_of_its_own() -> None:
    before = now()
    with reading.bounds():
        connection.close()
        assert not reading.read(lambda: fakes.sql("SELECT 1 / 0")).is_known
        assert reading.read(now).value == ["2s", "100ms"]
    assert now() == before
