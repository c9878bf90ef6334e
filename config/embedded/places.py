"""Where the embedded servers live: directories, ports, passwords and URLs, each a function of one directory."""

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

HOST = "127.0.0.1"


class EmbeddedServerError(Exception):
    """An embedded server cannot run here."""


@dataclass(frozen=True)
class Place:
    """The corner of `var/` that belongs to one server."""

    directory: Path

    @property
    def password(self) -> str:
        """The server's password, made on first use."""
        return kept(self.directory / "password", lambda: secrets.token_hex(16))

    @property
    def port(self) -> int:
        """The server's TCP port on 127.0.0.1, chosen on first use."""
        return int(kept(self.directory / "port", lambda: str(free_port())))

    def settle_port(self) -> int:
        """Give a port that is free now: the kept one, or a new one where somebody has taken that."""
        if not is_free(self.port):
            replace_text(self.directory / "port", str(free_port()))
        return self.port


def postgres_place(var_dir: Path) -> Place:
    """Where PostgreSQL keeps what it keeps."""
    return Place(var_dir / "postgres")


def valkey_place(var_dir: Path) -> Place:
    """Where Valkey keeps what it keeps."""
    return Place(var_dir / "valkey")


def database_url(var_dir: Path) -> str:
    """Give the URL of the embedded PostgreSQL of this directory, running or not."""
    place = postgres_place(var_dir)
    return f"postgres://keepwell:{place.password}@{HOST}:{place.port}/keepwell"


def redis_url(var_dir: Path) -> str:
    """Give the URL of the embedded Valkey of this directory, running or not."""
    place = valkey_place(var_dir)
    return f"redis://:{place.password}@{HOST}:{place.port}/0"


def secret_key(var_dir: Path, *, required: bool) -> str:
    """Give a development key that survives restarts; refuse where a real one is required."""
    if required:
        raise ImproperlyConfigured("SECRET_KEY is required when DEBUG is off.")
    return kept(var_dir / "secret_key", lambda: secrets.token_urlsafe(50))


def kept(path: Path, make: Callable[[], str]) -> str:
    """
    Give the text kept in `path`, made on first use and readable by its owner only.

    Of several processes that come first together one wins and all give its text.
    """
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = _private_copy(path, make())
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return path.read_text()
    except PermissionError as error:
        raise ImproperlyConfigured(
            f"{error.filename} belongs to somebody else: give VAR_DIR=<a folder of yours>."
        ) from error


def replace_text(path: Path, text: str) -> None:
    """Replace what `path` holds in one step, readable by its owner only."""
    _private_copy(path, text).rename(path)


def _private_copy(path: Path, text: str) -> Path:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(fresh, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    return fresh


def free_port() -> int:
    """Choose a free port below those that systems give to outgoing connections."""
    while not is_free(port := 20_000 + secrets.randbelow(10_000)):
        pass
    return port


def is_free(port: int) -> bool:
    """Tell whether nobody listens on the port of this machine."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:  # macOS lets a second socket bind beside a listener on all addresses
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
