"""How many doorbells lie in the broker. A heap means that nobody takes them; losing them costs seconds, never a copy."""

from collections.abc import Callable

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sync.vitals.parts import Part, Verdict, counted, unknown, worst

QUEUES = ("high", "normal", "low")
# The transport keeps one list for each step of priority; a message in somebody's hands lies in a hash of its own.
STEPS = ("", "\x06\x163", "\x06\x166", "\x06\x169")
UNACKED = "unacked"
MANY = 1_000
WAIT_SECONDS = 0.5


def look(note: Callable[[str, Part], None]) -> None:
    """Note how long the queues are; within a second also where nobody answers."""
    try:
        with Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=WAIT_SECONDS, socket_timeout=WAIT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as server, server.pipeline(transaction=False) as pipe:  # fmt: skip
            for queue in QUEUES:
                for step in STEPS:
                    pipe.llen(queue + step)
            pipe.hlen(UNACKED)
            *lengths, unacked = [int(number) for number in pipe.execute()]
    except (RedisError, OSError) as error:
        says = f"Redis does not answer ({type(error).__name__}): workers are woken by nobody, and owed rows wait for it"
        note("queues", unknown("queues", says))
        return
    found = {queue: sum(lengths[n * len(STEPS) : (n + 1) * len(STEPS)]) for n, queue in enumerate(QUEUES)}
    says = ", ".join(f"{queue} {number:,}" for queue, number in found.items())
    says += f"; {counted(unacked, 'message')} in workers' hands"
    verdict = worst((sum(found.values()) > MANY, Verdict.WORRYING))
    note("queues", Part("queues", verdict, says, {"waiting": found, "unacknowledged": unacked}))
