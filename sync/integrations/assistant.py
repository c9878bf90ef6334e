"""A language model, asked on demand: whoever speaks `POST /v1/chat/completions` as OpenAI's does."""

import json

from django.conf import settings

from sync.backoff import BAD_ANSWER
from sync.integrations.base import CallFailed, ask

SERVICE = "assistant"
PATH = "/v1/chat/completions"
MOST_WORDS, MOST_CHARACTERS = 400, 4_000


def is_configured() -> bool:
    """Whether there is one to ask."""
    return bool(settings.ASSISTANT_URL)


def complete(*, task: str, text: str) -> str:
    """Let it write something about a text; gives at most MOST_CHARACTERS of one line or several. Raises CallFailed."""
    headers = {"Content-Type": "application/json"}
    if settings.ASSISTANT_SECRET:
        headers["Authorization"] = f"Bearer {settings.ASSISTANT_SECRET}"
    body = {
        "model": settings.ASSISTANT_MODEL,
        "max_tokens": MOST_WORDS,
        "messages": [{"role": "system", "content": task}, {"role": "user", "content": text}],
    }
    url = settings.ASSISTANT_URL.rstrip("/").removesuffix("/v1") + PATH  # some are known by an address that ends in it
    answer = ask("POST", url, body=json.dumps(body), headers=headers, seconds=settings.ASSISTANT_SECONDS).json()
    try:
        words = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise CallFailed(BAD_ANSWER) from error
    # What cannot be stored or shown is no answer; an empty one neither.
    if not isinstance(words, str) or not (clean := words.replace("\0", "").strip()):
        raise CallFailed(BAD_ANSWER)
    return clean[:MOST_CHARACTERS]
