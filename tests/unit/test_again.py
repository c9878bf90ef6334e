"""Trying a whole piece of work again: by class, bounded in tries and time, with jitter."""

from collections.abc import Callable, Iterator

import pytest
from django.db import DataError, OperationalError

from sync.again import Tries, is_conflict, retry_with_backoff


class Refusal(Exception):
    """What psycopg raises: it knows the SQLSTATE."""

    def __init__(self, code: str) -> None:
        self.sqlstate = code
        super().__init__("deadlock detected; could not serialize; Invalid")


def failing(*codes: str) -> Callable[[], int]:
    """Fail with one code after the other, then give how often it was run."""
    left: Iterator[str] = iter(codes)
    runs = 0

    def act() -> int:
        nonlocal runs
        runs += 1
        if (code := next(left, None)) is not None:
            raise OperationalError("40001 40P01") from Refusal(code)
        return runs

    return act


def run(act: Callable[[], int], tries: Tries | None = None) -> tuple[int | None, list[float]]:
    """Run it with waits that are as long as they may be, on a clock that they alone move."""
    waits: list[float] = []
    try:
        return retry_with_backoff(
            act, tries=tries, uniform=lambda least, most: most, sleep=waits.append, clock=lambda: sum(waits)
        ), waits
    except OperationalError:
        return None, waits


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_what_postgresql_undid_is_tried_again(code: str) -> None:
    assert run(failing(code, code)) == (3, [0.02, 0.04])


@pytest.mark.parametrize("code", ["23505", "55P03", "57014", "57P01", "08006", ""])
def test_nothing_else_is_whatever_its_message_says(code: str) -> None:
    assert run(failing(code)) == (None, [])
    assert not is_conflict(OperationalError("deadlock detected 40P01"))


def test_ends_after_so_many_tries() -> None:
    assert run(failing(*["40001"] * 9)) == (None, [0.02, 0.04, 0.08])


def test_begins_no_try_that_would_come_too_late() -> None:
    assert run(failing(*["40001"] * 9), Tries(most=99, seconds=0.1)) == (None, [0.02, 0.04])


def test_what_is_no_error_of_the_database_is_not_caught() -> None:
    def act() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        retry_with_backoff(act)


def test_somebody_else_s_rule_is_taken() -> None:
    runs = []

    def act() -> str:
        runs.append(1)
        if len(runs) == 1:
            raise DataError
        return "done"

    assert (
        retry_with_backoff(act, is_worth_it=lambda error: isinstance(error, DataError), sleep=lambda _: None) == "done"
    )
