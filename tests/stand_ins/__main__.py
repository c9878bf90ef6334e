"""`python tests/stand_ins NAME[:PORT] …` starts stand-ins in one process; their addresses are printed when all listen."""

import argparse
import json
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.stand_ins.base import StandIn  # noqa: E402 - found by the line above


def main() -> None:
    """Serve until a signal, or until standard input ends where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("services", nargs="+", metavar="NAME[:PORT]")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when whoever started this is gone")
    options = parser.parse_args()
    is_over = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: is_over.set())
    servers = dict(_listen(service) for service in options.services)
    for server in servers.values():
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    print(json.dumps({name: server.address for name, server in servers.items()}), flush=True)
    if options.until_input_ends:
        threading.Thread(target=_watch_input, args=(is_over,), daemon=True).start()
    is_over.wait()
    for server in servers.values():
        server.is_stopped.set()
        server.shutdown()
    # Threads that still hang have nothing to lose.
    os._exit(0)


def _watch_input(is_over: threading.Event) -> None:
    sys.stdin.read()
    is_over.set()


def _listen(service: str) -> tuple[str, StandIn]:
    name, _, port = service.partition(":")
    protocol = import_module(f"tests.stand_ins.{name}").Service(dict(os.environ))
    return name, StandIn(protocol, int(port or 0))


if __name__ == "__main__":
    main()
