"""The drill's other half: break an outside service of the demo through what stands in for it, and mend it."""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from sync import ledger
from sync.doorbell import bell
from sync.integrations.base import WITHDRAWN
from sync.models import Ledger

SCRIPT = "/_control/script"
SECONDS = 2.0
# So many people have to be told anew at once: a breaker opens after five whom a service failed for, one after another.
TOLD_ANEW = 12


class ServiceAway(RuntimeError):
    """What stands in for the service does not answer. It is started again by itself: try again in a moment."""


@dataclass(frozen=True)
class Way:
    """One way in which a service fails."""

    name: str
    title: str
    step: dict[str, Any]


@dataclass(frozen=True)
class DemoService:
    """A service of the demo, and how it is now: `way` None: as it should be. Of one that is away nobody knows."""

    name: str
    title: str
    explanation: str
    way: Way | None
    is_away: bool = False

    @property
    def is_on(self) -> bool:
        """Whether it is broken on purpose."""
        return self.way is not None


WAYS = {
    way.name: way
    for way in (
        Way("5xx", "Answers 503 to everything", {"do": "status", "status": 503}),
        Way("reset", "Cuts every connection", {"do": "reset"}),
        Way("hang", "Takes what it is told and never answers", {"do": "hang", "seconds": 60}),
        Way("drip", "Answers drop by drop, without end", {"do": "drip", "seconds": 0.2}),
        Way("slow", "Takes three seconds for each answer", {"do": "slow", "seconds": 3}),
        Way("429", "Asks to be left alone: 429, Retry-After 20", {"do": "status", "status": 429, "retry_after": 20}),
        Way("4xx", "Refuses everything: 422", {"do": "status", "status": 422}),
        Way("401", "Knows our secret no more: 401", {"do": "status", "status": 401}),
        Way("lost", "Does what it is told, and its answers are lost", {"do": "lost"}),
        Way("bad_body", "Answers with half a text", {"do": "bad_body"}),
        Way("redirect", "Sends us to an address of this machine", {"do": "redirect"}),
    )
}
_TARGET = (
    f" As soon as it is broken, {TOLD_ANEW} people have to be told anew. Look at Targets, at the front page and at"
    " Health: its breaker opens after five of them, one intervention stands for all of them, and everything else goes"
    " on. Mended, it is found within half a minute. What it refuses (422, 401, a redirect) opens no breaker and waits for"
    " a person, also when it is mended: Retry all on the page of its cause. Where nobody can be told (401, a redirect)"
    " it is set up wrongly, and Targets says so."
)
_TOLD = {
    "listing": ("The public directory", f"It is told whom to show, and is read back.{_TARGET}"),
    "analytics": ("The analytics service", f"It is told by id that somebody's data changed.{_TARGET}"),
    "assistant": (
        "The language model",
        "It suggests a bio. Sign in as a therapist and ask for one under My profile: whoever asks is given what it"
        " said before, or a template, and is told so. After three failures it is not called for five minutes."
        " Look at Second bests.",
    ),
    "sms": (
        "The provider of text messages",
        "Send a reminder of a booking: it waits and follows by itself when the service is mended. Look at Second bests.",
    ),
}


def services() -> list[DemoService]:
    """List what stands in for a service here, as it says itself now; nothing does outside the demo."""
    return [_found(name) for name in settings.STAND_INS if name in _TOLD]


def knows(name: str) -> bool:
    """Whether this names a service of the demo, alone or with a way to fail as `listing:hang`."""
    service, colon, way = name.partition(":")
    return service in settings.STAND_INS and (not colon or way in WAYS)


def names() -> list[str]:
    """List what may be broken."""
    return [f"{service}:{way}" for service in settings.STAND_INS for way in WAYS]


def break_service(name: str) -> None:
    """Let a service fail in one way from now on, as in `listing:hang`, and give it something to fail with. Raises ServiceAway."""
    service, _, way = name.partition(":")
    _follow(service, [WAYS[way].step | {"name": way}])
    _tell_anew(service)


def mend_service(name: str) -> None:
    """Let a service work again. Raises ServiceAway."""
    _follow(name.partition(":")[0], [])


def _found(name: str) -> DemoService:
    title, explanation = _TOLD[name]
    try:
        steps = _ask(name, "GET")
    except ServiceAway:
        return DemoService(name, title, explanation, None, is_away=True)
    way = WAYS.get(str(steps[0].get("name")), Way("", "Does what somebody else told it", {})) if steps else None
    return DemoService(name, title, explanation, way)


def _follow(name: str, steps: list[dict[str, Any]]) -> None:
    _ask(name, "PUT", json.dumps(steps))


def _ask(name: str, method: str, body: str | None = None) -> list[dict[str, Any]]:
    address = urlsplit(settings.STAND_INS[name]).netloc
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    try:
        connection.request(method, SCRIPT, body)
        return list(json.loads(connection.getresponse().read())["script"])
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise ServiceAway(ServiceAway.__doc__) from error
    finally:
        connection.close()


def _tell_anew(target: str) -> None:
    """Owe the service some of those whom it shows or heard of, as if each had changed something."""
    told = Ledger.objects.filter(target=target, told__isnull=False).exclude(told=WITHDRAWN)
    people = list(told.order_by("person_id").values_list("person_id", flat=True)[:TOLD_ANEW])
    if not people:
        return
    with transaction.atomic():
        ledger.owe(people=people, targets=[target], reason="drill")
        transaction.on_commit(bell.ring, robust=True)
