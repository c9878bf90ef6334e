"""Structured logs: constant event names, data in fields, the request's id on every line, never a person's data."""

import logging
import logging.config
import traceback
from collections.abc import Mapping
from typing import Any

import structlog

from interventions.correlation import ID_IN_REQUEST, request_id

# What these say quotes addresses, forms, and what PostgreSQL said of a row: the form of their sentence is kept alone.
QUOTING = ("django.", "celery.app.trace", "celery.worker.request", "axes", "allauth")
PLACES = 8


def configure(config: dict[str, Any]) -> None:
    """
    Set up logging. `config` is {"format": "json" | "console", "level": name, "is_open": bool}.

    Of an exception its kind, its SQLSTATE and its places are told, for its words may quote a row; where logs are open,
    as in development, all of it.
    """
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
        _without_quotes,
    ]
    errors = structlog.processors.format_exc_info if config.get("is_open") else _places
    is_json = config["format"] == "json"
    renderer = structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(colors=False)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        errors,
                        renderer,
                    ],
                }
            },
            "handlers": {"stream": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stream"], "level": config["level"]},
            "loggers": {
                # Django's own handlers would say the same a second time, with what we leave out.
                "django": {"handlers": [], "level": "INFO"},
                "django.db.backends": {"level": "WARNING"},
                # Four lines for each sign-in; what counts is said as a warning.
                "axes": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                # A line for every tick would hide what matters.
                "celery.beat": {"level": "WARNING"},
            },
        }
    )


def _add_request_id(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    if found := request_id.get():
        event["request_id"] = found
    return event


def _without_quotes(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Leave out what others put into a line of a request or a task; tell the view and the task by name instead."""
    record, request = event["_record"], event.pop("request", None)
    # Another handler, such as a collector of errors, leaves the finished sentence on the record.
    event.pop("message", None)
    if request is not None:
        match = getattr(request, "resolver_match", None)
        event |= {"view": match.view_name if match else "elsewhere", "method": getattr(request, "method", None)}
        # Django tells of an answer when its request is over.
        event.setdefault("request_id", getattr(request, "META", {}).get(ID_IN_REQUEST, ""))
    if record.name.startswith(QUOTING):
        event["event"] = str(record.msg) if request is None else record.name
        about = event.pop("data", None)
        if isinstance(about, Mapping):
            event |= {"task": about.get("name"), "task_id": about.get("id")}
    return event


def _places(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Tell of an exception what kind it is and where it came from, and nothing that it says."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
        event |= {
            "reason": type(error).__name__, "code": getattr(error.__cause__, "sqlstate", None),
            "places": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }  # fmt: skip
    event.pop("stack_info", None)
    return event
