"""What the desk says after and about an action, in numbers and with names."""

import datetime as dt
from collections.abc import Collection

from django.conf import settings

from interventions import handlers
from interventions.models import History, Intervention, State
from interventions.moments import ago, spelled
from interventions.operations import Report
from interventions.queries import Moment

ACTIONS = {
    "opened": "Opened for a person",
    "reopened": "Reopened: it differs again",
    "retry": "Retry asked for",
    "retry_failed": "Retry failed: needs a person again",
    "retry_lost": "Retry brought no answer in time: needs a person again",
    "resolved:auto": "Resolved by itself: both sides are equal",
    "resolved:verified": "Marked resolved: both sides were read back and are equal",
    "resolved:superseded": "Resolved: it no longer applies",
    "accepted:accepted": "Difference accepted",
    "retry_planned": "Bulk retry planned",
    "run_stop": "Run stopped: of the first ones some failed again",
    "repair_asked": "Repair asked for",
    "undo_asked": "Undo of a repair asked for",
    "run_start": "Run started",
    "run_pause": "Run paused",
    "run_resume": "Run taken up again",
    "run_cancel": "Run cancelled",
    "run_done": "Run done",
    "duplicate:merge": "Two enrollments of one address merged",
    "duplicate:keep_a": "One of two enrollments of one address kept",
    "duplicate:keep_b": "The other of two enrollments of one address kept",
    "duplicate:two_people": "Two enrollments of one address told apart: two people",
    "duplicate:undone": "Decision about two enrollments of one address undone",
    "status_merged": "Status taken over from a merged enrollment",
    "deletions_released": "Held deletions let take effect",
    "deletions_rejected": "Held deletions rejected",
    "erased": "Erased: nothing but ids and codes is left",
    "applied": "Applied as a therapist",
    "booking_requested": "Booking asked for",
    "booking_confirmed": "Booking confirmed",
    "booking_cancelled": "Booking cancelled",
    "credits_granted": "Credits granted",
    "credits_withdrawn": "Credits taken back",
    "email_changed": "E-mail address changed",
    "paused": "Switched off",
    "endpoint_added": "Directory entered",
    "endpoint_changed": "Directory changed",
    "endpoint_on": "Directory switched on",
    "endpoint_off": "Directory switched off",
    "endpoint_secret_rotated": "New secret made for a directory",
    "endpoint_secret_resealed": "Secret of a directory sealed by the newest key",
    "endpoint_secret_dropped": "Older secret of a directory dropped",
    "endpoint_tested": "Test sent to a directory",
    "resumed": "Switched on again",
    "answers_forgotten": "Forgot the kept answers of a service",
    "service_reset": "Had a service called again",
    "errands_cleared": "Cleared the record of errands that are over",
    "message_queued": "Had a text message queued",
    "breaker_open": "Left alone after failures: its rows are parked",
    "breaker_closed": "Works again: what was parked follows",
    "breaker_reset": "Tried at once, or its failures forgotten",
    "accepted:sql": "Marked resolved by a program that writes SQL",
    "assigned": "Taken on",
    "handed_back": "Handed back",
    "snoozed": "Snoozed",
    "unsnoozed": "Brought back before its time",
    "cause_acknowledged": "Cause taken on",
    "cause_taken_over": "Cause taken over",
    "cause_handed_back": "Cause handed back",
    "cause_snoozed": "Cause snoozed",
    "cause_unsnoozed": "Cause brought back before its time",
    "cause_ignored": "Cause ignored",
    "cause_unignored": "Cause heeded again",
    "cause_noted": "Note on the cause written",
    "alerts_tested": "Test alert asked for",
    "role_given": "Role at the desk given",
    "role_withdrawn": "Taken from the desk",
    "staff_left": "Left: cannot sign in any more",
    "cause_opened": "Cause seen for the first time",
    "cause_reopened": "Cause came back",
    "cause_resolved": "Cause gone: nothing of it is open",
}

BUSY = "Somebody else is writing there right now, so nothing was changed. Try again in a moment."
# Of so many things that somebody was first with it is said who.
FIRST_TOLD = 3


def retried(report: Report) -> str:
    """Tell what became of a wish to retry."""
    parts = [f"{_count(report.done, 'retry', 'retries')} started"]
    if report.already:
        parts.append(f"{report.already} {_were(report.already)} retrying or resolved already")
    if report.refused:
        parts.append(f"{report.refused} cannot be retried: nothing says who and where")
    if report.left:
        parts.append("more are left: press it again")
    return _sentence(parts)


def resolved(report: Report) -> str:
    """Tell what became of a wish to mark resolved."""
    parts = []
    if report.done:
        parts.append(f"{_count(report.done, 'intervention', 'interventions')} resolved, both sides equal")
    if report.accepted:
        parts.append(f"{_count(report.accepted, 'difference', 'differences')} accepted")
    if report.already:
        parts.append(f"{report.already} {_were(report.already)} resolved already")
    if report.refused:
        parts.append(f"{report.refused} {'stays' if report.refused == 1 else 'stay'} open")
    return _sentence(parts or ["Nothing was selected"])


def only_first(number: int, button: str) -> str:
    """Say that more were selected than one press takes."""
    return f"One press takes {number} at most. If you selected more, press {button} again for the rest."


def who(actors: Collection[str]) -> dict[str, str]:
    """Name the actors of history: people by name, the engine and programs by what they are."""
    known = handlers.names(actors)
    return {actor: known.get(actor) or _name(actor) for actor in actors}


def done_before(item: Intervention, now: dt.datetime) -> str:
    """Tell the second of two people who was first."""
    if item.state == State.RETRYING:
        # The wish lapses so long after it was made.
        asked_at = item.retry_until and item.retry_until - dt.timedelta(seconds=settings.SYNC_LEASE_SECONDS)
        return f"{_actor(item.retry_by)} asked for a retry {_ago(asked_at, now)}; it is under way."
    return f"{_actor(item.resolved_by)} resolved this {_ago(item.resolved_at, now)}."


def told_first(report: Report, now: dt.datetime) -> str:
    """Tell the second of two people who was first with what they wanted; of many, some."""
    return " ".join(dict.fromkeys(done_before(item, now) for item in report.before[:FIRST_TOLD]))


def moment(one: Moment, names: dict[str, str]) -> str:
    """Say one line of a timeline."""
    if one.kind == "try":
        took = f"{one.duration_ms} ms"
        if one.action == "settled":
            return f"Try {one.number} succeeded after {took}: written, read back, equal"
        named = f" ({one.error_object})" if one.error_object else ""
        return f"Try {one.number} failed after {took}: {one.code}{named}"
    said = _said(one.action, one.to_state)
    return said if one.actor == "system" else f"{said}, by {names.get(one.actor, one.actor)}"


def of_line(line: History, names: dict[str, str]) -> str:
    """Say one line of history."""
    said = _said(line.action, line.to_state)
    return said if line.actor == "system" else f"{said}, by {names.get(line.actor, line.actor)}"


def overtaken(line: History | None, now: dt.datetime) -> str:
    """Tell the second of two people who did what before them, and that nothing came of what they wanted."""
    if line is None:
        return "Nothing was changed: it stands otherwise by now."
    said = _said(line.action, line.to_state)
    return f"Nothing was changed: {_actor(line.actor)} was first, {_ago(line.at, now)}. {said}."


def _said(action: str, to_state: str | None) -> str:
    said = ACTIONS.get(action, action)
    if to_state and action.removeprefix("cause_") in {"snoozed", "ignored"}:
        return f"{said} until {spelled(dt.datetime.fromisoformat(to_state))}"
    return said


def _actor(actor: str | None) -> str:
    return who([actor or "system"])[actor or "system"]


def _ago(at: dt.datetime | None, now: dt.datetime) -> str:
    return ago(at, now) if at else "some time ago"


def _name(actor: str) -> str:
    if actor == "system":
        return "Keepwell"
    return f"the database role {actor[4:]}" if actor.startswith("sql:") else actor.replace("user:", "user ")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _sentence(parts: list[str]) -> str:
    return ", ".join(parts) + "."
