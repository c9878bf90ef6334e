"""`manage.py contract`: what is a copy of what, who may do what, and within which bounds, as JSON."""

import json
import tomllib
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from sync import strict
from sync.conversions import IDENTITY, Conversion
from sync.mirrors import Declaration, Mirror, Place, Service, SharedMirror, declaration
from therapists.roles import ROLES

PROJECT = Path(__file__).resolve().parents[3]
BOUNDS = (
    "SYNC_INLINE_BUDGET_MS", "SYNC_BATCH_SIZE", "SYNC_BATCH_TIMEOUT_MS", "SYNC_BACKOFF_BASE_SECONDS",
    "SYNC_BACKOFF_CAP_SECONDS", "SYNC_BACKOFF_URGENT_CAP_SECONDS", "SYNC_ITEM_AFTER_ATTEMPTS",
    "SYNC_ITEM_AFTER_SECONDS", "SYNC_SPOOL_MOST", "AVATAR_MAX_BYTES", "BOOKINGS_OPEN_MOST",
)  # fmt: skip
RETENTION = (
    "SYNC_ATTEMPTS_KEPT_DAYS", "SYNC_LOST_VALUES_KEPT_DAYS", "ALERTS_KEPT_DAYS", "IDEMPOTENCY_RETENTION_HOURS",
)  # fmt: skip
INTERVALS = ("SYNC_LEASE_SECONDS", "SYNC_SWEEP_SECONDS", "AUDIT_INTERVAL_HOURS")


class Command(BaseCommand):
    """Derived from the declaration, the roles and the settings; reads no table."""

    help = "Prints the declaration, roles, bounds, retention, intervals and version as JSON."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print everything."""
        declared = declaration()
        answer = {
            "version": _version(),
            "mirrors": [_mirror(declared, mirror) for mirror in declared.mirrors],
            "targets": list(declared.targets),
            "services": [_service(declared, service) for service in declared.services],
            "strict_operations": list(strict.reasons()),
            "roles": {role: sorted(permissions) for role, permissions in ROLES.items()} | {"superuser": ["*"]},
            "bounds": _values(BOUNDS),
            "retention": _values(RETENTION),
            "intervals": _values(INTERVALS),
        }
        self.stdout.write(json.dumps(answer, indent=2))


def _mirror(declared: Declaration, mirror: Mirror | SharedMirror) -> dict[str, Any]:
    if isinstance(mirror, Mirror):
        source, copies = mirror.source, [(copy.place, copy.conversion) for copy in mirror.copies]
    else:
        # The newest write, by revision, is the source; among rows older than the net it is the first place.
        source, copies = mirror.places[0], [(place, IDENTITY) for place in mirror.places[1:]]
    return {
        "fact": mirror.fact,
        "shared": isinstance(mirror, SharedMirror),
        "urgency": str(mirror.urgency),
        "source": _place(declared, source),
        "copies": [_place(declared, place) | _converted(conversion) for place, conversion in copies],
        "services": [s.kind for s in declared.services if mirror.fact in (*s.facts, *s.besides)],
    }


def _service(declared: Declaration, service: Service) -> dict[str, Any]:
    """Say what a service is told, and about whom."""
    only = service.only
    return {
        "kind": service.kind,
        "facts": list(service.facts),
        "besides": list(service.besides),
        "only": None if only is None else _place(declared, only.place) | {"value": only.value},
        "is_notice": service.is_notice,
    }


def _place(declared: Declaration, place: Place) -> dict[str, Any]:
    return {"table": place.table, "key": declared.table(place.table).key, "columns": [place.column]}


def _converted(conversion: Conversion) -> dict[str, str]:
    return {"conversion": conversion.name}


def _values(names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(settings, name) for name in names}


def _version() -> str:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return str(project["version"])
