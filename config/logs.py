"""Structured logs: constant event names, data in fields, the request's id on every line, never a person's data."""

import logging
import logging.config
from typing import Any

import structlog

from interventions.correlation import request_id


def configure(config: dict[str, Any]) -> None:
    """Set up logging. `config` is {"format": "json" | "console", "level": name}."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
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
                        structlog.processors.format_exc_info,
                        renderer,
                    ],
                }
            },
            "handlers": {"stream": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stream"], "level": config["level"]},
            "loggers": {
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
