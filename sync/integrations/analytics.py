"""Analytics: told that something about somebody changed, by their id alone; whatever else can wait goes before it."""

import json

from django.conf import settings

from sync.integrations.base import Answer, Lane, Message, Publishing, ask


class Analytics(Publishing):
    """`ANALYTICS_URL`, with `ANALYTICS_SECRET` as a bearer's token where there is one."""

    def lanes(self) -> list[Lane]:
        """Give the one of the environment."""
        secrets = (settings.ANALYTICS_SECRET,) if settings.ANALYTICS_SECRET else ()
        return [Lane("analytics", settings.ANALYTICS_URL, secrets=secrets)] if settings.ANALYTICS_URL else []

    def call(self, lane: Lane, message: Message) -> Answer:
        """Tell whose data changed, and how often it has; nothing of what it is."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key}
        if lane.secrets:
            headers["Authorization"] = f"Bearer {lane.secrets[0]}"
        body = {"event": "profile.changed", "id": message.person_id, "revision": message.revision}
        return Answer(ask("POST", lane.url, body=json.dumps(body), headers=headers).counts())
