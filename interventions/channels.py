"""The channels that alerts go by: addresses from the environment, and sending one message to one of them."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.message import sanitize_address
from django.db import connection
from django.utils.crypto import salted_hmac

from interventions.ladder import Level

logger = logging.getLogger(__name__)

COURIER, POSTMAN = Path(__file__).with_name("courier.py"), Path(__file__).with_name("postman.py")
SMTP = "django.core.mail.backends.smtp.EmailBackend"
# Whatever a library and the far side do, one message takes no longer.
SECONDS = 20
MAIL = "e-mail"
# What a child that opens connections must know of its surroundings; none of our secrets is among it.
_PASSED_ON = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass(frozen=True)
class Message:
    """What is sent. `html` is for mail alone."""

    title: str
    text: str
    html: str = ""


@dataclass(frozen=True)
class Channel:
    """One address. `name` tells it from others without giving it away: its kind, and a digest that needs our key."""

    kind: str
    address: str

    @property
    def name(self) -> str:
        """The name by which it is kept and shown."""
        return f"{self.kind}-{salted_hmac('interventions.channels', self.address).hexdigest()[:8]}"

    def __repr__(self) -> str:
        return f"Channel({self.name})"


class NotTaken(Exception):
    """The channel did not take the message; `code` says why, without anything that the far side said."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def of(level: Level) -> list[Channel]:
    """Give the channels of a level; one without any of its own has those of the level below."""
    for name in (each.name for each in sorted(Level, reverse=True) if each <= level):
        urls, addresses = getattr(settings, f"ALERT_URLS_{name}"), getattr(settings, f"ALERT_MAIL_{name}")
        if urls or addresses:
            return _channels(urls, addresses)
    return []


def of_digest() -> list[Channel]:
    """Give the addresses that the digest is mailed to."""
    return _channels([], settings.DIGEST_MAIL)


def every() -> dict[str, Channel]:
    """Give every channel that is set up, by its name."""
    return {channel.name: channel for level in Level for channel in of(level)} | {
        channel.name: channel for channel in of_digest()
    }


def send(channel: Channel, message: Message) -> None:
    """
    Send it now; raises NotTaken, and RuntimeError inside a transaction, which the far side could hold open.

    It is over after SECONDS whatever the far side does. Of a mail, each answer of the server may take EMAIL_TIMEOUT.
    """
    if connection.in_atomic_block:
        raise RuntimeError("Nothing is sent inside a transaction.")
    if channel.kind == MAIL:
        _mail(channel.address, message)
    else:
        _hand_over(COURIER, {"url": channel.address, "title": message.title, "body": message.text})


def _channels(urls: list[str], addresses: list[str]) -> list[Channel]:
    found = [Channel(url.partition("://")[0].lower() or "url", url) for url in urls]
    return found + [Channel(MAIL, address) for address in addresses]


def _hand_over(program: Path, given: dict[str, Any]) -> None:
    """Let a process of its own send it, which is gone afterwards; the address goes over its standard input alone."""
    known = {n: v for n, v in os.environ.items() if n in _PASSED_ON or n.lower() in _PROXIES}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-B", str(program)], input=json.dumps(given | {"seconds": SECONDS}), text=True,
            capture_output=True, timeout=SECONDS + 2, check=False, env=known,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NotTaken("too_slow") from error
    except OSError as error:
        raise NotTaken("not_begun") from error  # no process, no memory: the other messages and whoever sends go on
    if done.returncode:
        code = done.stdout.strip()
        raise NotTaken("too_slow" if done.returncode < 0 else code if code.isidentifier() else "not_taken")


def _mail(address: str, message: Message) -> None:
    mail = EmailMultiAlternatives(message.title, message.text, settings.DEFAULT_FROM_EMAIL, [address])
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    if settings.EMAIL_BACKEND != SMTP:
        mail.send()  # to the console, a file or nowhere: nothing there can hang
        return
    written: Any = mail.message()
    _hand_over(
        POSTMAN,
        {
            "host": settings.EMAIL_HOST, "port": settings.EMAIL_PORT, "timeout": settings.EMAIL_TIMEOUT,
            "user": settings.EMAIL_HOST_USER, "password": settings.EMAIL_HOST_PASSWORD, "tls": settings.EMAIL_USE_TLS,
            "ssl": settings.EMAIL_USE_SSL, "sender": sanitize_address(settings.DEFAULT_FROM_EMAIL, "utf-8"), "to": sanitize_address(address, "utf-8"),
            "message": written.as_bytes(linesep="\r\n").decode("ascii", "surrogateescape"),
        },
    )  # fmt: skip
