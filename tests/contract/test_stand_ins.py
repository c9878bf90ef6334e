"""The stand-ins do what they are told: every other test of an outside service rests on that."""

import base64
import http.client
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from standardwebhooks.webhooks import Webhook

from tests.stand_ins.control import Control, started
from tests.stand_ins.listing import SECRET


@pytest.fixture(scope="module")
def listing() -> Iterator[Control]:
    with started("listing") as (control,):
        yield control


def publish(control: Control, *, key: str = "1:listing:1", revision: int = 1, secret: str = SECRET) -> tuple[int, dict]:  # type: ignore[type-arg]
    body = json.dumps(
        {"type": "profile.published", "data": {"id": 1, "revision": revision, "profile": {"name": "Ada"}}}
    )
    at = datetime.now(UTC)
    signature = Webhook(secret).sign(key, at, body)
    headers = {"webhook-id": key, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    return ask(control, "POST", "/", body, headers)


def ask(
    control: Control, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict]:  # type: ignore[type-arg]
    connection = http.client.HTTPConnection(urlsplit(control.address).netloc, timeout=1)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        told = answer.read()
        return answer.status, dict(answer.headers) | json.loads(told or b"{}")
    finally:
        connection.close()


def test_one_key_has_one_effect_also_when_its_answer_was_lost(listing: Control) -> None:
    listing.forget()
    listing.follow({"do": "lost", "times": 1})
    with pytest.raises(ConnectionError):
        publish(listing)
    answers = [publish(listing)[1]["published"] for _ in range(2)]
    assert answers == [1, 1]
    assert [effect["key"] for effect in listing.effects] == ["1:listing:1"]
    assert [request["did"] for request in listing.received] == ["lost", "ok", "ok"]
    publish(listing, key="1:listing:0", revision=0)
    assert ask(listing, "GET", "/profiles/1")[1]["revision"] == 1, "older never over newer"


def test_a_wrong_signature_has_no_effect(listing: Control) -> None:
    listing.forget()
    other = "whsec_" + base64.b64encode(b"another secret of so many bytes.").decode()
    assert publish(listing, secret=other)[0] == 401
    assert not listing.effects


def test_every_trouble_is_had_for_the_asking(listing: Control) -> None:
    listing.forget()
    for step in ({"do": "reset"}, {"do": "hang"}):
        listing.follow(step)
        with pytest.raises(OSError):  # a reset, or a second without an answer
            publish(listing)
    listing.follow({"do": "status", "status": 429, "retry_after": 2, "when": "listing:1"}, {"do": "redirect"})
    status, told = publish(listing)
    assert (status, told["Retry-After"]) == (429, "2")
    status, told = publish(listing, key="2")
    assert (status, told["Location"]) == (307, listing.address + "/_control/")
    listing.follow({"do": "bad_body"})
    with pytest.raises(ValueError):
        publish(listing)
    listing.follow({"do": "slow", "seconds": 0.05})
    assert publish(listing)[0] == 200
    listing.follow({"do": "drip", "seconds": 0.01})
    began = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(listing.address).netloc, timeout=1)
    connection.request("GET", "/profiles/1")
    answer = connection.getresponse()
    answer.read(5)
    assert time.monotonic() - began >= 0.04, "a byte at a time"
    connection.close()
