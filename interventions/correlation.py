"""The id under which everything that one request or task caused can be found."""

from collections.abc import Callable
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")

# Whose request this is, as history names people; asked for only where somebody writes, for it may cost a look-up.
actor: ContextVar[Callable[[], str]] = ContextVar("actor", default=lambda: "")
