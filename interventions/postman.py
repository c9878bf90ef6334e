"""
A program of its own: mails one message through one server, both from its standard input, and ends.

Prints a code where it was not taken. A server that sends its answers drop by drop never runs into a socket's time limit;
this process does.
"""

import json
import signal
import smtplib
import ssl
import sys
from contextlib import closing
from typing import Any


def main() -> int:
    """Mail what is asked for; 0: the server took it."""
    asked = json.load(sys.stdin)
    # Also where nobody waits for this process any more.
    signal.alarm(int(asked["seconds"]))
    try:
        _mail(asked)
    except smtplib.SMTPResponseException as error:
        print(f"smtp_{error.smtp_code}")
    except smtplib.SMTPException as error:
        print(type(error).__name__)
    except TimeoutError:
        print("too_slow")
    except OSError:
        print("unreachable")
    else:
        return 0
    return 1


def _mail(asked: dict[str, Any]) -> None:
    trust = ssl.create_default_context() if asked["tls"] or asked["ssl"] else None
    where = {"host": asked["host"], "port": asked["port"], "timeout": asked["timeout"]}
    server = smtplib.SMTP_SSL(**where, context=trust) if asked["ssl"] else smtplib.SMTP(**where)
    with closing(server):
        if asked["tls"]:
            server.starttls(context=trust)
        if asked["user"] and asked["password"]:
            server.login(asked["user"], asked["password"])
        server.sendmail(asked["sender"], [asked["to"]], asked["message"].encode("utf-8", "surrogateescape"))
        # It is taken. A farewell that never ends would have it sent again.
        server.putcmd("QUIT")


if __name__ == "__main__":
    sys.exit(main())
