"""What the engine has staff told of by age: what is owed unnoticed, urgent facts that are behind, and who is silent."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Q
from django.urls import reverse

from interventions import handlers
from interventions.handlers import Lag, Work
from sync import pulse, runs
from sync import targets as everything
from sync.backoff import Urgency
from sync.differences import Comparison
from sync.mirrors import declaration
from sync.models import Run, RunState
from sync.schedule import urgency

# So many of the oldest owed rows of a target are looked at. More of them mean an alert of their cause in any case.
MOST_ASKED, MOST_COMPARED = 10_000, 1_000
MOST_TOLD = 10
OUTCOMES = {"undone": "given back", "kept": "changed since", "waiting": "in somebody's hands"}
# What failed for good has its item, and what staff switched off has their decision: both are told of as what they are.
_UNATTENDED = f"""
SELECT target, min(at), count(DISTINCT person_id) FROM (
    SELECT asked.target, person_id, owed_since AS at
    FROM unnest(%(targets)s::text[]) AS asked (target) CROSS JOIN LATERAL (
        SELECT person_id, owed_since FROM sync_ledger
        WHERE target = asked.target AND owed_since IS NOT NULL AND owed_since < %(before)s
          AND excluded_reason IS NULL AND NOT is_paused
        ORDER BY owed_since LIMIT {MOST_ASKED}) AS owed
    WHERE NOT EXISTS (
        SELECT FROM manual_intervention_log AS item
        WHERE NOT item.resolved AND item.target <> '' AND item.operation = 'sync'
          AND item.entity_id IN (person_id::text, asked.target) AND item.target = asked.target)
    UNION ALL
    SELECT unnest(targets), person_id, at FROM (
        SELECT targets, person_id, at FROM sync_debt WHERE at < %(before)s LIMIT {MOST_ASKED}) AS debt
) AS waiting WHERE target = ANY(%(targets)s) GROUP BY target ORDER BY target
"""
_OWED = f"""
SELECT target, person_id, min(at) FROM (
    SELECT asked.target, person_id, owed_since AS at
    FROM unnest(%(targets)s::text[]) AS asked (target) CROSS JOIN LATERAL (
        SELECT person_id, owed_since FROM sync_ledger
        WHERE target = asked.target AND owed_since IS NOT NULL AND owed_since < %(before)s AND excluded_reason IS NULL
        ORDER BY owed_since LIMIT {MOST_COMPARED}) AS owed
    UNION ALL
    SELECT unnest(targets), person_id, at FROM (
        SELECT targets, person_id, at FROM sync_debt WHERE at < %(before)s LIMIT {MOST_COMPARED}) AS debt
) AS waiting WHERE target = ANY(%(targets)s) GROUP BY target, person_id
"""


def lags() -> list[Lag]:
    """Give what has been behind for longer than the settings allow; raises DatabaseError where it cannot be known."""
    now = dt.datetime.now(dt.UTC)
    return [
        *_unattended(now - dt.timedelta(minutes=settings.ALERT_OWED_MINUTES)),
        *_urgent(now - dt.timedelta(minutes=settings.ALERT_URGENT_MINUTES)),
        *_silent(now - dt.timedelta(minutes=settings.ALERT_URGENT_MINUTES)),
    ]


def repairs(since: dt.datetime) -> list[Work]:
    """Give the repairs, and undos of them, that were asked for or ended since then, or are under way; newest first."""
    wanted = Q(asked_at__gt=since) | Q(finished_at__gt=since) | Q(state__in=[RunState.RUNNING, RunState.PAUSED])
    return [
        Work(str(run), RunState(run.state).label, _outcomes(run), reverse("run", args=[run.pk]))
        for run in Run.objects.filter(wanted).order_by("-asked_at")[:MOST_TOLD]
    ]


def register() -> None:
    """Offer both to the desk."""
    handlers.register_lags(lags)
    handlers.register_works(repairs)


def _outcomes(run: Run) -> tuple[tuple[str, int], ...]:
    """Count what came of a run's rows, without the reasons why some were left."""
    counts = Counter[str]()
    for outcome, number in runs.report(run).items():
        kind = outcome.partition(": ")[0]
        counts[OUTCOMES.get(kind, kind)] += number
    return tuple(sorted(counts.items(), key=lambda one: (one[0] != "written", one[0])))


def _unattended(before: dt.datetime) -> list[Lag]:
    with connection.cursor() as cursor:
        cursor.execute(_UNATTENDED, {"targets": everything.names(), "before": before})
        return [
            Lag(
                name=f"owed:{target}", since=since, people=people, path=reverse("target", args=[target]),
                says=f"{target} is owed changes that nobody makes: no intervention says why.",
                advice="Look whether workers run, and what holds them up. What staff switched off is not counted here.",
            )
            for target, since, people in cursor.fetchall()
        ]  # fmt: skip


def _urgent(before: dt.datetime) -> list[Lag]:
    """Compare of those who are owed something in the places of urgent facts whether it is one of these that differs."""
    targets = [name for name in declaration().targets if urgency(name) is Urgency.URGENT]
    with connection.cursor() as cursor:
        cursor.execute(_OWED, {"targets": targets, "before": before})
        owed = {(person, target): at for target, person, at in cursor.fetchall()}
    if not owed:
        return []
    facts = {pair.mirror.fact for pair in declaration().pairs if pair.mirror.urgency is Urgency.URGENT}
    behind: dict[str, dict[tuple[int, str], dt.datetime]] = {}
    for entity, fact in _differing(targets, owed, facts):
        if entity in owed:
            behind.setdefault(fact, {})[entity] = owed[entity]
    return [_behind(fact, entities) for fact, entities in sorted(behind.items())]


def _differing(
    targets: list[str], owed: Iterable[tuple[int, str]], facts: set[str]
) -> Iterable[tuple[tuple[int, str], str]]:
    try:
        found = Comparison(declaration(), targets).found_among({person for person, _ in owed})
    except DatabaseError:
        # What cannot be compared counts as behind: nobody can say that it is not.
        return [(entity, fact) for entity in owed for fact in facts]
    return [((one.person_id, probe.target), probe.fact) for one in found for probe in one.probes if probe.fact in facts]


def _silent(before: dt.datetime) -> list[Lag]:
    """Tell that all workers or beat have given no sign of life; of those who never gave one nothing is known."""
    newest: dict[str, dt.datetime] = {}
    for sign in pulse.signs():
        newest[sign.role] = max(sign.at, newest.get(sign.role, sign.at))
    silent = {role: at for role, at in newest.items() if at < before}
    if not silent:
        return []
    says: dict[tuple[str, ...], str] = {
        (pulse.BEAT,): "Beat gives no sign of life: nobody wakes the workers.",
        (pulse.WORKER,): "No worker gives a sign of life: nothing is brought in line.",
    }
    return [
        Lag(
            name="silent", since=min(silent.values()), people=0, is_urgent=True, path=reverse("admin:index"),
            says=says.get(tuple(silent), "Neither workers nor beat give a sign of life: nothing is brought in line."),
            advice="Start them, and look into their logs of that time. What is owed is kept, and follows by itself.",
        )
    ]  # fmt: skip


def _behind(fact: str, entities: dict[tuple[int, str], dt.datetime]) -> Lag:
    _, target = min(entities, key=lambda entity: entities[entity])
    return Lag(
        name=f"urgent:{fact}", since=min(entities.values()), people=len({person for person, _ in entities}),
        says=f"{fact} is behind in {', '.join(sorted({name for _, name in entities}))}.",
        advice="What reads these places may let somebody in, or keep somebody out. Whoever asks the source is told right.",
        path=reverse("target", args=[target]), is_urgent=True,
    )  # fmt: skip
