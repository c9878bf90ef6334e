"""P1, P2, P3, P7 and P8 under every order of events that Hypothesis thinks of, against real PostgreSQL."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from sync import doorbell, triggers
from tests import fakes
from tests.concurrency.machine import CLEAR, PREPARE, Engine, Stage
from tests.concurrency.writers import Writer, connect
from tests.conftest import KEPT_TABLES

# `make state-machine` plays longer, at random, and shrinks what it finds.
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "0"))
SHORT = settings(
    max_examples=40, stateful_step_count=60, derandomize=True, phases=[Phase.generate], deadline=None, database=None,
    suppress_health_check=list(HealthCheck), print_blob=True,
)  # fmt: skip
LONG = settings(
    SHORT, max_examples=EXAMPLES or 1, stateful_step_count=50, derandomize=False, phases=[Phase.generate, Phase.shrink]
)


@pytest.fixture
def stage(transactional_db: None) -> Iterator[Stage]:
    """Two writers' connections, one that only looks, and tables that can be told to fail."""
    ring, doorbell.bell._send = doorbell.bell._send, None
    fakes.sql(PREPARE)
    fakes.sql("SET lock_timeout = '300ms'")
    with psycopg.connect(fakes.database_url(), autocommit=True) as eye, connect() as one, connect() as two:
        tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - KEPT_TABLES)
        empty = "; ".join(f'DELETE FROM "{table}"' for table in tables)
        yield Stage(eye, [Writer(one), Writer(two)], empty)
    fakes.sql(CLEAR + "RESET lock_timeout")
    triggers.enable()
    doorbell.bell._send = ring


@pytest.mark.timeout(600 + EXAMPLES)
def test_p1_p2_p3_p7_p8_whatever_happens_in_whatever_order(stage: Stage) -> None:
    Engine.stage = stage
    run_state_machine_as_test(Engine, settings=LONG if EXAMPLES else SHORT)
