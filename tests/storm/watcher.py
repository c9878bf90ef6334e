"""The oracle: `python -m tests.storm.watcher` looks ten times a second for what is silently behind, until told to end."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

from tests import oracle

EVERY_SECONDS = 0.1


def watch(url: str, report: Path) -> None:
    """Take one REPEATABLE READ snapshot after the other; the report says how many, and everything found in any."""
    found: dict[str, Any] = {"snapshots": 0, "with_differences": 0, "silent": [], "forgotten": [], "contradictions": []}
    is_over: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(True))
    connection: psycopg.Connection[tuple[Any, ...]] | None = None
    while not is_over:
        began = time.monotonic()
        try:
            if connection is None or connection.closed:
                connection = psycopg.connect(url, connect_timeout=2, application_name="oracle")
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            look(connection, found)
            report.write_text(json.dumps(found, default=str))
        except psycopg.Error:
            if connection:
                connection.close()
        time.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - began)))
    report.write_text(json.dumps(found | {"is_complete": True}, default=str))


def look(connection: "psycopg.Connection[tuple[Any, ...]]", found: dict[str, Any]) -> None:
    """Judge one snapshot."""
    with connection.transaction():
        differences = connection.execute(oracle.DIFFERENCES).fetchall()
        silent = connection.execute(oracle.SILENT).fetchall()
        forgotten = connection.execute(oracle.FORGOTTEN).fetchall()
        contradictions = connection.execute(oracle.CONTRADICTIONS).fetchall()
    found["snapshots"] += 1
    found["with_differences"] += bool(differences)
    found["silent"] += silent
    found["forgotten"] += forgotten
    found["contradictions"] += contradictions


if __name__ == "__main__":
    watch(sys.argv[1], Path(sys.argv[2]))
