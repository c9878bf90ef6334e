"""How consistent the facts are, as the last full audit found; nobody joins the tables while a page is waiting."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from sync.models import Audit


@dataclass(frozen=True)
class Consistency:
    """Of so many persons whose fact is compared, how many have it equal in every place."""

    fact: str
    consistent: int
    of: int

    @property
    def percent(self) -> float:
        """From 0 to 100, never rounded up to 100."""
        share = 100.0 * self.consistent / self.of if self.of else 100.0
        return share if share in {0.0, 100.0} else min(99.99, max(0.01, round(share, 2)))


@dataclass(frozen=True)
class LastKnown:
    """What an audit found, and when it had."""

    at: dt.datetime
    facts: tuple[Consistency, ...]

    @property
    def total(self) -> Consistency:
        """All facts of all persons together."""
        return Consistency("", sum(one.consistent for one in self.facts), sum(one.of for one in self.facts))


def by_fact(unequal: Mapping[str, int], compared: Mapping[str, int]) -> tuple[Consistency, ...]:
    """Put together what differs and what was compared."""
    return tuple(Consistency(fact, of - min(of, unequal.get(fact, 0)), of) for fact, of in compared.items())


def last_known() -> LastKnown | None:
    """Give what the last full audit found; None: there was none that counted everybody."""
    audit = Audit.objects.filter(is_full=True, finished_at__isnull=False).order_by("-id").first()
    found = audit.found if audit else None
    if audit is None or audit.finished_at is None or not found or "compared" not in found:
        return None
    return LastKnown(audit.finished_at, by_fact(found.get("unequal", {}), found["compared"]))
