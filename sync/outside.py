"""Which outside services are configured, and what follows from that: nothing is owed to those that are not."""

import datetime as dt
import logging

from django.db import connection, transaction

from interventions import items
from interventions.failpoints import reach
from interventions.models import Resolution
from sync import ledger
from sync.integrations import KINDS
from sync.integrations.base import Lane
from sync.mirrors import declaration
from sync.models import Service

logger = logging.getLogger(__name__)

# Whoever follows holds this advisory lock; who comes second has nothing to do.
_LOCK = 7_302_611


def follow(*, at: dt.datetime) -> None:
    """
    Bring what the database knows of services in line with the settings and with what staff entered.

    A service that is configured owes everybody, once nobody is left who began before that was known: a transaction that
    was told of no service may still write. One that is configured no more is owed nothing.
    """
    wanted = {lane.target: (kind, lane) for kind in _kinds() for lane in KINDS[kind].lanes()}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s), pg_current_xact_id()::text::bigint", [_LOCK])
        is_mine, xid = cursor.fetchone()
        if not is_mine:
            return
        known = {service.target: service for service in Service.objects.all()}
        for target, (kind, lane) in wanted.items():
            _configure(known.get(target), kind, lane, xid)
        for target, service in known.items():
            if service.is_configured and target not in wanted:
                _forget(service, at)
        reach("sync.outside.before_commit")
    reach("sync.outside.after_commit")
    for service in Service.objects.filter(is_configured=True, everybody_owed_at=None):
        _owe_everybody(service, at)


def _kinds() -> list[str]:
    return [service.kind for service in declaration().services if service.kind in KINDS]


def _configure(known: Service | None, kind: str, lane: Lane, xid: int) -> None:
    if known is None or not known.is_configured:
        Service.objects.update_or_create(
            target=lane.target,
            defaults={
                "kind": kind,
                "is_configured": True,
                "digest": lane.digest,
                "xid": xid,
                "everybody_owed_at": None,
            },
        )
        logger.info("sync.service.configured", extra={"target": lane.target})
    elif known.digest != lane.digest:
        Service.objects.filter(pk=known.pk).update(digest=lane.digest)
        ledger.unblock_service(lane.target)


def _forget(service: Service, at: dt.datetime) -> None:
    """Owe a service nothing more; what it was told stays on record, for the day it comes back."""
    Service.objects.filter(pk=service.pk).update(is_configured=False)
    freed = ledger.drop_service(service.target)
    items.settle_items(
        entities={(person_id, service.target): None for person_id in freed},
        resolution=Resolution.SUPERSEDED,
        at=at,
    )
    items.settle_target(target=service.target, resolution=Resolution.SUPERSEDED, at=at)
    logger.info("sync.service.forgotten", extra={"target": service.target})


def _owe_everybody(service: Service, at: dt.datetime) -> None:
    """Owe a service what was there before it came; notices are about what happens from now on."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        if cursor.fetchone()[0] <= service.xid:
            return
        if not Service.objects.filter(pk=service.pk, is_configured=True, everybody_owed_at=None).update(
            everybody_owed_at=at
        ):
            return
        if not declaration().service(service.kind).is_notice:
            persons = declaration().persons
            ledger.owe_everybody(target=service.target, people=f"SELECT {persons.key} FROM {persons.name}")
        reach("sync.outside.owe.before_commit")
