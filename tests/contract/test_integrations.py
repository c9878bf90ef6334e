"""What every outside service's module keeps, whatever its protocol: a sixth one is one line in WAYS."""

import inspect
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from sync import integrations
from sync.backoff import TOO_LATE, FailureClass, classify
from sync.integrations import KINDS, base
from sync.integrations.base import PUBLISHED, CallFailed, Lane, Message
from sync.mirrors import declaration
from tests.channels import Board, post_office
from tests.stand_ins.control import Control, started
from tests.stand_ins.listing import SECRET
from therapists.mirrors import DECLARATION

MARKERS = {
    fact: f"marker-of-{fact}" for fact in ("name", "bio", "experience_years", "specialization", "avatar", "email")
}
VALUES = MARKERS | {"verification": "approved", "phone": "marker-of-phone"}


@dataclass(frozen=True)
class Way:
    """How one kind is configured (`{url}` is its server's), the word it is told, and which markers may leave."""

    settings: dict[str, Any]
    leaves: frozenset[str] = frozenset()
    word: str = PUBLISHED
    is_http: bool = True


WAYS = {
    "listing": Way(
        {"LISTING_URL": "{url}/", "LISTING_SECRET": SECRET},
        frozenset({"name", "bio", "experience_years", "specialization", "avatar"}),
    ),
    "analytics": Way({"ANALYTICS_URL": "{url}/", "ANALYTICS_SECRET": "token"}),
    "mail": Way({"MAIL_NOTICES": True}, frozenset({"name", "email"}), word="approved", is_http=False),
}
HTTP = sorted(kind for kind, way in WAYS.items() if way.is_http)
LATER, NEVER, WRONG = FailureClass.TRANSIENT, FailureClass.REFUSED, FailureClass.MISCONFIGURED


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[dict[str, Control]]:
    with started(*HTTP) as controls:
        yield dict(zip(HTTP, controls, strict=True))


@pytest.fixture
def office() -> Iterator[Board]:
    with post_office() as board:
        yield board


@pytest.fixture
def configured(stand_ins: dict[str, Control], office: Board, settings: Any, transactional_db: None) -> dict[str, Lane]:
    """Every kind's lane, while all is well."""
    settings.SYNC_PRIVATE_ADDRESSES, settings.SYNC_CALL_SECONDS = True, 5
    settings.EMAIL_URL = "smtp://127.0.0.1"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", office.port
    for kind, way in WAYS.items():
        for name, value in way.settings.items():
            url = stand_ins[kind].address if kind in stand_ins else ""
            setattr(settings, name, value.format(url=url) if isinstance(value, str) else value)
    for control in stand_ins.values():
        control.forget()
    lanes = {kind: KINDS[kind].lanes() for kind in WAYS}
    assert {kind: [lane.target for lane in found] for kind, found in lanes.items()} == {kind: [kind] for kind in WAYS}
    return {kind: found[0] for kind, found in lanes.items()}


def message(kind: str, revision: int = 1) -> Message:
    service = declaration().service(kind)
    values = {name: VALUES[name] for name in (*service.facts, *service.besides)}
    return Message(7, kind, revision, WAYS[kind].word, values)


def test_each_kind_is_declared_has_a_module_and_stands_here() -> None:
    assert set(WAYS) == set(KINDS) == {service.kind for service in DECLARATION.services}
    for kind in KINDS.values():
        module = inspect.getmodule(type(kind))
        assert module is not None
        assert module.__name__.startswith(integrations.__name__)


@pytest.mark.django_db
def test_without_its_settings_nothing_is_configured() -> None:
    assert {kind: integration.lanes() for kind, integration in KINDS.items()} == {kind: [] for kind in KINDS}


def test_each_tells_what_it_declares_and_nothing_else(
    configured: dict[str, Lane], stand_ins: dict[str, Control], office: Board
) -> None:
    for kind, lane in configured.items():
        assert KINDS[kind].tells(message(kind).word)
        answer = KINDS[kind].call(lane, message(kind))
        assert all(number >= 0 for number in answer.counts.values())
        assert sum(answer.counts.values()) == 1
        sent = str(stand_ins[kind].received) if kind in stand_ins else f"{office.taken[0]}"
        assert {fact for fact, marker in MARKERS.items() if marker in sent} == WAYS[kind].leaves, kind
        assert "marker-of-phone" not in sent
        for secret in lane.secrets:
            assert secret not in repr(lane)
            assert secret not in lane.digest


def test_one_key_is_one_effect_where_a_protocol_has_keys(
    configured: dict[str, Lane], stand_ins: dict[str, Control]
) -> None:
    for kind, control in stand_ins.items():
        control.follow({"do": "lost", "times": 1})
        with pytest.raises(CallFailed):
            KINDS[kind].call(configured[kind], message(kind))
        KINDS[kind].call(configured[kind], message(kind))
        assert [effect["key"] for effect in control.effects] == [f"7:{kind}:1"]


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ({"do": "reset"}, LATER), ({"do": "status", "status": 500}, LATER), ({"do": "status", "status": 408}, LATER),
        ({"do": "status", "status": 422}, NEVER), ({"do": "status", "status": 401}, WRONG),
        ({"do": "status", "status": 403}, WRONG), ({"do": "redirect"}, WRONG),
        ({"do": "status", "status": 429, "retry_after": 7}, FailureClass.THROTTLED),
        ({"do": "status", "status": 503, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, FailureClass.THROTTLED),
        ({"do": "bad_body"}, FailureClass.UNKNOWN), ({"do": "bad_body", "body": "[]"}, FailureClass.UNKNOWN),
        ({"do": "bad_body", "body": " " * 300_000}, FailureClass.UNKNOWN),
    ],
)  # fmt: skip
def test_each_trouble_of_http_has_its_class(
    configured: dict[str, Lane], stand_ins: dict[str, Control], step: dict[str, Any], found: FailureClass
) -> None:
    for kind, control in stand_ins.items():
        control.follow(step)
        with pytest.raises(CallFailed) as failure:
            KINDS[kind].call(configured[kind], message(kind))
        assert classify(failure.value.code, retry_after=failure.value.retry_after) is found
        assert not any(marker in str(failure.value) for marker in MARKERS.values())
        assert [request["path"] for request in control.received] == ["/"], "a redirect is not followed"


def test_nothing_takes_longer_than_it_may(
    configured: dict[str, Lane], stand_ins: dict[str, Control], settings: Any
) -> None:
    settings.SYNC_CALL_SECONDS = 1
    for step in ({"do": "hang"}, {"do": "drip"}, {"do": "drip_headers"}):
        for kind in HTTP:
            stand_ins[kind].follow(step)
            began = time.monotonic()
            with pytest.raises(CallFailed) as failure:
                KINDS[kind].call(configured[kind], message(kind))
            assert failure.value.code == TOO_LATE
            assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("word", "least", "most"),
    [
        ("7", 7, 7), (" 7 ", 7, 7), ("9" * 5_000, 86_400, 86_400), ("soon", 60, 60), ("-5", 60, 60),
        ("in 90 s", 85, 90), ("90 s ago", 0, 0), ("in 9000000 s", 86_400, 86_400),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_seconds_and_as_a_date(
    configured: dict[str, Lane], stand_ins: dict[str, Control], word: str, least: float, most: float
) -> None:
    if " s" in word:
        seconds = int(re.sub(r"\D", "", word)) * (-1 if "ago" in word else 1)
        word = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    for kind in HTTP:
        stand_ins[kind].follow({"do": "status", "status": 503, "retry_after": word})
        with pytest.raises(CallFailed) as failure:
            KINDS[kind].call(configured[kind], message(kind))
        assert failure.value.retry_after is not None
        assert least <= failure.value.retry_after <= most


def test_a_date_counts_from_the_services_own_clock() -> None:
    """A stand-in's clock is this machine's, so what is read is asked directly."""
    headers = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:30:00 -0000"}
    assert base._patience(headers) == 120
    assert base._patience({}) is None


def test_no_private_address_is_called(
    configured: dict[str, Lane], stand_ins: dict[str, Control], settings: Any
) -> None:
    settings.SYNC_PRIVATE_ADDRESSES = False
    for kind in HTTP:
        lane = configured[kind]
        local = lane.url.replace("127.0.0.1", "localhost")
        for url in (
            lane.url,
            local,
            "http://10.0.0.1/",
            "http://[::1]/",
            "http://169.254.169.254/",
            "file:///etc/passwd",
        ):
            with pytest.raises(CallFailed) as failure:
                KINDS[kind].call(Lane(kind, url, secrets=lane.secrets), message(kind))
            assert classify(failure.value.code) is WRONG, url
        assert not stand_ins[kind].received


def test_a_mail_server_that_refuses_or_is_away_is_told_apart(
    configured: dict[str, Lane], office: Board, settings: Any
) -> None:
    office.manner = "refuse"
    with pytest.raises(CallFailed) as failure:
        KINDS["mail"].call(configured["mail"], message("mail"))
    assert classify(failure.value.code) is NEVER
    settings.EMAIL_PORT = 1
    with pytest.raises(CallFailed) as failure:
        KINDS["mail"].call(configured["mail"], message("mail"))
    assert classify(failure.value.code) is LATER
