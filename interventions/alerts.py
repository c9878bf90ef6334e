"""Whom to tell of what now: looked at every few seconds, written down with what is to be sent, and sent by others."""

import datetime as dt
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.timesince import timesince

from interventions import causes, channels, fingerprint, ladder, reasons
from interventions.causes import Standing
from interventions.channels import Channel
from interventions.failpoints import reach
from interventions.handlers import Lag, at_desk, lags
from interventions.ladder import Bounds, Kind, Level, Sight, Told
from interventions.models import Alert, AlertDelivery, AlertReading, AlertState, AlertWatch, Cause, Digest
from interventions.sqlstates import sqlstate

logger = logging.getLogger(__name__)

Moments = dict[Level, dt.datetime]
Lags = dict[str, Lag]
Subjects = dict[str, tuple[Sight, Standing | Lag]]
# A channel that has so many of a level before it is given no more of them: a thousand causes at once are one trouble. The
# page of notices has them all. What is urgent never waits for room behind what is not.
MOST_WAITING = 30
CAUSE, INBOX = "cause:", "admin:interventions_intervention_changelist"


def bounds() -> Bounds:
    """Give the bounds from the settings."""
    return Bounds(
        lead_after=dt.timedelta(minutes=settings.ALERT_LEAD_MINUTES),
        lead_people=settings.ALERT_LEAD_PEOPLE,
        page_after=dt.timedelta(hours=settings.ALERT_PAGE_HOURS),
        urgent_after=dt.timedelta(minutes=settings.ALERT_URGENT_MINUTES),
        owed_after=dt.timedelta(minutes=settings.ALERT_OWED_MINUTES),
        repeat_after=dt.timedelta(hours=settings.ALERT_REPEAT_HOURS),
    )


def look(*, at: dt.datetime, is_on_duty: bool = True) -> int:
    """
    Write down who is to be told of what now, and each message that follows; gives the number of alerts.

    Only who `is_on_duty` counts as having looked; whoever stands in for them does not.

    One transaction, in which nothing is sent. While somebody else looks, nothing is done. What is behind but cannot be
    read keeps its alerts; causes are told of all the same.
    """
    with transaction.atomic():
        AlertWatch.objects.bulk_create([AlertWatch()], ignore_conflicts=True)
        if AlertWatch.objects.select_for_update(skip_locked=True).first() is None:
            return 0
        if is_on_duty:
            AlertWatch.objects.update(looked_at=at)
        lagging = _lags()
        told = _ended(at, lagging) | _raised(at, lagging)
        reach("interventions.alert.before_commit")
    reach("interventions.alert.after_commit")
    return len(told)


def live() -> "QuerySet[Alert]":
    """Narrow to alerts whose subject is not over."""
    return Alert.objects.filter(ended_at=None)


def unread(user_id: int) -> "QuerySet[Alert]":
    """Narrow to live alerts that this person has not read since they were told last."""
    return live().exclude(pk__in=AlertReading.objects.filter(user_id=user_id).values("alert"))


def read(*, alerts: Collection[int], user_id: int, at: dt.datetime) -> int:
    """Note that this person has read these alerts; gives how many were unread."""
    found = [AlertReading(alert=alert, user_id=user_id, at=at) for alert in unread(user_id).filter(pk__in=alerts)]
    AlertReading.objects.bulk_create(found, ignore_conflicts=True)
    return len(found)


def undelivered(*, at: dt.datetime) -> "QuerySet[AlertDelivery]":
    """Narrow to messages that a channel did not take and that are tried again, or were given up within a day."""
    return AlertDelivery.objects.filter(
        Q(state=AlertState.WAITING) & ~Q(trouble="") & (Q(lease_until=None) | Q(lease_until__lt=Now()))
        | Q(state=AlertState.UNDELIVERED, next_attempt_at__gt=at - dt.timedelta(days=1))
    )


def list_of(cause: str, tab: str = "") -> str:
    """Give the path that opens exactly the interventions of a cause."""
    words = {"tab": tab} if tab else {}
    return f"{reverse(INBOX)}?{urlencode(words | {'cause__exact': cause})}"


def spell_age(since: dt.datetime, until: dt.datetime) -> str:
    """Say an age in words: "1 hour, 5 minutes"; less than a minute is that."""
    if until - since < dt.timedelta(minutes=1):
        return "less than a minute"
    return timesince(since, until).replace("\xa0", " ")


def prune(*, at: dt.datetime) -> None:
    """Forget alerts that ended long ago, what was sent of them, and the digests of that time."""
    before = at - dt.timedelta(days=settings.ALERTS_KEPT_DAYS)
    Alert.objects.filter(ended_at__lt=before).delete()
    Digest.objects.filter(made_at__lt=before).delete()
    AlertDelivery.objects.filter(alert=None, digest=None, made_at__lt=before).delete()


def _raised(at: dt.datetime, lagging: Lags | None) -> set[int]:
    """Raise and repeat; gives the alerts' ids."""
    subjects = _seen(at, lagging or {})
    told, limits, waiting = _told(subjects, at), bounds(), _waiting()
    found = set()
    for name, (sight, about) in subjects.items():
        due = ladder.decide(sight, told[name], at, limits)
        # One address is told once, as the highest level that it stands for.
        spent: set[str] = set()
        for level in sorted(due, reverse=True):
            alert, known = _write(sight, about, level, due[level], at), channels.of(level)
            to = [one for one in known if one.name not in spent and waiting[one.name, level] < MOST_WAITING]
            _post(alert, to, at)
            waiting.update((channel.name, level) for channel in to)
            spent |= {channel.name for channel in known}
            found.add(alert.pk)
            logger.warning(
                "interventions.alert.told", extra={"subject": name, "whom": level.name, "kind": str(due[level])}
            )
    return found


def _ended(at: dt.datetime, lagging: Lags | None) -> set[int]:
    """End the alerts whose subject is over, and tell those who were told; gives the alerts' ids."""
    standing = {_name(pk) for pk in causes.live().values_list("pk", flat=True)}
    over = [
        alert
        for alert in live().select_for_update().order_by("-level", "pk")
        if alert.subject not in standing
        and (alert.subject.startswith(CAUSE) or (lagging is not None and alert.subject not in lagging))
    ]
    ids = [alert.subject.removeprefix(CAUSE) for alert in over if alert.subject.startswith(CAUSE)]
    gone = {_name(cause.pk): cause for cause in Cause.objects.filter(pk__in=ids)}
    known, spent = channels.every(), defaultdict[str, set[str]](set)
    for alert in over:
        cause = gone.get(alert.subject)
        alert.ended_at, alert.kind, alert.told_at = at, Kind.RECOVERED, at
        alert.path = list_of(cause.fingerprint, "resolved") if cause else alert.path
        alert.save()
        messages = alert.alertdelivery_set.all()
        heard = set(messages.filter(attempts__gt=0).values_list("channel", flat=True)) - spent[alert.subject]
        messages.filter(state=AlertState.WAITING).update(state=AlertState.DROPPED)
        if cause is None or not ladder.is_quiet(_sight_of(cause), at):
            _post(alert, (known[name] for name in sorted(heard & known.keys())), at)
        spent[alert.subject] |= heard
    return {alert.pk for alert in over}


def _seen(at: dt.datetime, lagging: Lags) -> Subjects:
    """Give every subject there is: causes that have their row, and what is behind."""
    standing = [(one.row, one) for one in causes.standing(at=at) if one.row is not None]
    # Whoever left sees to nothing any more: what they took on is nobody's for the ladder.
    seeing = at_desk({row.owner for row, one in standing if one.is_acknowledged and row.owner})
    found: Subjects = {
        _name(row.pk): (
            _sight_of(row, people=one.people, is_acknowledged=one.is_acknowledged and row.owner in seeing),
            one,
        )
        for row, one in standing
    }
    for lag in lagging.values():
        found[lag.name] = (Sight(lag.name, lag.since, lag.people, is_lag=True, is_urgent=lag.is_urgent), lag)
    return found


def _lags() -> Lags | None:
    """Give what is behind, by name; None where it cannot be read."""
    try:
        with transaction.atomic():
            return {lag.name: lag for lag in lags()}
    except DatabaseError as error:
        logger.warning("interventions.alert.unread", extra={"code": sqlstate(error)})
        return None


def _sight_of(cause: Cause, *, people: int = 0, is_acknowledged: bool = False) -> Sight:
    quiet = max((until for until in (cause.snoozed_until, cause.ignored_until) if until), default=None)
    return Sight(_name(cause.pk), cause.reopened_at or cause.first_at, people, is_acknowledged, quiet)


def _told(subjects: Iterable[str], at: dt.datetime) -> dict[str, Told]:
    since = at - bounds().pause
    rows = Alert.objects.filter(Q(ended_at=None) | Q(ended_at__gt=since), subject__in=list(subjects))
    found: dict[str, tuple[Moments, Moments]] = {name: ({}, {}) for name in subjects}
    for alert in rows.order_by("pk"):
        told_at, ended_at = found[alert.subject]
        if alert.ended_at is None:
            told_at[Level(alert.level)] = alert.told_at
        else:
            ended_at[Level(alert.level)] = alert.ended_at
    return {name: Told(told_at, ended_at) for name, (told_at, ended_at) in found.items()}


def _write(sight: Sight, about: Standing | Lag, level: Level, kind: Kind, at: dt.datetime) -> Alert:
    says, advice, path, items = _words(about)
    words = {
        "kind": kind, "says": says, "advice": advice, "path": path, "items": items, "people": sight.people,
        "since": sight.since, "told_at": at,
    }  # fmt: skip
    alert, _ = Alert.objects.update_or_create(
        subject=sight.subject, level=level, ended_at=None, defaults=words, create_defaults=words | {"raised_at": at}
    )
    # Told again, it is unread again.
    alert.alertreading_set.all().delete()
    return alert


def _words(about: Standing | Lag) -> tuple[str, str, str, int]:
    if isinstance(about, Lag):
        return about.says, about.advice, about.path, 0
    said = fingerprint.parts(about.fingerprint)
    why = reasons.line(about.target, about.code, said.detail if said else "")
    says = f"{about.target}: {why}" if about.target else why
    return says, reasons.reason(about.code).advice, list_of(about.fingerprint), about.items


def _waiting() -> Counter[tuple[str, int]]:
    """Count for each channel and level the messages that it has not taken yet."""
    waiting = AlertDelivery.objects.filter(state=AlertState.WAITING).order_by().values_list("channel", "alert__level")
    return Counter({(channel, level): number for channel, level, number in waiting.annotate(Count("pk"))})


def _post(alert: Alert, to: Iterable[Channel], at: dt.datetime) -> None:
    AlertDelivery.objects.bulk_create(
        AlertDelivery(alert=alert, kind=alert.kind, channel=channel.name, made_at=at, next_attempt_at=at)
        for channel in to
    )


def _name(pk: object) -> str:
    return f"{CAUSE}{pk}"
