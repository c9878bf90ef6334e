"""Stands in for an analytics service that is told of events by HTTP."""

import json

from tests.stand_ins.base import Answer, Protocol, Request


class Service(Protocol):
    """`POST /` takes one event; a key that it has seen is one event."""

    def answer(self, request: Request) -> Answer:
        """Take an event that has a name and says about whom it is."""
        event = json.loads(request.body)
        if request.method != "POST" or not {"event", "id"} <= event.keys():
            return Answer(400, {"error": "no event"})
        return Answer(202, {"queued": 1}, is_effect=True)
