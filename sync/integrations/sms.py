"""Short messages by a provider that takes JSON over HTTP and honours an idempotency key."""

import json

from django.conf import settings

from sync.integrations.base import ask

SERVICE = "sms"


def is_configured() -> bool:
    """Whether there is a provider."""
    return bool(settings.SMS_URL)


def send(*, to: str, text: str, key: str) -> None:
    """Send one message; of one key the provider sends one, however often it is asked. Raises CallFailed."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if settings.SMS_SECRET:
        headers["Authorization"] = f"Bearer {settings.SMS_SECRET}"
    ask("POST", settings.SMS_URL, body=json.dumps({"to": to, "text": text}), headers=headers)
