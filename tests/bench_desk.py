"""What the desk's lists cost with a thousand interventions and with a million, 10,000 of them open in 40 causes."""

from tests import measuring  # isort: skip - first, because it sets Django up
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client, override_settings
from django.urls import reverse

from interventions import causes
from interventions.items import Failure
from interventions.models import RetryRun
from tests import fakes
from tests.measuring import Figure
from therapists.models import User

FEW, MANY, OPEN, CAUSES, ROUNDS = 1_000, 1_000_000, 10_000, 40, 7
# Every list page: so much of its time with FEW, and so many milliseconds in PostgreSQL. A search: so many in all.
RATIO, DATABASE_MS, SEARCH_MS = 1.3, 30, 300
FILLED = (
    "manual_intervention_log", "intervention_cause", "intervention_history", "sync_attempt", "sync_ledger",
    "intervention_retry_run_item", "intervention_retry_run", "intervention_alert", "sync_run", "sync_hold",
)  # fmt: skip
INBOX, HISTORY = "admin:interventions_intervention_changelist", "admin:interventions_history_changelist"
_ITEMS = """
INSERT INTO manual_intervention_log (operation, entity_id, person_id, target, error, code, cause, attempts, timestamp,
    last_failed_at, resolved, state, resolution, resolved_at, resolved_by)
SELECT 'sync', person::text, person, target, target || ': permanent 23514 (rule_' || number || ')', '23514',
    %(cause)s || number, 3, at, at, NOT is_open, CASE WHEN is_open THEN 'open' ELSE 'resolved' END,
    CASE WHEN is_open THEN NULL ELSE 'auto' END, CASE WHEN is_open THEN NULL ELSE at + interval '1 hour' END,
    CASE WHEN is_open THEN NULL ELSE 'system' END
FROM (SELECT n, people.ids[1 + n %% cardinality(people.ids)] AS person, n %% %(causes)s AS number, n <= %(open)s AS is_open,
             (ARRAY['therapist_profiles', 'therapist_enrollments'])[1 + n %% 2] AS target,
             now() - make_interval(secs => n * 30) AS at
      FROM generate_series(1, %(last)s::int) AS n,
           (SELECT array_agg(id ORDER BY id) AS ids FROM users) AS people) AS made
"""
_HISTORY = """
INSERT INTO intervention_history (at, actor, action, object_type, object_id, from_state, to_state)
SELECT timestamp, 'system', 'opened', 'intervention', id::text, NULL, 'open' FROM manual_intervention_log
UNION ALL
SELECT resolved_at, 'system', 'resolved:auto', 'intervention', id::text, 'open', 'resolved'
FROM manual_intervention_log WHERE resolved
"""
_TRIES = """
INSERT INTO sync_attempt (person_id, target, at, outcome, attempt, duration_ms)
SELECT person_id, target, timestamp, '23514', 1, 3 FROM manual_intervention_log
"""
_RUNS = """
WITH run AS (
    INSERT INTO intervention_retry_run (id, title, cause, state, asked_by, asked_at, is_past_canary, total)
    SELECT gen_random_uuid(), 'run ' || n, '', CASE n WHEN 1 THEN 'running' ELSE 'done' END, 'user:1',
        now() - make_interval(hours => n), true, %(of_run)s
    FROM generate_series(1, 40) AS n RETURNING id, state)
INSERT INTO intervention_retry_run_item (run_id, item_id, person_id, target, outcome)
SELECT run.id, item.id, item.person_id, item.target,
    CASE WHEN run.state = 'running' AND number %% 2 = 0 THEN 'waiting' ELSE 'fixed' END
FROM run, (SELECT row_number() OVER (ORDER BY timestamp, id) AS number, id, person_id, target FROM manual_intervention_log
           ORDER BY timestamp, id LIMIT %(of_run)s) AS item
"""
_ALERTS = """
INSERT INTO intervention_alert (subject, level, kind, says, advice, path, items, people, since, raised_at, told_at, ended_at)
SELECT 'cause:' || n, 2, 'raised', 'says', '', '/', 0, 0, now(), now(), now(), CASE WHEN n > 10 THEN now() END
FROM generate_series(1, %(some)s) AS n
"""
_REPAIRS = """
INSERT INTO sync_run (id, kind, state, asked_by, asked_at, until_person, is_for_workers, rounds, plan, tally)
SELECT gen_random_uuid(), 'repair', 'done', 'user:1', now() - make_interval(hours => n), 1, true, 0, '{}', '{}'
FROM generate_series(1, %(some)s) AS n
"""
_HOLDS = """
INSERT INTO sync_hold (target, opened_at, decided_at, decided_by, is_released)
SELECT 'users', now() - make_interval(hours => n), now(), 'user:1', true FROM generate_series(1, %(some)s) AS n
"""
_OWED = """
INSERT INTO sync_ledger (person_id, target, desired_revision, owed_since, attempts, last_error_code, is_paused,
    applied_revision, verified_revision, crashes)
SELECT person_id, target, 1, timestamp, 3, '23514', false, 0, 0, 0 FROM manual_intervention_log WHERE NOT resolved
"""


@dataclass
class Visit:
    """What one page cost: milliseconds of a whole answer, of those in PostgreSQL; queries, and the rows they gave."""

    whole: float
    database: float
    queries: int
    rows: int


@dataclass(frozen=True)
class Compared:
    """The visits of one page with few and with many on record, in the order in which they were made."""

    few: list[Visit]
    many: list[Visit]

    @property
    def ratio(self) -> float:
        """The middle of the ratios of visits that were made one right after the other."""
        return statistics.median(many.whole / few.whole for few, many in zip(self.few, self.many, strict=True))


@dataclass
class _Watch:
    """Counts and times whatever goes to PostgreSQL."""

    database: float = 0.0
    queries: int = 0
    rows: int = 0

    def __call__(self, execute: Callable[..., Any], sql: str, words: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, words, many, context)
        finally:
            self.database += (time.perf_counter() - started) * 1000
            self.queries += 1
            self.rows += max(0, context["cursor"].rowcount)


def fill(number: int, *, open_items: int) -> None:
    """Put so many interventions on record with their history and tries, the newest of them open."""
    cause = Failure(
        person_id=0, target="therapist_profiles", code="23514", failure_class="permanent", detail="rule_", attempts=1
    ).cause
    words: dict[str, str | int] = {"cause": cause, "causes": CAUSES, "open": open_items, "last": number}
    words |= {"some": max(60, number // 1_000), "of_run": max(100, number // 100)}
    with fakes.asleep(), connection.cursor() as cursor:
        for table in FILLED:
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute(_ITEMS, words)
        for statement in (_HISTORY, _TRIES, _OWED):
            cursor.execute(statement)
        for statement in (_RUNS, _ALERTS, _REPAIRS, _HOLDS):
            cursor.execute(statement, words)
    fakes.sql("VACUUM ANALYZE")
    causes.follow(at=fakes.sql("SELECT now()")[0][0])


def pages(client: Client) -> dict[str, str]:
    """Give every list that the navigation leads to, the inbox's tabs, and what staff narrow and search it by."""
    front = client.get(reverse("admin:index")).content.decode()
    lists = sorted(set(re.findall(r'href="(/admin/[^"?#]*)"', front.partition('id="nav-sidebar"')[2])))
    # What has an id is the page of one thing, and another one each time.
    lists = [address for address in lists if not re.search(r"[0-9a-f]{8}-", address)]
    found = {address: address for address in lists if "log" not in address.rsplit("/", 2)[-2]}
    inbox, causes_page, history = reverse(INBOX), reverse("admin:causes"), reverse(HISTORY)
    run = RetryRun.objects.order_by("-asked_at")[0]
    found |= {
        causes_page: causes_page, "one cause": reverse("admin:cause", args=[causes.live().order_by("fingerprint")[0].pk]),
        "one bulk retry": reverse("admin:retry_run", args=[run.pk]), "history of staff": f"{history}?action=snoozed",
        "history of somebody": f"{history}?q=user:7",
    }  # fmt: skip
    shown = client.get(inbox).content.decode()
    for query in sorted(set(re.findall(r'href="(\?(?:tab|cause__exact|cause)=[^"]*)"', shown)))[:10]:
        found[f"{inbox}{query}"[:60]] = inbox + query.replace("&amp;", "&")
    narrowed = {
        "page 9": "p=9", "of a target": "target=therapist_profiles", "of a rare code": "code=22001",
        "of a bulk retry": f"run={run.pk}",
    }  # fmt: skip
    return found | {f"all, {name}": f"{inbox}?tab=all&{words}" for name, words in narrowed.items()}


def searches(client: Client) -> dict[str, str]:
    """Give the inbox's searches: by e-mail, by id, by an error that many have, by what nobody has."""
    item, person = fakes.sql("SELECT id, person_id FROM manual_intervention_log WHERE resolved LIMIT 1")[0]
    words = {
        "e-mail": User.objects.get(pk=person).email, "id of an item": str(item), "id of a person": str(person),
        "error of many": "rule_7", "error of nobody": "no such words", "name": "Crowd 77",
    }  # fmt: skip
    return {
        f"{name}, {tab or 'needs a person'}": f"{reverse(INBOX)}?tab={tab}&q={text.replace(' ', '+')}"
        for name, text in words.items()
        for tab in ("", "all")
    }


def visited(client: Client, address: str, rounds: int) -> Visit:
    """Open a page again and again; medians."""
    client.get(address)
    return _middle([_visit(client, address) for _ in range(rounds)])


def in_turns(client: Client, ways: Sequence[tuple[BaseDatabaseWrapper, str]], rounds: int) -> list[list[Visit]]:
    """Open a page of each of the databases in turns, so that what else the machine does hits all of them."""
    found: list[list[Visit]] = [[] for _ in ways]
    for number in range(-1, rounds):
        for place, (base, address) in enumerate(ways):
            with _on(base):
                visit = _visit(client, address)
            found[place] += [visit] if number >= 0 else []
    return found


def _visit(client: Client, address: str) -> Visit:
    watch = _Watch()
    with connection.execute_wrapper(watch):
        spent = measuring.seconds(lambda: _opened(client, address)) * 1000
    return Visit(spent, watch.database, watch.queries, watch.rows)


def _middle(found: Sequence[Visit]) -> Visit:
    return replace(
        found[0], whole=statistics.median(v.whole for v in found), database=statistics.median(v.database for v in found)
    )


@contextmanager
def _on(base: BaseDatabaseWrapper) -> Iterator[None]:
    before = connections["default"]
    connections["default"] = base
    try:
        yield
    finally:
        connections["default"] = before


def _copied() -> BaseDatabaseWrapper:
    """Copy the database as it is now; give a connection to the copy."""
    name, session = connection.settings_dict["NAME"], fakes.database_url()
    connections.close_all()
    with psycopg.connect(session, dbname="postgres", autocommit=True) as other:
        other.execute(f'CREATE DATABASE "{name}_few" TEMPLATE "{name}"')
    copy = connections.create_connection("default")
    copy.settings_dict = copy.settings_dict | {"NAME": f"{name}_few"}
    return copy


def _opened(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"


@contextmanager
def signed_in() -> Iterator[Client]:
    """Open the desk as somebody who may do everything."""
    person = User.objects.create_superuser(email="bench@keepwell.example", password="", full_name="Bench")
    client = Client()
    client.force_login(person)
    with override_settings(ALLOWED_HOSTS=["*"]):
        yield client


def measure(few: int, many: int, open_items: int, rounds: int) -> tuple[dict[str, Compared], dict[str, Visit]]:
    """Open every list with few and with many interventions on record, and search among the many."""
    with signed_in() as client:
        # Nearly all of them open, so that the page of one cause is as full as later.
        fill(few, open_items=few * 24 // 25)
        first, copy = pages(client), _copied()
        fill(many, open_items=open_items)
        lists = {
            name: Compared(*in_turns(client, [(copy, first[name]), (connections["default"], address)], rounds))
            for name, address in pages(client).items()
            if name in first
        }
        copy.close()
        return lists, {name: visited(client, address, rounds) for name, address in searches(client).items()}


def main() -> int:
    """Measure on servers of our own and print the tables; 1 when something is not reached."""
    given = measuring.arguments(__doc__, few=FEW, many=MANY, open=OPEN, people=20_000, rounds=ROUNDS)
    with measuring.bench():
        measuring.crowd(given.people)
        lists, found = measure(given.few, given.many, given.open, given.rounds)
        middles = {name: (_middle(one.few), _middle(one.many)) for name, one in sorted(lists.items())}
        rows = [
            (name, f"{few.whole:.0f}", f"{many.whole:.0f}", f"{lists[name].ratio:.2f}", f"{many.database:.1f}",
             f"{few.queries} / {many.queries}")
            for name, (few, many) in middles.items()
        ]  # fmt: skip
        head = ("list", f"ms, {given.few:,}", f"ms, {given.many:,}", "ratio", "of it PostgreSQL", "queries")
        print(measuring.table(head, rows) + "\n")
        print(measuring.table(("search", "ms"), [(name, f"{visit.whole:.0f}") for name, visit in found.items()]) + "\n")
        ratio = max(one.ratio for one in lists.values())
        database = max(many.database for _, many in middles.values())
        slowest = max(visit.whole for visit in found.values())
        return measuring.report([
            Figure(f"slowest list with {given.many:,} interventions, times that with {given.few:,}", f"≤ {RATIO}", f"{ratio:.2f}",
                   ratio <= RATIO),
            Figure("most of a list's time in PostgreSQL", f"≤ {DATABASE_MS} ms", f"{database:.0f} ms", database <= DATABASE_MS),
            Figure("slowest search by e-mail, id, error, name", f"≤ {SEARCH_MS} ms", f"{slowest:.0f} ms", slowest <= SEARCH_MS),
        ])  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
