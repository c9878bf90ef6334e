"""Declared settings: each has a name, a kind, a default and a meaning, and is read from the environment once."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from zoneinfo import available_timezones

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """One declared setting as `settings_table` prints it; values of secret ones are masked."""

    name: str
    value: object
    default: object
    meaning: str
    is_secret: bool = False

    @property
    def shown(self) -> str:
        """The value for people's eyes."""
        return "********" if self.is_secret and self.value else str(self.value)


@dataclass
class Environment:
    """The process environment (and `.env`), read by declared names only."""

    source: environ.Env = field(default_factory=environ.Env)
    declared: dict[str, Setting] = field(default_factory=dict)

    def load_file(self, path: Path) -> None:
        """Read `path` where it exists; names already in the environment win."""
        if path.exists():
            environ.Env.read_env(path, overwrite=False)

    def text(self, name: str, default: str, meaning: str, *, is_secret: bool = False) -> str:
        """Declare and read a text."""
        return self._declare(name, default, meaning, lambda: self.source.str(name, default), is_secret)

    def one_of(self, name: str, known: list[str], default: str, meaning: str) -> str:
        """Declare and read a text that is one of a few."""
        value = self.text(name, default, f"{meaning} One of: {', '.join(known)}.")
        if value not in known:
            raise ImproperlyConfigured(f"{name}={value!r} is unknown: give one of {', '.join(known)}.")
        return value

    def mail_server(self, name: str, meaning: str) -> str:
        """Declare and read the URL of a mail server; empty: there is none."""
        value = self.text(name, "", meaning, is_secret=True)
        if value and value.partition("://")[0] not in environ.Env.EMAIL_SCHEMES:
            raise ImproperlyConfigured(f"{name}=(masked) cannot be read: {meaning}")
        return value

    def address(self, name: str, default: str, meaning: str) -> str:
        """Declare and read where a site is reached: http:// or https://, and a host."""
        value = self.text(name, default, meaning)
        if not re.fullmatch(r"https?://[^\s/]+\S*", value):
            raise ImproperlyConfigured(f"{name}={value!r} cannot be read: {meaning}")
        return value

    def channels(self, name: str, meaning: str) -> list[str]:
        """Declare and read URLs with secrets in them. What stands before `://` is no secret, so each must have it."""
        values = self.names(name, [], meaning, is_secret=True)
        if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", value) for value in values):
            raise ImproperlyConfigured(f"{name}=(masked) cannot be read: {meaning}")
        return values

    def mail_addresses(self, name: str, meaning: str) -> list[str]:
        """Declare and read e-mail addresses."""
        values = self.names(name, [], meaning)
        if not all(re.fullmatch(r"[^\s@<>]+@[^\s@<>]+", value) for value in values):
            raise ImproperlyConfigured(f"{name}={','.join(values)!r} cannot be read: {meaning}")
        return values

    def one_of_zones(self, name: str, default: str, meaning: str) -> str:
        """Declare and read the name of a time zone."""
        value = self.text(name, default, meaning)
        if value not in available_timezones():
            raise ImproperlyConfigured(f"{name}={value!r} is unknown: give a name such as Europe/Berlin.")
        return value

    def flag(self, name: str, default: bool, meaning: str) -> bool:
        """Declare and read true or false."""
        return self._declare(name, default, meaning, lambda: _flag(os.environ.get(name), default))

    def number(self, name: str, default: int, meaning: str, *, least: int = 0, most: int = 10**9) -> int:
        """Declare and read a whole number in [least, most]."""
        value = self._declare(name, default, meaning, lambda: self.source.int(name, default))
        if not least <= value <= most:
            raise ImproperlyConfigured(f"{name}={value} is out of range: give a whole number from {least} to {most}.")
        return value

    def names(self, name: str, default: list[str], meaning: str, *, is_secret: bool = False) -> list[str]:
        """Declare and read a comma-separated list."""
        return self._declare(
            name, default, meaning, lambda: [str(n).strip() for n in self.source.list(name, default=default)], is_secret
        )

    def refuse_unknown(self, prefix: str) -> None:
        """Stop the start when the environment names a setting of ours that does not exist: a typo is not a default."""
        unknown = sorted(n for n in os.environ if n.startswith(prefix) and n not in self.declared)
        if unknown:
            raise ImproperlyConfigured(
                f"Unknown setting {', '.join(unknown)}: `python manage.py settings_table` lists the known ones."
            )

    def _declare(self, name: str, default: T, meaning: str, read: Callable[[], T], is_secret: bool = False) -> T:
        try:
            value = read()
        except (ValueError, ImproperlyConfigured) as error:
            given = "(masked)" if is_secret else repr(os.environ.get(name))
            raise ImproperlyConfigured(f"{name}={given} cannot be read: {meaning}") from error
        self.declared[name] = Setting(name, value, default, meaning, is_secret)
        return value


def _flag(given: str | None, default: bool) -> bool:
    if given is None or given == "":
        return default
    word = given.strip().lower()
    if word not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        raise ValueError(given)
    return word in {"1", "true", "yes", "on"}
