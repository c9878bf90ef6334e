"""Stands in for a provider of short messages: `POST /` takes `to` and `text` under an Idempotency-Key."""

import json

from tests.stand_ins.base import Answer, Protocol, Request


class Service(Protocol):
    """Asks for the bearer's token `SMS_SECRET` where the environment has one, and refuses what is no number."""

    def answer(self, request: Request) -> Answer:
        """Send the message, once for each key."""
        secret = self.environment.get("SMS_SECRET")
        if secret and request.headers.get("authorization") != f"Bearer {secret}":
            return Answer(401, {"error": "token"})
        message = json.loads(request.body)
        if not str(message.get("to", "")).startswith("+") or not message.get("text"):
            return Answer(422, {"error": "number"})
        return Answer(202, {"status": "accepted"}, is_effect=True)
