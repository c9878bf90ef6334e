"""System checks: what must not be on where people work, and what should be."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.checks import register as register_check
from django.db import DatabaseError, InterfaceError, connections

WAYS = """
SELECT array_remove(ARRAY[
  CASE WHEN pg_has_role(current_user, history.relowner, 'USAGE') THEN 'owns intervention_history' END,
  CASE WHEN has_parameter_privilege(current_user, 'session_replication_role', 'SET') THEN 'may put triggers to sleep' END,
  CASE WHEN has_table_privilege(history.oid, 'UPDATE, DELETE, TRUNCATE') THEN 'has rights that its triggers alone refuse' END
], NULL)
FROM pg_class AS history WHERE history.oid = 'intervention_history'::regclass
"""


def register() -> None:
    """Add the checks to Django's."""
    register_check(check_failpoints, "interventions", deploy=True)
    register_check(check_history, Tags.database, deploy=True)
    register_check(check_channels, "interventions", deploy=True)


def check_failpoints(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse a deployment in which a file may end processes."""
    if not settings.ALLOW_FAILPOINTS:
        return []
    return [
        Error(
            "ALLOW_FAILPOINTS is on: whoever writes FAILPOINTS_FILE can end any process of Keepwell.",
            hint="Unset ALLOW_FAILPOINTS. It is for tests of crashes only.",
            id="interventions.E001",
        )
    ]


def check_history(app_configs: Any, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Say how the role that Keepwell runs as could change history all the same: PostgreSQL stops no owner."""
    found: list[CheckMessage] = []
    for name in databases or ():
        try:
            with connections[name].cursor() as cursor:
                cursor.execute(WAYS)
                (ways,) = cursor.fetchone()
        except (DatabaseError, InterfaceError) as error:
            said = f"Whether history can be changed cannot be told ({type(error).__name__})."
            found.append(Warning(said, hint="Run migrate first, with PostgreSQL there.", id="interventions.W002"))
            continue
        if ways:
            found.append(
                Warning(
                    f"Keepwell's database role could change history: it {', it '.join(ways)}.",
                    hint="Let another role own the tables: docs/operating.md, under History.",
                    id="interventions.W001",
                )
            )
    return found


def check_channels(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Say where staff could not be told, or where what they are told leads nowhere."""
    found: list[CheckMessage] = []
    addresses = [
        *settings.ALERT_MAIL_STAFF,
        *settings.ALERT_MAIL_LEAD,
        *settings.ALERT_MAIL_PAGE,
        *settings.DIGEST_MAIL,
    ]
    if addresses and not settings.EMAIL_URL:
        found.append(
            Error(
                "Mail is to be sent, and no mail server is named: none of it would arrive.",
                hint="Set EMAIL_URL, such as smtp+tls://USER:PASSWORD@HOST:587.", id="interventions.E002",
            )
        )  # fmt: skip
    urls = [*settings.ALERT_URLS_STAFF, *settings.ALERT_URLS_LEAD, *settings.ALERT_URLS_PAGE]
    if not urls and not addresses:
        found.append(
            Warning(
                "No channel is set up: staff are told of what needs them in the admin alone.",
                hint="Set ALERT_URLS_STAFF or ALERT_MAIL_STAFF.", id="interventions.W003",
            )
        )  # fmt: skip
    elif "127.0.0.1" in settings.BASE_URL or "localhost" in settings.BASE_URL:
        found.append(
            Warning(
                "BASE_URL is this machine's own: links in alerts lead nowhere else.",
                hint="Set BASE_URL to where people reach the admin.", id="interventions.W004",
            )
        )  # fmt: skip
    return found
