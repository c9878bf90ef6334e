"""Forms as a browser without script sends them: what is in them, and what somebody types over it."""

import html
import re
from typing import Any
from urllib.parse import urlsplit

from django.test import Client

_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_INPUT = re.compile(r"<input\b([^>]*)>|<textarea\b([^>]*)>\n?(.*?)</textarea>", re.DOTALL)
_WORD = re.compile(r'([\w-]+)="([^"]*)"')


def fields(page: str, action: str) -> dict[str, str]:
    """Give what the form that leads there holds as it is; fails where the page has none."""
    for told, inner in _FORM.findall(page):
        leads_to = dict(_WORD.findall(told)).get("action")
        if leads_to == action or (leads_to is None and action == ""):
            return dict(_held(inner))
    raise AssertionError(f"No form on the page leads to {action}.")


def sent(client: Client, page: str, action: str = "", **typed: Any) -> Any:
    """Open a page, type into its form that leads to `action` (the page itself without one), and send it."""
    opened = client.get(page)
    held = fields(opened.content.decode(), action)
    return client.post(action or page, held | typed)


def said(client: Client, answer: Any) -> str:
    """Follow where an answer leads, and give what the page there says, without its marks."""
    assert answer.status_code == 303, answer.content.decode()
    split = urlsplit(answer["Location"])
    return text(client.get(f"{split.path}?{split.query}"))


def text(answer: Any) -> str:
    """Give a page's words."""
    bare = re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(bare).split())


def _held(inner: str) -> list[tuple[str, str]]:
    found = []
    for of_input, of_textarea, typed in _INPUT.findall(inner):
        told = dict(_WORD.findall(of_input or of_textarea))
        if "name" in told and told.get("type") != "file":
            found.append((told["name"], html.unescape(typed if of_textarea else told.get("value", ""))))
    return found
