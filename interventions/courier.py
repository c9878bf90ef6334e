"""
A program of its own: sends one message to one apprise address, both from its standard input, and ends.

Prints a code where it was not taken. Nothing that the far side or the library says gets out, for it may hold the address.
"""

import json
import logging
import re
import signal
import sys

import apprise


class _Heard(logging.Handler):
    """Keeps the status that the library reports, and nothing else of what it says."""

    code = "not_taken"

    def emit(self, record: logging.LogRecord) -> None:
        """Note a status, or that nobody was reached."""
        said = record.getMessage()
        status = re.search(r"error=(\d{3})\b", said)
        if status:
            self.code = f"http_{status[1]}"
        elif "Connection error" in said or "A Connection" in said:
            self.code = "unreachable"


def main() -> int:
    """Send what is asked for; 0: the far side took it."""
    asked = json.load(sys.stdin)
    # Also where nobody waits for this process any more.
    signal.alarm(int(asked["seconds"]))
    heard = _Heard()
    logging.getLogger("apprise").handlers = [heard]
    logging.getLogger("apprise").propagate = False
    post = apprise.Apprise()
    if not post.add(asked["url"]):
        print("unknown_address")
        return 2
    if post.notify(title=asked["title"], body=asked["body"], body_format=apprise.NotifyFormat.TEXT):
        return 0
    print(heard.code)
    return 1


if __name__ == "__main__":
    sys.exit(main())
