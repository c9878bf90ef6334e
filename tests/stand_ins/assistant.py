"""Stands in for a language model: `POST /v1/chat/completions` answers with a text that says what it was told about."""

import json

from tests.stand_ins.base import Answer, Protocol, Request


def suggestion(told: str) -> str:
    """Say what was told, of a therapist in a sentence as one would write it."""
    try:
        facts = json.loads(told)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        return f"A suggestion about: {told}"
    years, about = facts.get("experience_years"), facts.get("specialization") or "what weighs on you"
    since = f"For {years} years I have helped people" if years else "I help people"
    return f"{since} with {about}. We begin with where you are now, and with what you would like to be different."


class Service(Protocol):
    """Asks for the bearer's token `ASSISTANT_SECRET` where the environment has one; each call has an effect: it costs."""

    def key(self, request: Request) -> str | None:
        """It has none: the same question twice is answered twice."""
        return None

    def answer(self, request: Request) -> Answer:
        """Answer in the shape of a completion."""
        secret = self.environment.get("ASSISTANT_SECRET")
        if secret and request.headers.get("authorization") != f"Bearer {secret}":
            return Answer(401, {"error": {"message": "Incorrect API key provided"}})
        if request.method != "POST" or request.path != "/v1/chat/completions":
            return Answer(404, {"error": {"message": "Unknown request URL"}})
        asked = json.loads(request.body)
        told = asked["messages"][-1]["content"]
        message = {"role": "assistant", "content": suggestion(told)}
        return Answer(200, {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}, is_effect=True)
