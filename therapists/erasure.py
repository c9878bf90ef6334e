"""Erase a person from every table and file. History stays: it holds ids and codes only."""

import datetime as dt
import logging
from dataclasses import dataclass, field
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from interventions import intake
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.models import History
from therapists import bookings, images
from therapists.models import Enrollment, Profile, User
from therapists.operations import set_bounds

logger = logging.getLogger(__name__)

ERASED = "erased"
WAIT_MS, STATEMENT_MS = 2_000, 60_000

# Every table that may hold something of a person. Rows that are theirs alone go; `{people}`, `{enrollments}` and
# `{profiles}` stand for the parameters. The order is that of the deletions: debt and ledger last, for deleting owes.
ROWS: dict[str, str] = {
    # First: from here on nobody acts in their name.
    "user_sessions": "person_id = ANY(%(people)s)",
    "mfa_authenticator": "user_id = ANY(%(people)s)",
    "axes_accessattempt": "username = ANY(%(addresses)s)",
    "users_groups": "user_id = ANY(%(people)s)",
    "users_user_permissions": "user_id = ANY(%(people)s)",
    "therapist_profiles": "id = ANY(%(profiles)s)",
    "enrollment_decisions": "enrollment_id = ANY(%(enrollments)s)",
    "therapist_enrollments": "id = ANY(%(enrollments)s)",
    # Of a therapist who goes, what clients had stays theirs: ids and times.
    "bookings": "client_id = ANY(%(people)s)",
    "users": "id = ANY(%(people)s)",
    # Before the table that a worker may append it to at this moment. A tombstone that comes late stays one.
    "sync_belated": "person_id = ANY(%(people)s) AND target <> 'sync_tombstone'",
    "user_aliases": "person_id = ANY(%(people)s)",
    "sync_lost_value": "person_id = ANY(%(people)s)",
    "sync_run_change": "person_id = ANY(%(people)s)",
    "sync_attempt": "person_id = ANY(%(people)s)",
    "sync_pause": "scope = 'person' AND key = ANY(%(people)s::text[])",
    # What services were told they are still to forget; by then there are ids alone to be told.
    "sync_debt": "person_id = ANY(%(people)s) AND code IS DISTINCT FROM 'service'",
    "sync_ledger": "person_id = ANY(%(people)s) AND told IS NULL",
    "keyed_request": "person_id = ANY(%(people)s)",
    "sync_kept_answer": "person_id = ANY(%(people)s)",
    # An applicant has no person's id. What waits is not sent any more.
    "sync_errand": "person_id = ANY(%(people)s) OR (payload ->> 'enrollment') = ANY(%(enrollments)s::text[])",
    "sync_service_failure": "person_id = ANY(%(people)s)",
    # What they read as staff.
    "intervention_alert_reading": "user_id = ANY(%(people)s)",
}
# Rows that stay, and what becomes of their columns: an SQL expression, or None where a column holds ids, codes, times
# and numbers only. A column that is not named here fails a test.
THEIRS = (
    "person_id = ANY(%(people)s) OR lower(entity_id) = ANY(%(addresses)s) OR (person_id IS NULL AND CASE target"
    " WHEN 'therapist_enrollments' THEN entity_id = ANY(%(enrollments)s::text[]) WHEN '' THEN entity_id = ANY(%(people)s::text[]) END)"
)
_MENTIONS = (
    "EXISTS (SELECT FROM unnest(%(addresses)s::text[]) AS address"
    " WHERE strpos(lower(concat(entity_id, error, payload, resolution_notes)), address) > 0)"
)
_LOG = {
    "id": None, "operation": None, "timestamp": None, "resolved_by": None, "person_id": None, "target": None,
    "code": None, "cause": None, "attempts": None, "last_failed_at": None, "retry_by": None, "attempt_id": None,
    "assignee": None, "snoozed_until": None, "entity_id": "CASE WHEN entity_id ~ '^[0-9]+$' THEN entity_id ELSE 'erased' END",
    "error": "'erased'", "payload": "NULL", "resolution_notes": "NULL", "compared": "NULL",
    # What only mentions them stays open for whoever it is about.
    # A wish to retry it keeps its end, or it would never lapse.
    "resolved": f"resolved OR coalesce({THEIRS}, false)",
    "retry_until": f"CASE WHEN coalesce({THEIRS}, false) THEN NULL ELSE retry_until END",
    "state": f"CASE WHEN coalesce({THEIRS}, false) THEN 'resolved' ELSE state END",
    "resolution": f"CASE WHEN coalesce({THEIRS}, false) THEN coalesce(resolution, 'superseded') ELSE resolution END",
    "resolved_at": f"CASE WHEN coalesce({THEIRS}, false) THEN coalesce(resolved_at, now()) ELSE resolved_at END",
}  # fmt: skip
_ADMIN_LOG = {
    "id": None, "action_time": None, "object_id": None, "action_flag": None, "content_type_id": None, "user_id": None,
    "object_repr": "'erased'", "change_message": "''",
}  # fmt: skip
# Notes of staff about a cause: what names an address of theirs goes; the reason must say something.
_CAUSE = {
    "id": None, "fingerprint": None, "target": None, "code": None, "state": None, "first_at": None, "reopened_at": None,
    "resolved_at": None, "owner": None, "acknowledged_at": None, "acknowledged_by": None, "snoozed_until": None,
    "ignored_at": None, "ignored_until": None, "ignored_reason": "CASE WHEN ignored_reason <> '' THEN 'erased' END",
    "note": "CASE WHEN note <> '' THEN 'erased' ELSE '' END",
}  # fmt: skip
_CAUSE_MENTIONS = (
    "EXISTS (SELECT FROM unnest(%(addresses)s::text[]) AS address"
    " WHERE strpos(lower(concat(note, ' ', ignored_reason)), address) > 0)"
)
# Answers that others were given: without it, one is composed anew for whoever asks again. Those of therapists hold their own.
_ANSWER = {
    "id": None, "person_id": None, "key": None, "method": None, "route": None, "digest": None, "at": None,
    "revision": None, "outcome": None, "status": "NULL", "headers": "NULL", "body": "NULL",
}  # fmt: skip
_ANSWER_MENTIONS = (
    "person_id = ANY(%(people)s) OR body IS NOT NULL AND route NOT LIKE '/api/v1/therapists/me/%%'"
    " AND (EXISTS (SELECT FROM unnest(%(addresses)s::text[]) AS address WHERE strpos(lower(body), address) > 0)"
    """ OR EXISTS (SELECT FROM unnest(%(people)s::bigint[]) AS person WHERE body ~ ('"person_id":' || person || '[,}]')))"""
)
SCRUBBED: dict[str, tuple[str, dict[str, str | None]]] = {
    "keyed_request": (_ANSWER_MENTIONS, _ANSWER),
    "intervention_cause": (_CAUSE_MENTIONS, _CAUSE),
    "manual_intervention_log": (f"({THEIRS} OR {_MENTIONS}) AND error <> 'erased'", _LOG),
    "django_admin_log": (
        "object_repr <> 'erased' AND (user_id = ANY(%(people)s) OR (content_type_id, object_id) IN"
        " (SELECT * FROM unnest(%(types)s::int[], %(objects)s::text[])))",
        _ADMIN_LOG,
    ),
}
# Tables that hold nothing of anybody, or ids, codes and times alone.
IMPERSONAL: dict[str, frozenset[str]] = {
    table: frozenset(columns.split())
    for table, columns in {
        "intervention_history": "id at actor action object_type object_id from_state to_state run_id request_id",
        "credit_entries": "id person_id number amount balance kind booking_id by at",
        "failed_request": "id operation hour number",
        "intervention_retry_run": "id title cause state asked_by asked_at started_at moved_at finished_at is_past_canary total",
        "intervention_retry_run_item": "id run_id item_id person_id target outcome at",
        "intervention_alert": "id subject level kind says advice path items people since raised_at told_at ended_at",
        "intervention_alert_delivery": "id alert_id digest_id kind channel state made_at next_attempt_at attempts lease_until"
        " sent_at trouble",
        "intervention_alert_watch": "id looked_at",
        "intervention_digest": "day since made_at content",
        "sync_tombstone": "id person_id target row_id kind at applied_at hold_id",
        "sync_hold": "id target opened_at decided_at decided_by is_released",
        "sync_breaker": "target word since failures lone recent probe_at probe_seconds probe throttled_until ramp_since"
        " ramp_taken code error_object",
        "sync_service": "target kind is_configured digest since xid everybody_owed_at",
        "sync_endpoint": "id name url read_url secret older_secret is_on made_at made_by secret_since",
        "sync_service_tally": "service hour outcome number milliseconds",
        "stream_event": "id topic subject people revision at",
        "stream_mark": "source reached ahead xid",
        "sync_batch": "id pid backend_start server_start people deaths",
        "sync_pulse": "role name at load",
        "sync_gap": "id opened_at closed_at audited_at",
        "sync_audit": "id started_at finished_at is_full revision xid covered found",
        "sync_run": "id kind state undoes_id asked_by asked_at started_at moved_at finished_at is_for_workers until_person"
        " after_person rounds plan tally",
        # For some minutes: a digest of an address, a person's id, an IP address.
        "sign_in_notes": "cache_key value expires",
        # Nothing is written into these four.
        "account_emailconfirmation": "id created sent key email_address_id",
        "axes_accesslog": "id user_agent ip_address username http_accept path_info attempt_time logout_time session_hash",
        "axes_accessfailurelog": "id user_agent ip_address username http_accept path_info attempt_time locked_out",
        "axes_accessattemptexpiration": "access_attempt_id expires_at",
        "django_migrations": "id app name applied",
        "django_content_type": "id app_label model",
        "auth_permission": "id name content_type_id codename",
        "auth_group": "id name",
        "auth_group_permissions": "id group_id permission_id",
    }.items()
}


@dataclass
class Subject:
    """Whose data goes: the ids under which they are known, and the addresses by which others wrote about them."""

    people: list[int] = field(default_factory=list)
    enrollments: list[int] = field(default_factory=list)
    profiles: list[int] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


class NobodyThere(Exception):
    """Nothing is kept under this id."""


def find(*, person_id: int | None = None, enrollment_id: int | None = None) -> Subject:
    """
    Find everything that is kept of a person, also one who was deleted, or of an applicant by their enrollment.

    Raises NobodyThere.
    """
    with transaction.atomic():
        # A table that somebody holds is told to whoever asks, and not waited for.
        set_bounds(WAIT_MS, STATEMENT_MS)
        return _found(person_id, enrollment_id)


def _found(person_id: int | None, enrollment_id: int | None) -> Subject:
    people = [person_id] if person_id is not None else []
    enrollments, profiles = [enrollment_id] if enrollment_id is not None else [], list[int]()
    with connection.cursor() as cursor:
        if enrollment_id is not None:
            cursor.execute("SELECT user_id FROM therapist_enrollments WHERE id = %s", [enrollment_id])
            people += [row[0] for row in cursor.fetchall() if row[0] is not None]
        for table, found in (("therapist_enrollments", enrollments), ("therapist_profiles", profiles)):
            cursor.execute(
                f"SELECT id FROM {table} WHERE user_id = ANY(%(people)s) OR id IN (SELECT row_id FROM sync_tombstone"
                f" WHERE target = '{table}' AND kind = 'unlinked' AND person_id = ANY(%(people)s)) AND user_id IS NULL",
                {"people": people},
            )
            found += [row[0] for row in cursor.fetchall() if row[0] not in found]
        # What gave way to theirs is theirs.
        cursor.execute("SELECT id FROM therapist_enrollments WHERE superseded_by = ANY(%s)", [enrollments])
        enrollments += [row[0] for row in cursor.fetchall() if row[0] not in enrollments]
    subject = Subject(people, enrollments, profiles)
    users = User.objects.filter(pk__in=people)
    if not users and not Enrollment.objects.filter(pk__in=enrollments) and not counts(subject):
        raise NobodyThere
    subject.addresses, subject.files = _addresses(subject), _files(subject)
    return subject


def counts(subject: Subject) -> dict[str, int]:
    """Count what would go, table by table; tables without a row of theirs are left out."""
    found = {}
    with connection.cursor() as cursor:
        for table, (where, _) in ({name: (where, {}) for name, where in ROWS.items()} | SCRUBBED).items():
            cursor.execute(f"SELECT count(*) FROM {table} WHERE {where}", parameters(subject))
            found[table] = int(cursor.fetchone()[0])
    found["avatar files"] = len(subject.files)
    return {name: number for name, number in found.items() if number}


def erase(*, subject: Subject, by: str, at: dt.datetime) -> dict[str, int]:
    """
    Erase the person in one transaction, then their files; gives what went. This cannot be undone.

    A tombstone and one line of history stay, with ids only. What a backup holds is not reached from here.
    """
    # What still waits to be written into the log is about to be: it must be there to be found.
    intake.take_in()
    with transaction.atomic():
        set_bounds(WAIT_MS, STATEMENT_MS)
        list(User.objects.select_for_update().filter(pk__in=subject.people).order_by("pk"))
        list(Enrollment.objects.select_for_update().filter(pk__in=subject.enrollments).order_by("pk"))
        list(Profile.objects.select_for_update().filter(pk__in=subject.profiles).order_by("pk"))
        subject.addresses, subject.files = _addresses(subject), _files(subject)
        bookings.call_off(people=subject.people, by=by, at=at)
        gone = counts(subject)
        reach("therapists.erase.before_write", subject.people)
        with connection.cursor() as cursor:
            for table, (where, columns) in SCRUBBED.items():
                changes = ", ".join(f"{name} = {value}" for name, value in columns.items() if value is not None)
                cursor.execute(f"UPDATE {table} SET {changes} WHERE {where}", parameters(subject))
            for table, where in ROWS.items():
                cursor.execute(f"DELETE FROM {table} WHERE {where}", parameters(subject))
        History.objects.bulk_create(
            History(actor=by, action=ERASED, object_type=kind, object_id=str(pk), request_id=request_id.get())
            for kind, ids in (("user", subject.people), ("enrollment", subject.enrollments))
            for pk in ids
        )
        reach("therapists.erase.before_commit", subject.people)
    reach("therapists.erase.after_commit", subject.people)
    images.delete_unused(subject.files)
    logger.info("therapists.person.erased", extra={"people": subject.people, "actor": by})
    return gone


def parameters(subject: Subject) -> dict[str, Any]:
    """Give the parameters of every condition in ROWS and SCRUBBED."""
    objects = [
        (ContentType.objects.get_for_model(model).pk, str(pk))
        for model, ids in ((User, subject.people), (Enrollment, subject.enrollments), (Profile, subject.profiles))
        for pk in ids
    ]
    return {
        "people": subject.people, "enrollments": subject.enrollments, "profiles": subject.profiles,
        "addresses": subject.addresses, "types": [kind for kind, _ in objects], "objects": [pk for _, pk in objects],
    }  # fmt: skip


def _addresses(subject: Subject) -> list[str]:
    """Collect every address that they have or had, as it was spelled and as it is compared; lower case."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT lower(word) FROM (SELECT unnest(ARRAY[email, email_norm]) AS word FROM users WHERE id = ANY(%(people)s)"
            " UNION ALL SELECT unnest(ARRAY[email, email_norm]) FROM user_aliases WHERE person_id = ANY(%(people)s)"
            " UNION ALL SELECT unnest(ARRAY[values ->> 'email', values ->> 'email_norm']) FROM sync_belated WHERE person_id = ANY(%(people)s)"
            " UNION ALL SELECT unnest(ARRAY[email, email_norm]) FROM therapist_enrollments WHERE id = ANY(%(enrollments)s)"
            ") AS known WHERE word LIKE '%%@%%'",
            {"people": subject.people, "enrollments": subject.enrollments},
        )
        return sorted(row[0] for row in cursor.fetchall())


def _files(subject: Subject) -> list[str]:
    """Find the avatar files that their rows name."""
    ids = {
        "users": subject.people,
        "therapist_enrollments": subject.enrollments,
        "therapist_profiles": subject.profiles,
    }
    return sorted(images.named_by(ids))
