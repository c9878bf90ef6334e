"""System checks: what would make the engine lie is found before the start."""

from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import register as register_check

from sync.mirrors import Mirror, declaration


def register() -> None:
    """Add the checks to Django's."""
    register_check(check_declaration, "sync")


def check_declaration(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse a declaration in which a copy has two sources."""
    owners: dict[str, str] = {}
    problems: list[CheckMessage] = []
    for mirror in declaration().mirrors:
        places = [copy.place for copy in mirror.copies] if isinstance(mirror, Mirror) else list(mirror.places)
        for place in places:
            if str(place) in owners:
                problems.append(
                    Error(
                        f"{place} is declared twice: by {owners[str(place)]} and {mirror.fact}.",
                        hint="A copy has one source. Take it out of one of the two mirrors.",
                        id="sync.E001",
                    )
                )
            owners[str(place)] = mirror.fact
    return problems
