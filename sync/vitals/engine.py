"""How Keepwell itself is: the net, what is owed, targets, interventions, consistency, and who is at work."""

import datetime as dt
from collections import defaultdict
from functools import partial

from django.conf import settings
from django.db import connection
from django.utils import timezone

from interventions import causes, failures, idempotency, queries
from sync import breaker_state, consistency, ledger, pauses, pulse, triggers
from sync import targets as everything
from sync.breaker import State
from sync.models import Belated, Debt, Gap
from sync.vitals.parts import Part, Verdict, counted, lasting, worst

# So many rows are counted of each kind; more than that are "at least", and the alarm is the same.
MOST_COUNTED = 50_000
MOST_OPERATIONS, MOST_OUTCOMES = 50, 100
FEWER_ITEMS = 5
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
# A copy that the ledger and debt both know of is one copy, behind since the earlier of the two. Debt may name a kind of service.
_OWED = f"""
SELECT count(*), coalesce(sum(extract(epoch FROM clock_timestamp() - since)), 0)::float8,
       coalesce(max(extract(epoch FROM clock_timestamp() - since)), 0)::float8
FROM (SELECT person_id, target, min(since) AS since FROM (
    (SELECT person_id, target, owed_since AS since FROM sync_ledger
     WHERE owed_since IS NOT NULL AND excluded_reason IS NULL LIMIT {MOST_COUNTED})
    UNION ALL
    SELECT person_id, coalesce(service.target, word), at FROM (
        SELECT person_id, targets, at FROM sync_debt ORDER BY id LIMIT {MOST_COUNTED}) AS debt
    CROSS JOIN unnest(targets) AS word
    LEFT JOIN sync_service AS service ON service.is_configured AND word = '*' || service.kind
    WHERE word NOT LIKE '*%' OR service.target IS NOT NULL) AS known
GROUP BY person_id, target) AS owed
"""
_STATES = f"""
SELECT target, CASE WHEN is_paused THEN 'parked' WHEN excluded_reason IS NOT NULL THEN 'excluded'
    WHEN lease_until > clock_timestamp() THEN 'leased' WHEN next_attempt_at IS NULL THEN 'blocked'
    WHEN next_attempt_at > clock_timestamp() THEN 'backing_off' ELSE 'due' END AS state, count(*)
FROM (SELECT * FROM sync_ledger WHERE owed_since IS NOT NULL LIMIT {MOST_COUNTED}) AS owed GROUP BY 1, 2
"""
_TRIES = f"""
SELECT target, outcome, count(*) FROM (
    SELECT target, outcome FROM sync_attempt WHERE at > %s AND outcome <> 'settled' ORDER BY at DESC LIMIT {MOST_COUNTED}
) AS failed GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT {MOST_OUTCOMES}
"""
# Of a table, tries that failed and those that mended it; of an outside service, every call.
_DURATIONS = f"""
SELECT target, outcome, avg(duration_ms)::float8 / 1000 FROM (
    SELECT target, outcome, duration_ms FROM sync_attempt WHERE at > %s ORDER BY at DESC LIMIT {MOST_COUNTED}
) AS made GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2 LIMIT {MOST_OUTCOMES}
"""
_ITEMS = f"""
SELECT state, count(*) FROM (
    SELECT state FROM manual_intervention_log WHERE NOT resolved LIMIT {MOST_COUNTED}) AS live GROUP BY 1
"""


def net() -> Part:
    """Tell whether every write is seen and copied, and whether that was so without a break."""
    status = triggers.status()
    gap = Gap.objects.filter(audited_at=None).order_by("id").first()
    wrong = [f"{part.name} {part.state}" for part in status.parts if part.state != "installed"]
    has_debt, is_copying = status.debt == "on", status.copying == "on"
    says = f"debt {status.debt}, copying {status.copying}"
    if not status.is_verified:
        says += "; it was off, and no audit has run since"
    verdict = worst(
        (not is_copying or not status.is_verified, Verdict.WORRYING),
        (not has_debt or any(part.state == "differs" for part in status.parts), Verdict.BAD),
    )
    figures = {
        "debt": has_debt, "copying": is_copying, "is_verified": status.is_verified, "wrong": wrong,
        "gap": gap and {"opened_at": gap.opened_at.isoformat(), "closed_at": gap.closed_at and gap.closed_at.isoformat()},
    }  # fmt: skip
    return Part("net", verdict, says, figures)


def owed() -> Part:
    """Tell how many copies are behind, for how long the oldest is, and how much time that is together."""
    with connection.cursor() as cursor:
        cursor.execute(_OWED)
        copies, behind, oldest = cursor.fetchone()
        cursor.execute(_STATES)
        states: dict[str, dict[str, int]] = defaultdict(dict)
        for target, state, number in cursor.fetchall():
            states[target][state] = number
    debt, belated = Debt.objects.all()[:MOST_COUNTED].count(), Belated.objects.all()[:MOST_COUNTED].count()
    if belated:
        first = Belated.objects.order_by("at").values_list("at", flat=True).first()
        oldest = max(oldest, (timezone.now() - first).total_seconds() if first else 0)
    says = f"{counted(copies, 'copy').replace('copys', 'copies')} behind, the oldest for {lasting(oldest)}"
    verdict = worst(
        (oldest > 60 * settings.ALERT_OWED_MINUTES, Verdict.WORRYING),
        (oldest > 3600 * settings.ALERT_PAGE_HOURS, Verdict.BAD),
    )
    figures = {
        "copies": copies, "oldest_seconds": round(oldest, 1), "divergence_seconds": round(behind, 1),
        "debt_rows": debt, "belated_rows": belated, "states": dict(states),
        "is_cut": max(copies, debt, belated) >= MOST_COUNTED,
    }  # fmt: skip
    return Part("owed", verdict, says if copies or belated else "nothing", figures)


def targets() -> Part:
    """Tell which targets are left alone, by their breaker or by staff, and which refuse everybody."""
    now, known, paused = timezone.now(), breaker_state.states(), pauses.listed(pauses.Scope.TARGET)
    misconfigured = everything.misconfigured()
    words = {
        name: breaker_state.word(
            known.get(name, State()), now, is_misconfigured=name in misconfigured,
            has_parked=partial(ledger.is_parked, [name]),
        )
        for name in everything.names()
    }  # fmt: skip
    off = [name for name in words if name in paused]
    stopped = [key for key in pauses.OPERATIONS if pauses.is_paused(key)]
    told = [f"{name} {everything.SPOKEN[word]}" for name, word in words.items() if word != "working"]
    told += [f"{name} switched off by staff" for name in off]
    told += [f"switched off by staff: {pauses.OPERATIONS[key].lower()}" for key in stopped]
    absent = everything.unconfigured()
    verdict = worst(
        (bool(told), Verdict.WORRYING),
        (not {"parked", "misconfigured"}.isdisjoint(words.values()), Verdict.BAD),
    )
    figures = {
        "words": words, "shut": {name: word in {"parked", "throttled"} for name, word in words.items()},
        "failures": {name: known.get(name, State()).failures for name in words},
        "switched_off": {name: name in off for name in words}, "operations_switched_off": stopped,
        "not_configured": absent,
    }  # fmt: skip
    says = ", ".join(told) or f"all {len(words)} work"
    if absent:
        says += f"; not configured, so owed nothing: {', '.join(absent)}"
    return Part("targets", verdict, says, figures)


def items() -> Part:
    """Tell how much needs a person, and for how many reasons."""
    with connection.cursor() as cursor:
        cursor.execute(_ITEMS)
        states = {"open": 0, "retrying": 0, "reopened": 0} | dict(cursor.fetchall())
    waiting, live = queries.waiting(at=timezone.now()), sum(states.values())
    reasons = causes.live().order_by()[:MOST_COUNTED].count()
    says = f"{counted(live, 'item')} open, {waiting.now:,} of them for a person now; {counted(reasons, 'cause')}"
    figures = {
        "states": states, "open": live, "for_a_person": waiting.now, "put_off": waiting.put_off, "causes": reasons,
        "is_cut": live >= MOST_COUNTED,
    }  # fmt: skip
    return Part("items", worst((waiting.now >= FEWER_ITEMS, Verdict.BAD)), says if live else "none open", figures)


def equality() -> Part:
    """Tell of how many facts every copy is equal, as the last full audit found."""
    known = consistency.last_known()
    if known is None:
        return Part("consistency", Verdict.BAD, "not known yet: no full audit has counted everybody")
    total, age = known.total, timezone.now() - known.at
    is_old = age > 2 * dt.timedelta(hours=settings.AUDIT_INTERVAL_HOURS)
    says = f"{total.percent:g} %: {total.consistent:,} of {total.of:,} facts, {lasting(age.total_seconds())} ago"
    figures = {
        "percent": total.percent, "consistent": {one.fact: one.consistent for one in known.facts},
        "compared": {one.fact: one.of for one in known.facts}, "at": known.at.isoformat(),
        "age_seconds": round(age.total_seconds()),
    }  # fmt: skip
    return Part("consistency", worst((is_old or total.consistent < total.of, Verdict.WORRYING)), says, figures)


def signs() -> Part:
    """Tell when workers and beat were last at it, and how many streams are open."""
    now, ages, alive, names = timezone.now(), dict[str, float](), dict[str, int](), list[str]()
    found = pulse.signs()
    for role in (pulse.WORKER, pulse.BEAT):
        mine = [sign for sign in found if sign.role == role]
        alive[role] = sum(not sign.is_silent(now) for sign in mine)
        names += [sign.name or role for sign in mine if sign.is_silent(now) and now - sign.at < DAY]
        if mine:
            ages[role] = round((now - max(sign.at for sign in mine)).total_seconds(), 1)
    says = f"{counted(alive[pulse.WORKER], 'worker')} at work, beat {'ticks' if alive[pulse.BEAT] else 'is silent'}"
    says += f"; silent: {', '.join(sorted(names))}" if names else ""
    verdict = worst((bool(names), Verdict.WORRYING), (not all(alive.values()), Verdict.BAD))
    # One that was killed and replaced leaves its sign behind, for as long as signs are kept; what counts is that one is at it.
    streaming = [sign for sign in found if sign.role == pulse.STREAMS]
    serving = [sign for sign in streaming if not sign.is_silent(now)]
    if streaming:
        alive[pulse.STREAMS], ages[pulse.STREAMS] = (
            len(serving),
            round((now - max(s.at for s in streaming)).total_seconds(), 1),
        )
        open_now = sum(sign.load or 0 for sign in serving)
        says += f"; {counted(open_now, 'stream')} open" if serving else "; no streams process is at work"
        verdict = worst((not serving, Verdict.WORRYING), (True, verdict))
    figures = {
        "alive": alive, "age_seconds": ages, "streams": sum(sign.load or 0 for sign in serving),
        "signs": [{"role": s.role, "name": s.name, "at": s.at.isoformat(), "is_silent": s.is_silent(now)} for s in found],
    }  # fmt: skip
    return Part("signs", verdict, says, figures)


def failed() -> Part:
    """Tell what failed: answers within a day, by operation, and tries within an hour, by target and code; and how long tries took."""
    now = timezone.now()
    answers = dict(list(failures.since(now - DAY).items())[:MOST_OPERATIONS])
    tries: dict[str, dict[str, int]] = defaultdict(dict)
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(_TRIES, [now - HOUR])
        for target, outcome, number in cursor.fetchall():
            tries[target][outcome] = number
        cursor.execute(_DURATIONS, [now - HOUR])
        for target, outcome, mean in cursor.fetchall():
            seconds[target][outcome] = round(mean, 3)
    times = sum(number for outcomes in tries.values() for number in outcomes.values())
    says = f"{counted(sum(answers.values()), 'answer')} failed within a day, and {times:,} {'try' if times == 1 else 'tries'} within an hour"
    figures = {"answers": answers, "tries": dict(tries), "seconds": dict(seconds)}
    return Part("failures", worst((bool(answers), Verdict.WORRYING)), says, figures)


def keys() -> Part:
    """Tell how many idempotency keys are kept."""
    found = idempotency.statistics()
    says = f"about {counted(found['rows'], 'key')} kept, {found['unanswered']:,} never answered within a day"
    return Part("keys", worst((found["is_too_many"], Verdict.WORRYING)), says, found)
