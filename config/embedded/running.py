"""Start both servers for as long as somebody needs them, and know when a server answers."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from config.embedded import postgres, valkey
from config.embedded.lock import hold_servers
from config.embedded.places import EmbeddedServerError, database_url, redis_url
from config.embedded.program import Program


@dataclass(frozen=True)
class Servers:
    """Where the running servers are reached."""

    database_url: str
    redis_url: str


@contextmanager
def servers(var_dir: Path) -> Iterator[Servers]:
    """
    Run PostgreSQL and Valkey over `var_dir` inside the block; both are stopped at its end, and when we are killed.

    Raise EmbeddedServerError when they cannot be started.
    """
    with ExitStack() as stack:
        lock = hold_servers(var_dir)
        stack.callback(os.close, lock)
        for what, prepare, answers in (
            ("PostgreSQL", postgres.prepared, lambda: database_answers(database_url(var_dir))),
            ("Valkey", valkey.prepared, lambda: redis_answers(redis_url(var_dir))),
        ):
            stack.enter_context(_serving(what, prepare, answers, var_dir, lock))
        yield Servers(database_url(var_dir), redis_url(var_dir))


@contextmanager
def _serving(
    what: str, prepare: Callable[[Path], Program], answers: Callable[[], bool], var_dir: Path, lock: int
) -> Iterator[None]:
    """Run a server that answers; a port that somebody took between its choice and its use is chosen again."""
    has_answered = False
    while not has_answered:
        program = prepare(var_dir)
        lost = partial(program.has_lost_port, var_dir, since=program.log_size(var_dir))
        with _running(program, var_dir, lock):
            wait_for(what, partial(_any_of, answers, lost))
            if has_answered := not lost():
                yield


def _any_of(*questions: Callable[[], bool]) -> bool:
    return any(ask() for ask in questions)


@contextmanager
def _running(program: Program, var_dir: Path, lock: int) -> Iterator[None]:
    with program.log_file(var_dir).open("ab") as log:
        guard = program.start(var_dir, locks=[lock], output=log)
    try:
        yield
    finally:
        guard.terminate()
        try:
            guard.wait(program.grace + 5)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()


def wait_for(what: str, is_ready: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait until it answers; raise EmbeddedServerError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"{what} does not answer after {seconds:.0f} s.")
        time.sleep(0.05)


def database_answers(url: str) -> bool:
    """Tell whether PostgreSQL takes a connection."""
    try:
        psycopg.connect(f"postgresql://{url.partition('://')[2]}", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def redis_answers(url: str) -> bool:
    """Tell whether Redis or Valkey is there and has read its data."""
    client = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()
