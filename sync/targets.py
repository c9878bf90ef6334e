"""Everything that is brought up to date for a person: the declared tables, and the services that are configured."""

from collections.abc import Set

from interventions import causes
from sync.backoff import SET_UP_CODES
from sync.mirrors import declaration
from sync.models import Service
from sync.outward import EVERY

# What the desk and health call the states of a target.
SPOKEN = {
    "working": "working", "recovering": "recovering", "throttled": "asked to wait", "misconfigured": "set up wrongly",
    "parked": "parked",
}  # fmt: skip


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


def misconfigured() -> dict[str, str]:
    """Give the code by each target that refuses people for how it is set up; no breaker opens, for no probe would mend it."""
    found = causes.live().filter(code__in=SET_UP_CODES)
    return dict(found.order_by("-first_at").values_list("target", "code"))
