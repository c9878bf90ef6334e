"""System checks: what must not be on where people work."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import register as register_check


def register() -> None:
    """Add the checks to Django's."""
    register_check(check_failpoints, "interventions", deploy=True)


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
