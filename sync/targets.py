"""Everything that is brought up to date for a person: the declared tables, and the services that are configured."""

from collections.abc import Set

from sync.mirrors import declaration
from sync.models import Service
from sync.outward import EVERY


def services() -> dict[str, str]:
    """Give the kind of each configured service by its target's name, in order."""
    return dict(Service.objects.filter(is_configured=True).order_by("target").values_list("target", "kind"))


def names() -> list[str]:
    """List the names of all targets, tables first."""
    return [*declaration().targets, *services()]


def services_among(words: Set[str]) -> set[str]:
    """Give those words of debt that mean services: one of them, configured or not any more, or every one of a kind."""
    others = words - set(declaration().targets)
    if not others:
        return set()
    known = set(Service.objects.filter(pk__in=others).values_list("pk", flat=True))
    return {word for word in others if word.startswith(EVERY)} | known


def unconfigured() -> list[str]:
    """List the kinds of declared services of which none is configured: nothing is owed there."""
    known = set(services().values())
    return [service.kind for service in declaration().services if service.kind not in known]
