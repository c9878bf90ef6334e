"""The id under which everything that one request or task caused can be found."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeGuard

request_id: ContextVar[str] = ContextVar("request_id", default="")
# Where a request itself bears it, for whoever speaks of the request when it is over.
ID_IN_REQUEST = "keepwell.request_id"

# Whose request this is, as history names people; asked for only where somebody writes, for it may cost a look-up.
actor: ContextVar[Callable[[], str]] = ContextVar("actor", default=lambda: "")

_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_harmless(given: object) -> TypeGuard[str]:
    """Tell whether an id that somebody else gave may stand in logs, headers and history."""
    return isinstance(given, str) and _HARMLESS.fullmatch(given) is not None
