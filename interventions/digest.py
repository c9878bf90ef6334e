"""The daily digest: made once for each day however many ask, from its hour on, also after a pause of any length."""

import datetime as dt
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Count, Q
from django.urls import reverse

from interventions import alerts, causes, channels, fingerprint, reasons
from interventions.handlers import lags, names, works
from interventions.models import AlertDelivery, Digest, Intervention, RetryRun, RetryState, State
from interventions.retry_runs import report

KIND = "digest"
# A digest covers what came since the one before, and at most that much.
LONGEST = dt.timedelta(days=7)
CAUSES, RUNS = 20, 10


def day_of(at: dt.datetime, *, hour: int, zone: str) -> dt.date:
    """Give the day whose digest is the newest that is due: its hour has come there."""
    local = at.astimezone(ZoneInfo(zone))
    return local.date() if local.hour >= hour else local.date() - dt.timedelta(days=1)


def make_due(*, at: dt.datetime) -> Digest | None:
    """
    Make the digest that is due, and with it what is to be mailed; None: it is there already.

    Days on which nobody was there to make one are covered by the next, not made up for one by one.
    """
    day = day_of(at, hour=settings.DIGEST_HOUR, zone=settings.DIGEST_ZONE)
    newest = Digest.objects.order_by("-day").first()
    if newest is not None and newest.day >= day:
        return None
    since = max(at - LONGEST, newest.made_at) if newest else at - dt.timedelta(days=1)
    content = gather(since=since, at=at)
    with transaction.atomic():
        made, is_new = Digest.objects.get_or_create(
            day=day, defaults={"since": since, "made_at": at, "content": content}
        )
        if not is_new:
            return None
        AlertDelivery.objects.bulk_create(
            AlertDelivery(digest=made, kind=KIND, channel=channel.name, made_at=at, next_attempt_at=at)
            for channel in channels.of_digest()
        )
    return made


def gather(*, since: dt.datetime, at: dt.datetime) -> dict[str, Any]:
    """Count and list what a digest says, in codes, names of places and ids; of what cannot be read it says null."""
    ended = Intervention.objects.filter(resolved=True, resolved_at__gt=since, resolved_at__lte=at)
    standing = causes.standing(at=at, limit=CAUSES)
    return {
        # By state and time, as the index is.
        "opened": Intervention.objects.filter(state__in=list(State), timestamp__gt=since, timestamp__lte=at).count(),
        "resolved": dict(ended.order_by().values_list("resolution").annotate(Count("pk"))),
        "open": Intervention.objects.filter(resolved=False).count(),
        "causes": [_cause(one) for one in standing],
        "more_causes": max(0, causes.live().count() - len(standing)),
        "runs": [_run(run) for run in _runs(since)],
        "works": [asdict(work) for work in works(since)[:RUNS]],
        "undelivered": alerts.undelivered(at=at).count(),
        "behind": _behind(),
    }


def told(digest: Digest) -> dict[str, Any]:
    """Give what pages and mails show of a digest: its numbers, with names and sentences as they are today."""
    content: dict[str, Any] = digest.content
    known = names({cause["owner"] for cause in content["causes"] if cause["owner"]})
    resolved = content["resolved"]
    return content | {
        "day": digest.day,
        "since": digest.since,
        "made_at": digest.made_at,
        "resolved": sum(resolved.values()),
        "by_itself": resolved.get("auto", 0),
        "causes": [
            cause | _words(cause, digest.made_at) | {"owner": known.get(cause["owner"], cause["owner"] or "")}
            for cause in content["causes"]
        ],
        "runs": [run | {"state": RetryState(run["state"]).label} for run in content["runs"]],
        # Digests from before repairs were told of have none.
        "works": content.get("works", []),
        "behind": content["behind"]
        and [lag | {"since": dt.datetime.fromisoformat(lag["since"])} for lag in content["behind"]],
        "is_behind_known": content["behind"] is not None,
    }


def _cause(one: causes.Standing) -> dict[str, Any]:
    row = one.row
    return {
        "fingerprint": one.fingerprint, "target": one.target, "code": one.code, "items": one.items,
        "people": one.people, "oldest_at": one.oldest_at.isoformat(),
        "owner": (row.owner if row and one.is_acknowledged else None),
        "silence": "ignored" if one.is_ignored else "snoozed" if one.is_snoozed else "",
    }  # fmt: skip


def _words(cause: dict[str, Any], at: dt.datetime) -> dict[str, Any]:
    said = fingerprint.parts(cause["fingerprint"])
    detail = said.detail if said else ""
    return {
        "why": reasons.line(cause["target"], cause["code"], detail),
        "path": alerts.list_of(cause["fingerprint"]),
        "oldest_at": dt.datetime.fromisoformat(cause["oldest_at"]),
        "age": alerts.spell_age(dt.datetime.fromisoformat(cause["oldest_at"]), at),
    }


def _runs(since: dt.datetime) -> list[RetryRun]:
    under_way = Q(state__in=[RetryState.CANARY, RetryState.RUNNING, RetryState.PAUSED, RetryState.STOPPED])
    return list(
        RetryRun.objects.filter(Q(asked_at__gt=since) | Q(finished_at__gt=since) | under_way).order_by("-asked_at")[
            :RUNS
        ]
    )


def _run(run: RetryRun) -> dict[str, Any]:
    counts = report(run)
    return {
        "title": run.title, "state": run.state, "total": sum(counts.values()), "fixed": counts["fixed"],
        "failed": counts["failed"], "path": reverse("admin:retry_run", args=[run.pk]),
    }  # fmt: skip


def _behind() -> list[dict[str, Any]] | None:
    try:
        with transaction.atomic():
            return [
                {"says": lag.says, "since": lag.since.isoformat(), "people": lag.people, "path": lag.path}
                for lag in lags()
            ]
    except DatabaseError:
        return None
