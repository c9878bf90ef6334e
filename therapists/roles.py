"""Who of the staff may do what: one table, kept as Django groups."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

READ_ONLY, OPERATOR, LEAD = "Read-only", "Operator", "Lead"

_LOOK = (
    "therapists.view_user",
    "therapists.view_enrollment",
    "therapists.view_profile",
    "therapists.view_booking",
    "therapists.view_creditentry",
    "interventions.view_intervention",
    "interventions.view_history",
    "interventions.view_failedrequest",
    "interventions.view_retryrun",
    "interventions.view_cause",
    "interventions.view_alert",
    "sync.view_debt",
    "sync.view_ledger",
    "sync.view_attempt",
    "sync.view_gap",
    "sync.view_audit",
    "sync.view_run",
    "sync.view_hold",
    "sync.view_breaker",
    "sync.view_pause",
    "sync.view_endpoint",
    "sync.view_errand",
    "sync.view_keptanswer",
)
_OPERATE = (
    "interventions.retry_intervention",
    "interventions.resolve_intervention",
    "interventions.assign_intervention",
    "interventions.snooze_intervention",
    "interventions.acknowledge_cause",
    "interventions.snooze_cause",
    "interventions.note_cause",
)
_LEAD = (
    "interventions.accept_difference",
    "interventions.adopt_value",
    "interventions.ignore_cause",
    "interventions.test_alert",
    "therapists.decide_enrollment",
    "therapists.merge_enrollment",
    "therapists.grant_credits",
    "sync.repair_run",
    "sync.undo_run",
    "sync.decide_hold",
    "sync.switch_target",
    "sync.pause_person",
    "sync.change_endpoint",
    "sync.delete_keptanswer",
    "sync.delete_errand",
)

# Role to permissions, least first; superusers may do everything and need no group.
ROLES: dict[str, tuple[str, ...]] = {
    READ_ONLY: _LOOK,
    OPERATOR: _LOOK + _OPERATE,
    LEAD: _LOOK + _OPERATE + _LEAD,
}
_APPS = frozenset(name.partition(".")[0] for permissions in ROLES.values() for name in permissions)


def sync_groups_after_migrate(app_config: Any, using: str, **_: Any) -> None:
    """Keep the groups as declared once an app has its permissions: Django's receiver, connected first, makes those."""
    if app_config.label in _APPS:
        sync_groups(using=using)


def sync_groups(*, using: str = "default") -> None:
    """Make or mend the groups; idempotent, and permissions that do not exist yet are added when they do."""
    found = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.using(using)
        .filter(_named(name for permissions in ROLES.values() for name in permissions))
        .values_list("pk", "content_type__app_label", "codename")
    }
    for role, permissions in ROLES.items():
        group, _ = Group.objects.using(using).get_or_create(name=role)
        group.permissions.set([found[name] for name in permissions if name in found])


def _named(names: Iterable[str]) -> Q:
    wanted = Q()
    for name in sorted(set(names)):
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    return wanted
