"""What a save over the API costs, and a key; and what fifty who send the same at once get, also while the web is killed."""

from tests import measuring  # isort: skip - first, because it sets Django up
import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from threading import Barrier

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connections
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication
from rest_framework.generics import UpdateAPIView
from rest_framework.serializers import ModelSerializer

from interventions.models import Intervention, KeyedRequest, RetryRun
from tests import fakes
from tests.factories import UserFactory, therapists
from tests.measuring import Figure, Sample
from tests.processes import PROJECT, Copy, until
from therapists.models import Enrollment, User, UserType
from therapists.roles import LEAD

ME, RUNS, ASKED = "/api/v1/therapists/me/", "/api/v1/runs/", {"target": "therapist_profiles"}
MOST_MS, MOST_RATIO, BURST_MS, WHOLE_RATIO = 0.5, 1.15, 100, 1.6
BARE, PLAIN, KEYED = "one row by the framework alone", "saved", "saved with a key"


@dataclass(frozen=True)
class Reply:
    """What one of many who sent the same got in the end, and how long it took them."""

    status: int
    body: bytes
    is_replayed: bool
    seconds: float = 0.0


Send = Callable[[str], Reply]


class _Bio(ModelSerializer[Enrollment]):
    class Meta:
        model = Enrollment
        fields = ("bio",)


class _OneRow(UpdateAPIView[Enrollment]):
    """What anybody writes first: no key, no copies, no answer about copies, no bounds."""

    authentication_classes = (SessionAuthentication,)
    throttle_classes = ()
    queryset = Enrollment.objects.all()
    serializer_class = _Bio


urlpatterns = [path("bare/<int:pk>/", _OneRow.as_view()), path("", include("config.urls"))]


def overhead(rounds: int) -> dict[str, Sample]:
    """
    Save a profile without a key and with one, in turns: the whole request, without the network.

    Beside them one row of it is saved by a view of the framework's own, in a session of its own in which every trigger is
    asleep: PostgreSQL forgets all plans of a session in which triggers are sent to sleep or woken.
    """
    client, number = Client(headers={"host": "localhost"}), count()
    (person,) = therapists(1)
    client.force_login(person)
    bare = f"/bare/{Enrollment.objects.get(user=person).pk}/"

    def saved(*, is_keyed: bool) -> None:
        bio, headers = f"Text {next(number)}.", {"Idempotency-Key": f"k-{next(number)}"} if is_keyed else {}
        answer = client.patch(ME, {"bio": bio}, "application/json", headers=headers)
        assert (answer.status_code, answer.json()["degraded"]) == (200, False)

    def saved_bare() -> float:
        started = time.perf_counter()
        answer = client.patch(bare, {"bio": f"Text {next(number)}."}, "application/json")
        spent = time.perf_counter() - started
        assert answer.status_code == 200
        return spent

    with ThreadPoolExecutor(1, initializer=fakes.sql, initargs=("SET session_replication_role = replica",)) as asleep:
        ways: dict[str, Callable[[], object]] = {
            BARE: lambda: asleep.submit(saved_bare).result(),
            PLAIN: partial(saved, is_keyed=False),
            KEYED: partial(saved, is_keyed=True),
        }
        with override_settings(ROOT_URLCONF="tests.bench_keys"):
            found = measuring.interleaved(ways, rounds=rounds, warm_up=min(rounds, 20))
        assert asleep.submit(fakes.sql, "SHOW session_replication_role").result() == [("replica",)]
        asleep.submit(connections.close_all)
    return found


def lead_with_work() -> User:
    """Give staff who may retry in bulk, and an item that can be: every bulk retry that is started leaves its row."""
    person, lead = therapists(1)[0], UserFactory.create(user_type=UserType.STAFF, is_staff=True)
    lead.groups.add(Group.objects.get(name=LEAD))
    Intervention.objects.create(
        operation="sync", entity_id=str(person.pk), person_id=person.pk, target="therapist_profiles", error="x"
    )
    return lead


def bursts(callers: Sequence[Send], keys: int, disturb: Callable[[int], None] = lambda number: None) -> list[Reply]:
    """
    Let all callers send the same at once, once for each key; give every reply.

    Each key must have had one effect, and all of its replies the same bytes.
    """
    before, together, replies = RetryRun.objects.count(), Barrier(len(callers)), list[Reply]()

    def sent(send: Send, key: str) -> Reply:
        together.wait(60)
        started = time.perf_counter()
        reply = send(key)
        return Reply(reply.status, reply.body, reply.is_replayed, time.perf_counter() - started)

    with ThreadPoolExecutor(len(callers)) as threads:
        for number in range(keys):
            waiting = [threads.submit(sent, send, f"burst-{number}") for send in callers]
            disturb(number)
            found = [one.result() for one in waiting]
            assert {reply.status for reply in found} == {202}, {(r.status, r.body) for r in found}
            assert len({reply.body for reply in found}) == 1, "the same key was answered in several ways"
            replies += found
    assert RetryRun.objects.count() - before == keys, "a key had no effect, or several"
    assert KeyedRequest.objects.filter(key__startswith="burst-").count() == keys
    return replies


def in_process(session: str) -> Send:
    """Give a caller in a thread of this process, who closes what they opened."""

    def send(key: str) -> Reply:
        client = Client(raise_request_exception=False)
        client.cookies[settings.SESSION_COOKIE_NAME] = session
        try:
            answer = client.post(RUNS, ASKED, "application/json", headers={"Idempotency-Key": key})
        finally:
            connections.close_all()
        return Reply(answer.status_code, answer.content, "Idempotent-Replayed" in answer)

    return send


def over_http(port: int, session: str) -> Send:
    """Give a caller with a connection of their own, who asks again with the same key until there is an answer."""
    token = "t" * 32
    headers = {
        "Cookie": f"{settings.SESSION_COOKIE_NAME}={session}; csrftoken={token}", "X-CSRFToken": token,
        "Content-Type": "application/json",
    }  # fmt: skip
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(key: str) -> Reply:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                wire.request("POST", RUNS, json.dumps(ASKED), headers | {"Idempotency-Key": key})
                answer = wire.getresponse()
                body = answer.read()
                if answer.status not in {409, 502, 503} or (b"in_flight" not in body and answer.status == 409):
                    return Reply(answer.status, body, answer.headers.get("Idempotent-Replayed") == "true")
            except (OSError, http.client.HTTPException):
                wire.close()
            time.sleep(0.05)
        return Reply(0, b"", False)

    return send


@contextmanager
def web() -> Iterator[Copy]:
    """
    Run a web process on this process's servers, and run it again whenever it ends, as whatever keeps it does.

    Of two deaths of its serving process within some seconds it makes an end of itself.
    """
    with tempfile.TemporaryDirectory(prefix="keepwell-keys-") as folder:
        Path(folder).chmod(0o755)
        copy = Copy(Path(folder) / "var")
        command, environment = copy.command("--only", "web")
        environment |= {"DATABASE_URL": os.environ["DATABASE_URL"], "REDIS_URL": os.environ["REDIS_URL"]}
        with copy.output.open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", 'while :; do "$@"; done', "sh", *command], env=environment | {"SECRET_KEY": settings.SECRET_KEY},
                stdout=output, stderr=output, cwd=PROJECT, start_new_session=True,
            )  # fmt: skip
        try:
            until(lambda: _is_live(copy.port), seconds=60, what="A web process")
            yield copy
        finally:
            # The loop first, or it would go on.
            process.kill()
            os.killpg(process.pid, signal.SIGTERM)
            until(lambda: not copy.leftovers(), seconds=30, what="The end of the web process")
            process.wait()


def _is_live(port: int) -> bool:
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        wire.request("GET", "/health/live")
        return wire.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        wire.close()


def killing(copy: Copy, keys: int, kills: int) -> Callable[[int], None]:
    """Give what kills the process that serves, in the middle of so many of the bursts; its master starts another."""
    at = {number * keys // kills for number in range(kills)} if kills else set[int]()

    def kill(number: int) -> None:
        if number not in at:
            return
        until(lambda: bool(_serving(copy)), seconds=60, what="Somebody to be killed")
        time.sleep(0.01 * (number % 8))  # another moment each time
        children = _serving(copy)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    return kill


def _serving(copy: Copy) -> list[str]:
    master = copy.pid("web")
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return []


def figures(costs: dict[str, Sample], calm: Sequence[Reply], killed: Sequence[Reply], kills: int) -> list[Figure]:
    """Give the lines of docs/benchmarks.md."""
    extra = 1000 * (costs[KEYED].median - costs[PLAIN].median)
    ratio = costs[KEYED].ratio_to(costs[PLAIN])
    p99 = 1000 * Sample("burst", tuple(reply.seconds for reply in calm)).p99
    whole = costs[KEYED].ratio_to(costs[BARE])
    return [
        Figure(
            "PATCH of the profile with key, copies and ledger, times one row by the framework alone", f"≤ {WHOLE_RATIO} x",
            f"{whole:.2f} x ({1000 * costs[BARE].median:.1f} ms alone)", whole <= WHOLE_RATIO,
        ),
        Figure(
            "what an idempotency key costs a PATCH of the profile", f"≤ {MOST_MS} ms, ≤ {MOST_RATIO} x",
            f"{extra:.2f} ms, {ratio:.2f} x ({1000 * costs[PLAIN].median:.1f} ms without)",
            extra <= MOST_MS and ratio <= MOST_RATIO,
        ),
        Figure(
            "many at once with one key; p99 of a reply", f"one effect and the same bytes; ≤ {BURST_MS} ms",
            f"one effect each, the same bytes for {len(calm)} replies; {p99:.0f} ms", p99 <= BURST_MS,
        ),
        Figure(
            f"the same, the web killed {kills} times", "one effect and the same bytes",
            f"one effect each, the same bytes for {len(killed)} replies", True,
        ),
    ]  # fmt: skip


def main() -> int:
    """Measure on servers of our own and print a table; 1 when a figure is not reached."""
    asked = measuring.arguments(__doc__, rounds=400, at_once=50, keys=200, kills=20)
    with measuring.bench():
        costs = overhead(asked.rounds)
        client = Client()
        client.force_login(lead_with_work())
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        with web() as copy:
            callers = [over_http(copy.port, session) for _ in range(asked.at_once)]
            bursts(callers, 2)
            KeyedRequest.objects.all().delete()
            calm = bursts(callers, asked.keys)
            KeyedRequest.objects.all().delete()
            killed = bursts(callers, asked.keys, killing(copy, asked.keys, asked.kills))
        return measuring.report(figures(costs, calm, killed, asked.kills))


if __name__ == "__main__":
    raise SystemExit(main())
