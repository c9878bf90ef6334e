"""Anything that a program may hand over by mistake, for property tests."""

import datetime as dt
import io
import uuid
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st


class Mute:
    """Cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def _itself(inside: Any) -> list[Any]:
    found = [inside]
    found.append(found)
    return found


def _raised(kind: type[Exception], args: list[Any]) -> Exception:
    return kind(*args)


def anything() -> st.SearchStrategy[Any]:
    """Give texts with lone surrogates and NUL, numbers that are none, bytes, things, exceptions, structures of these."""
    plain = st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(min_value=10**400, max_value=10**401), st.floats(),
        st.text(st.characters(codec=None)), st.binary(), st.decimals(), st.complex_numbers(), st.datetimes(),
        st.dates(), st.times(), st.timedeltas(), st.uuids(), st.builds(object), st.builds(Mute), st.just(Mute),
        st.builds(io.BytesIO), st.just(Decimal("sNaN")), st.just(uuid.UUID), st.just(dt.UTC),
    )  # fmt: skip
    return st.recursive(
        plain,
        lambda inside: st.one_of(
            st.lists(inside, max_size=5),
            st.tuples(inside, inside),
            st.dictionaries(
                st.one_of(st.text(st.characters(codec=None)), st.integers(), st.none()), inside, max_size=5
            ),
            st.builds(_itself, inside),
            st.builds(
                _raised, st.sampled_from([Exception, KeyError, OSError, ValueError]), st.lists(inside, max_size=3)
            ),
        ),
        max_leaves=12,
    )
