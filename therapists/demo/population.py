"""A population of therapists, made by the database set by set: memory stays small whatever the number."""

import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from therapists import demo_texts
from therapists.demo.avatars import store_avatars

BATCH = 50_000
# Beside the therapists asked for: applications without a user, and profiles that lost theirs.
APPLICANTS_IN_A_THOUSAND = 20
ORPHANS_IN_A_THOUSAND = 5
_LISTS = (
    "avatars", "specialties", "topics", "with_years", "without_years", "phones", "hosts",
    *(f"say_{kind}" for kind in demo_texts.SENTENCES),
)  # fmt: skip
# What an accent's decomposition leaves over.
_PLAIN = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "\u0131": "i", "đ": "d", "\u2019": "", "ß": "ss"})


def _dice(salt: int, sides: int | str) -> str:
    """Give the SQL of a whole number below `sides`, the same for the same row, seed and salt."""
    return f"mod(hashint8extended(n, %(seed)s + {salt}) & 9223372036854775807, {sides})::int"


def _pick(salt: int, words: str) -> str:
    return f"({words})[1 + {_dice(salt, f'cardinality({words})')}]"


# Sentences fill the places of format() in the order of demo_texts.SENTENCES.
_SAID = (
    ", ".join(
        f"replace(replace({_pick(50 + place, f'w.say_{kind}')}, '{{{{years}}}}', coalesce(years::text, '')), '{{{{topic}}}}', w.topics[topic])"
        for place, kind in enumerate(demo_texts.SENTENCES)
    )
    .replace("{{", "{")
    .replace("}}", "}")
)
# Every # of a phone's pattern becomes a digit.
_DIGITS = "phone_pattern"
for _place in range(4):
    _DIGITS = f"regexp_replace({_DIGITS}, '#', {_dice(70 + _place, 10)}::text)"

_BATCH = f"""
CREATE TEMP TABLE demo_batch ON COMMIT DROP AS
WITH w AS MATERIALIZED (SELECT {", ".join(f"%({name})s::text[] AS {name}" for name in _LISTS)}),
culture AS MATERIALIZED (
    SELECT ordinality AS culture, string_to_array(f, ' ') AS first, string_to_array(l, ' ') AS last,
           string_to_array(pf, ' ') AS plain_first, string_to_array(pl, ' ') AS plain_last
    FROM unnest(%(first)s::text[], %(last)s::text[], %(plain_first)s::text[], %(plain_last)s::text[])
        WITH ORDINALITY AS names (f, l, pf, pl)),
numbered AS (
    SELECT n, n > %(therapists)s AND n <= %(applicants_to)s AS is_applicant, n > %(applicants_to)s AS is_orphan,
           CASE WHEN n <= %(therapists)s AND floor(n * %(percent)s / 100) > floor((n - 1) * %(percent)s / 100)
                THEN mod(floor(n * %(percent)s / 100)::int, 7) END AS drift
    FROM generate_series(%(first_n)s::bigint, %(last_n)s::bigint) AS n),
person AS (
    SELECT n, nextval(pg_get_serial_sequence('users', 'id')) AS id, is_applicant, is_orphan, drift,
           NOT is_applicant AND NOT is_orphan AS is_user,
           NOT is_orphan AND (is_applicant OR drift IS NOT NULL OR {_dice(2, 100)} > 0) AS is_enrolled,
           CASE WHEN is_applicant THEN 'pending' WHEN {_dice(3, 100)} < 80 THEN 'approved'
                WHEN {_dice(3, 100)} < 92 THEN 'pending' WHEN {_dice(3, 100)} < 97 THEN 'rejected'
                ELSE 'suspended' END AS status,
           CASE WHEN {_dice(4, 30)} > 0 THEN 2 + ({_dice(5, 20)} + {_dice(6, 20)}) END AS years,
           1 + {_dice(7, "(SELECT count(*) FROM culture)")} AS culture, 1 + {_dice(8, 22)} AS topic,
           now() - make_interval(days => 40 + {_dice(9, 1700)}, mins => {_dice(10, 1440)}) AS created_at
    FROM numbered),
described AS (
    SELECT person.*, {_pick(20, "w.phones")} AS phone_pattern,
           CASE WHEN {_dice(21, 12)} = 0 THEN 'Dr ' ELSE '' END
               || {_pick(22, "culture.first")} || ' ' || {_pick(23, "culture.last")} AS name,
           {_pick(22, "culture.plain_first")} || '.' || {_pick(23, "culture.plain_last")} || id
               || '@' || {_pick(24, "w.hosts")} AS email,
           (ARRAY[w.specialties[topic], w.specialties[1 + mod(topic + {_dice(25, 10)}, 22)],
                  w.specialties[1 + mod(topic + 10 + {_dice(26, 10)}, 22)]])[: 1 + {_dice(27, 3)}] AS specialties,
           (ARRAY[', ', ', ', '; ', ' | '])[1 + {_dice(36, 4)}] AS separator,
           CASE WHEN {_dice(28, 25)} > 0 THEN format(
               CASE WHEN years IS NULL OR {_dice(29, 2)} = 0 THEN {_pick(30, "w.without_years")}
                    ELSE {_pick(31, "w.with_years")} END, {_SAID}) END AS bio,
           CASE WHEN {_dice(32, 3)} = 0 THEN {_pick(33, "w.avatars")} END AS avatar
    FROM person JOIN culture USING (culture) CROSS JOIN w)
SELECT described.*, CASE WHEN {_dice(34, 14)} > 0 THEN {_DIGITS} END AS phone,
       is_orphan OR (is_enrolled AND NOT is_applicant
           AND (drift IS NOT NULL OR status IN ('approved', 'suspended') OR {_dice(35, 2)} = 0)) AS has_profile,
       CASE WHEN avatar IS NULL THEN 0 ELSE nextval('sync_revision') END AS avatar_revision
FROM described
"""
# A `drift` of 0 to 6 names the one copy that differs. Lists are spelled as people spell them: it makes no difference.
_INSERTS = (
    """
INSERT INTO users (id, password, email, full_name, user_type, avatar_url, is_verified, is_active, is_staff,
                   is_superuser, created_at, avatar_revision)
SELECT id, '!', email, name, 'therapist', avatar,
       (is_enrolled AND status = 'approved') <> (drift IS NOT DISTINCT FROM 3), true, false,
       false, created_at, avatar_revision
FROM demo_batch WHERE is_user
""",
    """
INSERT INTO therapist_enrollments (user_id, email, full_name, phone, bio, experience_years, specialization, status,
                                   approved_at, status_reason, profile_image_url, created_at, updated_at,
                                   avatar_revision)
SELECT CASE WHEN is_user THEN id END, email, CASE WHEN drift = 4 THEN 'Prof. ' ELSE '' END || name, phone, bio, years,
       array_to_string(specialties, separator), status,
       CASE WHEN status IN ('approved', 'suspended') THEN created_at + interval '9 days' END,
       CASE status WHEN 'rejected' THEN 'The registration number could not be confirmed.'
                   WHEN 'suspended' THEN 'The insurance has lapsed.' ELSE '' END,
       avatar, created_at, created_at, avatar_revision
FROM demo_batch WHERE is_enrolled
""",
    """
INSERT INTO therapist_profiles (user_id, bio, experience_years, phone, specialization, verification_status,
                                profile_image_url, views, created_at, updated_at, avatar_revision)
SELECT CASE WHEN is_user THEN id END,
       CASE WHEN drift = 0 THEN concat_ws(' ', bio, 'At the moment I take no new clients.') ELSE bio END,
       CASE WHEN drift = 1 THEN coalesce(years, 0) + 1 ELSE years END,
       CASE WHEN drift = 2 THEN '+44 20 7946 0100' ELSE phone END,
       CASE WHEN drift = 6 THEN specialties || ARRAY['Dream diaries'] ELSE specialties END,
       CASE WHEN drift = 5 THEN CASE status WHEN 'approved' THEN 'pending' ELSE 'approved' END ELSE status END,
       avatar, mod(id * 7919, 4001), created_at, created_at, avatar_revision
FROM demo_batch WHERE has_profile
""",
)


def seed_population(
    *, therapists: int, drift_percent: Decimal, seed: int, told: Callable[[int], None] = lambda number: None
) -> None:
    """
    Add `therapists` users with their enrollments and profiles, some applicants and orphans; copies are equal.

    Exactly `drift_percent` of the therapists have one copy that differs although nothing is owed: that is for the
    audit to find. One transaction a batch; `told` hears how many rows are there.
    """
    words = _words(store_avatars(), seed) | {"therapists": therapists, "percent": drift_percent}
    applicants = therapists * APPLICANTS_IN_A_THOUSAND // 1000
    words["applicants_to"] = therapists + applicants
    total = therapists + applicants + therapists * ORPHANS_IN_A_THOUSAND // 1000
    may_skip_triggers = is_empty() and _may_skip_triggers()
    for first in range(1, total + 1, BATCH):
        last = min(first + BATCH - 1, total)
        _seed_batch(words | {"first_n": first, "last_n": last}, may_skip_triggers)
        told(last)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE users, therapist_enrollments, therapist_profiles")


def is_empty() -> bool:
    """Whether there is nobody yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT NOT EXISTS (SELECT FROM users) AND NOT EXISTS (SELECT FROM therapist_enrollments)"
            " AND NOT EXISTS (SELECT FROM therapist_profiles)"
        )
        return bool(cursor.fetchone()[0])


def _may_skip_triggers() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_parameter_privilege(current_user, 'session_replication_role', 'SET')")
        return bool(cursor.fetchone()[0])


def _seed_batch(words: dict[str, Any], may_skip_triggers: bool) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        if may_skip_triggers:
            # This session's triggers only, until the commit, in a database where nobody's row could be missed.
            cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_BATCH, words)
        for statement in _INSERTS:
            cursor.execute(statement)
        if not may_skip_triggers:
            # The net owes every row that comes. These are known: equal by construction, or drift that the audit is
            # to find; and nobody else can have made debt for persons whom nobody else can see before the commit.
            cursor.execute("DELETE FROM sync_debt WHERE person_id IN (SELECT id FROM demo_batch)")


def _words(avatars: list[str], seed: int) -> dict[str, Any]:
    """Give the lists that the statement picks from."""
    first, last = zip(*demo_texts.NAMES, strict=True)
    words: dict[str, Any] = {
        "seed": seed * 1000, "avatars": avatars,
        "first": list(first), "last": list(last),
        "plain_first": [_plain(names) for names in first], "plain_last": [_plain(names) for names in last],
        "specialties": list(demo_texts.SPECIALTIES), "topics": list(demo_texts.SPECIALTIES.values()),
        "with_years": [_order(pattern) for pattern in demo_texts.PATTERNS_WITH_YEARS],
        "without_years": [_order(pattern) for pattern in demo_texts.PATTERNS],
        "phones": list(demo_texts.PHONES), "hosts": list(demo_texts.MAIL_HOSTS),
    }  # fmt: skip
    return words | {f"say_{kind}": list(sentences) for kind, sentences in demo_texts.SENTENCES.items()}


def _plain(names: str) -> str:
    """Spell names as addresses do."""
    letters = unicodedata.normalize("NFKD", names.translate(_PLAIN))
    return "".join(letter for letter in letters if letter.isascii() and (letter.isalpha() or letter in " -")).lower()


def _order(pattern: str) -> str:
    """Turn an order of sentences into a template for PostgreSQL's format()."""
    kinds = list(demo_texts.SENTENCES)
    return " ".join(f"%{kinds.index(kind) + 1}$s" for kind in pattern.split())
