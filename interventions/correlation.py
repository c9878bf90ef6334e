"""The id under which everything that one request or task caused can be found."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
