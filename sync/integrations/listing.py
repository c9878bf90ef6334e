"""Public directories: signed messages by Standard Webhooks say whom to publish and whom to withdraw."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from django.conf import settings
from standardwebhooks.webhooks import Webhook

from sync import secrets
from sync.backoff import NO_CREDENTIALS, NOT_EQUAL
from sync.integrations.base import WITHDRAWN, Answer, CallFailed, Lane, Message, Publishing, ask
from sync.models import Endpoint

TEST = "endpoint.test"


class Listing(Publishing):
    """`LISTING_URL` is one; staff may enter more, each a target of its own: a bad one never holds back a good one."""

    def lanes(self) -> list[Lane]:
        """Give the environment's, and those of staff that are on."""
        found = []
        if settings.LISTING_URL:
            given = (settings.LISTING_SECRET,) if settings.LISTING_SECRET else ()
            found.append(Lane("listing", settings.LISTING_URL, settings.LISTING_READ_URL, given))
        return found + [lane_of(endpoint) for endpoint in Endpoint.objects.filter(is_on=True).order_by("pk")]

    def call(self, lane: Lane, message: Message) -> Answer:
        """Publish or withdraw, and read that back where the directory lets us."""
        data: dict[str, Any] = {"id": message.person_id, "revision": message.revision}
        if message.word != WITHDRAWN:
            data["profile"] = public(message.values)
        kind = "profile.withdrawn" if message.word == WITHDRAWN else "profile.published"
        counts = post(lane, key=message.key, kind=kind, data=data)
        return Answer(counts, is_verified=bool(lane.read_url) and _reads_back(lane, data))


def lane_of(endpoint: Endpoint) -> Lane:
    """Give an endpoint's lane; without its secrets where they cannot be opened, which a call then says."""
    sealed = [word for word in (endpoint.secret, endpoint.older_secret) if word]
    opened = tuple(word for word in map(secrets.opened, sealed) if word is not None)
    return Lane(f"listing-{endpoint.pk}", endpoint.url, endpoint.read_url, opened if len(opened) == len(sealed) else ())


def public(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the public may see, and nothing else."""
    return {
        "full_name": values["name"],
        "bio": values["bio"],
        "experience_years": values["experience_years"],
        "specialization": values["specialization"],
        "avatar_url": urljoin(settings.BASE_URL, values["avatar"]) if values["avatar"] else None,
    }


def post(lane: Lane, *, key: str, kind: str, data: Mapping[str, Any]) -> dict[str, int]:
    """Send one signed message; gives what the directory says it did. Raises CallFailed."""
    if not lane.secrets:
        raise CallFailed(NO_CREDENTIALS)
    at = dt.datetime.now(dt.UTC)
    body = json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data})
    try:
        signatures = " ".join(Webhook(secret).sign(key, at, body) for secret in lane.secrets)
    except (ValueError, RuntimeError) as error:  # no base64
        raise CallFailed(NO_CREDENTIALS) from error
    headers = {
        "Content-Type": "application/json", "webhook-id": key, "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signatures,
    }  # fmt: skip
    return ask("POST", lane.url, body=body, headers=headers).counts()


def _reads_back(lane: Lane, data: Mapping[str, Any]) -> bool:
    """Whether the directory shows what it was told. It shows something newer: then it is told that again. Raises CallFailed."""
    reply = ask(
        "GET", f"{lane.read_url.rstrip('/')}/{data['id']}", headers={"Accept": "application/json"}, missing=True
    )
    if "profile" not in data:
        if reply.status != 404:
            raise CallFailed(NOT_EQUAL, detail="still shown")
        return True
    shown = reply.json() if reply.status != 404 else None
    if not isinstance(shown, dict) or shown.get("profile") != data["profile"]:
        raise CallFailed(NOT_EQUAL, detail="another profile is shown")
    return True
