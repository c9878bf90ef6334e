"""What every outside service has in common: lanes, messages, answers, and the one way to ask over HTTP."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any, Protocol

import requests
from django.conf import settings
from requests_hardened import Config, Manager
from requests_hardened.ip_filter import InvalidIPAddress
from urllib3.exceptions import HTTPError, ReadTimeoutError

from sync.backoff import BAD_ANSWER, FORBIDDEN_ADDRESS, NO_ANSWER, NO_CREDENTIALS, TOO_LATE
from sync.integrations.deadline import Deadline

# What a service is told of somebody whom it should not know, or know no longer; and of everybody else by default.
WITHDRAWN, PUBLISHED = "withdrawn", "published"
MOST_BYTES = 256 * 1024
MOST_PATIENCE_SECONDS = 86_400
COUNTS = ("published", "queued", "skipped")


@dataclass(frozen=True)
class Lane:
    """One service as it is configured now: a target, where it is, and what proves that it is us."""

    target: str
    url: str
    read_url: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def digest(self) -> str:
        """The configuration's shape, by which a change is told; no secret can be read from it."""
        words = json.dumps([settings.SECRET_KEY, self.url, self.read_url, self.secrets])
        return sha256(words.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Message:
    """What one call tells: `word` about a person, with the declared facts unless they are withdrawn."""

    person_id: int
    target: str
    revision: int
    word: str
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> str:
        """The idempotency key: the same work has the same key, however often it is tried."""
        return f"{self.person_id}:{self.target}:{self.revision}"


@dataclass(frozen=True)
class Answer:
    """What the service said it did, in numbers. `is_verified`: it was read back, and is what was told."""

    counts: Mapping[str, int] = field(default_factory=dict)
    is_verified: bool = False


class CallFailed(Exception):
    """
    The service could not be told. `code` is an HTTP status or a code of ours, and decides whether asking again helps.

    `retry_after`: it asked to be left alone for so many seconds. `detail` names what is wrong, never a value.
    """

    def __init__(self, code: str, *, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{code} {detail}".strip())
        self.code, self.detail, self.retry_after = code, detail, retry_after


class Integration(Protocol):
    """A kind of service. Nothing of it is called inside a transaction, and nothing of it writes to the database."""

    def lanes(self) -> list[Lane]:
        """Give what is configured now; none: nothing is owed."""
        ...

    def word(self, values: Mapping[str, Any]) -> str:
        """Name what these facts mean to it; of a notice the same word is told once."""
        ...

    def tells(self, word: str) -> bool:
        """Whether this word is told at all."""
        ...

    def call(self, lane: Lane, message: Message) -> Answer:
        """Tell it within the time allowed. Raises CallFailed, and nothing else."""
        ...


class Publishing:
    """What most kinds say: a person's facts are published, whatever they are."""

    def word(self, values: Mapping[str, Any]) -> str:
        """Every change is told."""
        return PUBLISHED

    def tells(self, word: str) -> bool:
        """Whatever it is."""
        return True


@dataclass(frozen=True)
class Reply:
    """A 2xx answer, or a 404 to a question."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Give the body as JSON; raises CallFailed."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise CallFailed(BAD_ANSWER) from error

    def counts(self) -> dict[str, int]:
        """Give what was published, queued and skipped; an empty body says nothing. Raises CallFailed."""
        told = self.json() if self.body else {}
        if not isinstance(told, dict):
            raise CallFailed(BAD_ANSWER)
        return {name: number for name in COUNTS if isinstance(number := told.get(name), int) and number >= 0}


def ask(
    method: str, url: str, *, body: str | None = None, headers: Mapping[str, str], missing: bool = False,
    seconds: float | None = None,
) -> Reply:  # fmt: skip
    """
    Ask a service over HTTP and read its answer, both within `seconds`, or else SYNC_CALL_SECONDS; `missing`: a 404 is an answer.

    Redirects are not followed, private addresses are not asked unless SYNC_PRIVATE_ADDRESSES says so, the
    environment's proxies are not used. Raises CallFailed.
    """
    allowed = settings.SYNC_CALL_SECONDS if seconds is None else seconds
    deadline = Deadline(allowed)
    config = Config(
        ip_filter_enable=not settings.SYNC_PRIVATE_ADDRESSES, ip_filter_allow_loopback_ips=False, never_redirect=True,
        default_timeout=(allowed, allowed), user_agent_override="Keepwell",
    )  # fmt: skip
    try:
        with deadline, Manager(config).get_session() as session:
            session.trust_env = False
            deadline.bound(session)
            sent = None if body is None else body.encode()
            with session.request(
                method, url, data=sent, headers=dict(headers), stream=True, allow_redirects=False
            ) as answer:
                reply = Reply(answer.status_code, _read(answer, deadline, missing=missing))
    except InvalidIPAddress as error:
        raise CallFailed(FORBIDDEN_ADDRESS) from error
    except requests.Timeout as error:
        raise CallFailed(TOO_LATE) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
        raise CallFailed(FORBIDDEN_ADDRESS, detail="address") from error
    except ReadTimeoutError as error:
        raise CallFailed(TOO_LATE) from error
    except (requests.RequestException, HTTPError, OSError) as error:
        raise CallFailed(TOO_LATE if deadline.is_over else NO_ANSWER) from error
    return reply


def _read(answer: requests.Response, deadline: Deadline, *, missing: bool) -> bytes:
    status = answer.status_code
    if 300 <= status < 400:
        raise CallFailed(FORBIDDEN_ADDRESS, detail="redirect")
    if status in (401, 403):
        raise CallFailed(NO_CREDENTIALS, detail=str(status))
    if not 200 <= status < 300 and not (missing and status == 404):
        raise CallFailed(str(status), retry_after=_patience(answer.headers))
    body = b""
    # What is there, not what was asked for: an answer that comes drop by drop ends with the time allowed.
    while part := answer.raw.read1(4096, decode_content=True):
        body += part
        if len(body) > MOST_BYTES:
            raise CallFailed(BAD_ANSWER, detail="too long")
        if deadline.is_over:
            raise CallFailed(TOO_LATE)
    if deadline.is_over:  # what was cut, be it in the headers, looks like an end
        raise CallFailed(TOO_LATE)
    return body


def _patience(headers: Mapping[str, str]) -> float | None:
    """
    Read for how many seconds we are asked to wait, a day at most; None: we are not asked.

    A date counts from the service's own clock where it tells that, for ours may be another. What cannot be read is a minute.
    """
    word = headers.get("Retry-After", "").strip()
    if not word:
        return None
    if word.isdecimal():
        return float(min(int(word), MOST_PATIENCE_SECONDS) if len(word) < 10 else MOST_PATIENCE_SECONDS)
    until, now = _moment(word), _moment(headers.get("Date", "")) or dt.datetime.now(dt.UTC)
    return 60.0 if until is None else min(max(0.0, (until - now).total_seconds()), float(MOST_PATIENCE_SECONDS))


def _moment(word: str) -> dt.datetime | None:
    try:
        found = parsedate_to_datetime(word)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
