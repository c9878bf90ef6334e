"""How soon, and at what price, one streams process tells everybody who has a stream open that something was written."""

from tests import conftest  # noqa: F401 # isort: skip - first, because it sets Django up
import asyncio
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests import fakes, measuring
from tests.measuring import Figure
from tests.streaming import EVENTS, StreamsProcess
from therapists.demo.cast import signed_in
from therapists.models import User

_WRITE = """
UPDATE therapist_enrollments SET bio = coalesce(bio, '') || '.'
WHERE id = (SELECT id FROM therapist_enrollments ORDER BY revision, id LIMIT 1) RETURNING revision
"""
P50_MS, P99_MS = 40.0, 110.0
AT_ONCE, EACH = 100, 20
_TOLD = re.compile(rb'"topic": "profile.updated", "id": "\d+", "revision": (\d+)')


class Client(asyncio.Protocol):
    """Somebody with a stream open, who only notes when what came."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers, self.is_open = headers, False
        self.came: list[tuple[float, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        words = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        self.transport.write(f"GET {EVENTS}?topics=profile.updated HTTP/1.1\r\nHost: here\r\n{words}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.came.append((time.perf_counter(), data))
        self.is_open = self.is_open or b"event: ready" in data


@dataclass(frozen=True)
class Told:
    """What writes took to reach everybody, in milliseconds, and what the process is then."""

    clients: int
    took: tuple[float, ...]
    missing: int
    kilobytes: float
    sessions: int

    @property
    def p50(self) -> float:
        """The middle one."""
        return statistics.median(self.took)

    @property
    def p99(self) -> float:
        """What 99 of 100 stay below."""
        return sorted(self.took)[len(self.took) * 99 // 100]

    @property
    def said(self) -> str:
        """All of it in a line."""
        return (
            f"p50 {self.p50:.0f} ms, p99 {self.p99:.0f} ms; {self.missing} of {len(self.took) + self.missing} missing;"
            f" {self.kilobytes:.0f} kB each; {self.sessions} session"
        )


def measure(directory: Path, *, clients: int, writes: int, between: float) -> Told:
    """Open the streams, each of somebody of the staff who hears of everybody, and write a bio again and again."""
    names = [f"staff{number}@example.org" for number in range(-(-clients // EACH))]
    User.objects.filter(email__in=names).delete()
    people = [User(email=name, is_staff=True, is_superuser=True, user_type="staff") for name in names]
    staff = [signed_in(person) for person in User.objects.bulk_create(people)]
    process = StreamsProcess(directory, settings={"STREAMS_MOST": str(clients), "STREAMS_PER_PERSON": str(EACH)})
    process.start()
    try:
        with psycopg.connect(fakes.database_url(), autocommit=True) as session:
            return asyncio.run(_told(process, session, staff, clients, writes, between))
    finally:
        process.stop()


async def _told(
    process: StreamsProcess,
    session: fakes.Connection,
    staff: Sequence[dict[str, str]],
    number: int,
    writes: int,
    between: float,
) -> Told:
    assert process.process
    pid = process.process.pid
    empty = measuring.resident_megabytes(pid)
    clients = await _joined(process.port, [staff[at // EACH] for at in range(number)])
    await asyncio.sleep(1)
    began = []
    for _ in range(writes):
        began.append(await asyncio.to_thread(_write, session))
        await asyncio.sleep(between)
    await asyncio.sleep(2)
    kilobytes = (measuring.resident_megabytes(pid) - empty) * 1024 / number
    sessions = await asyncio.to_thread(_sessions, session)
    for client in clients:
        client.transport.close()
    at = dict(began)
    came = [(moment, data) for client in clients for moment, data in client.came]
    took = [
        (moment - at[int(found)]) * 1000 for moment, data in came for found in _TOLD.findall(data) if int(found) in at
    ]
    return Told(number, tuple(took), number * writes - len(took), kilobytes, sessions)


async def _joined(port: int, headers: Sequence[dict[str, str]]) -> list[Client]:
    """Open the streams, some at a time, and wait until each has had its first word."""
    loop, clients = asyncio.get_running_loop(), [Client(one) for one in headers]
    for start in range(0, len(clients), AT_ONCE):
        part = clients[start : start + AT_ONCE]
        for client in part:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        for _ in range(3000):
            if all(client.is_open for client in part):
                break
            await asyncio.sleep(0.02)
        assert all(client.is_open for client in part), [c.came for c in part if not c.is_open][:1]
    return clients


def _write(session: fakes.Connection) -> tuple[int, float]:
    """Write the bio of whoever was written longest ago; give the write's number and when it was committed."""
    row = session.execute(_WRITE).fetchone()
    assert row is not None
    return int(row[0]), time.perf_counter()


def _sessions(session: fakes.Connection) -> int:
    """Count the sessions of the streams process."""
    return session.execute(f"{fakes.OTHERS} AND application_name = 'keepwell-streams'").rowcount


def main() -> int:
    """Measure on servers of our own and print the lines."""
    given = measuring.arguments(__doc__, clients=1_000, writes=30, held=10_000)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with measuring.bench(), tempfile.TemporaryDirectory() as directory:
        measuring.crowd(50)
        told = measure(Path(directory), clients=given.clients, writes=given.writes, between=0.4)
        is_reached = told.p50 <= P50_MS and told.p99 <= P99_MS and not told.missing and told.sessions == 1
        reach = f"p50 ≤ {P50_MS:.0f} ms, p99 ≤ {P99_MS:.0f} ms, all delivered, one session"
        figures = [Figure(f"a write → {told.clients:,} streams of one process", reach, told.said, is_reached)]
        if given.held:
            held = measure(Path(directory), clients=given.held, writes=10, between=3.0)
            figures.append(
                Figure(f"{held.clients:,} streams of one process", "held; reported", held.said, not held.missing)
            )
        return measuring.report(figures)


if __name__ == "__main__":
    raise SystemExit(main())
