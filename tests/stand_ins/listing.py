"""Stands in for a public directory that takes signed webhooks (Standard Webhooks) and shows what was published."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from tests.stand_ins.base import Answer, Protocol, Request

SECRET = "whsec_c3RhbmQtaW4tc2VjcmV0LW9mLTMyLWJ5dGVzLi4u"
TOLERANCE_SECONDS = 300


class Service(Protocol):
    """`POST /` takes `profile.published` and `profile.withdrawn`; `GET /profiles/{id}` gives what it shows."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Check signatures by `LISTING_SECRET` of the environment, or by the one above."""
        super().__init__(environment)
        self.shown: dict[str, dict[str, Any]] = {}

    def forget(self) -> None:
        """Show nobody."""
        self.shown.clear()

    def key(self, request: Request) -> str | None:
        """The message's id is its key."""
        return request.headers.get("webhook-id") if request.method == "POST" else None

    def answer(self, request: Request) -> Answer:
        """Publish or withdraw, if the signature is right; what is older than what is shown changes nothing."""
        if request.method == "GET":
            shown = self.shown.get(request.path.rpartition("/")[2])
            return Answer(200, shown) if shown and shown["profile"] else Answer(404, {"error": "unknown"})
        if not self._is_signed(request):
            return Answer(401, {"error": "signature"})
        message = json.loads(request.body)
        data, person = message["data"], str(message["data"]["id"])
        counts = {"published": 0, "queued": 0, "skipped": 0}
        known = self.shown.get(person, {"revision": 0})
        if data["revision"] < known["revision"]:
            return Answer(200, counts | {"skipped": 1}, is_effect=True)
        self.shown[person] = {"revision": data["revision"], "profile": data.get("profile")}
        return Answer(200, counts | {"published": 1}, is_effect=True)

    def _is_signed(self, request: Request) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        message_id, timestamp, signatures = (request.headers.get(name, "") for name in names)
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
            return False
        secret = base64.b64decode(self.environment.get("LISTING_SECRET", SECRET).removeprefix("whsec_"))
        signed = f"{message_id}.{timestamp}.{request.body}".encode()
        wanted = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        return any(hmac.compare_digest(f"v1,{wanted}", given) for given in signatures.split())
