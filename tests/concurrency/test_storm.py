"""P1, P2 and P3 under a storm: many writers of few people, workers beside them, and a watcher of every instant."""

import os
import random
import threading
import time
from collections import Counter
from typing import Any

import psycopg
import pytest
from django.db import connections

from sync import delivery, statements
from sync.mirrors import declaration
from tests import fakes
from tests.factories import therapists

# `make storm` makes it long.
SECONDS = float(os.environ.get("STORM_SECONDS", "6"))
PEOPLE, WRITERS, WORKERS = 6, 6, 2
WRITES = (
    "UPDATE therapist_enrollments SET bio = %(v)s WHERE user_id = %(p)s",
    "UPDATE users SET avatar_url = %(v)s WHERE id = %(p)s",
    "UPDATE therapist_profiles SET profile_image_url = %(v)s WHERE user_id = %(p)s",
    "UPDATE therapist_enrollments SET profile_image_url = %(v)s, phone = %(v)s WHERE user_id = %(p)s",
    "UPDATE therapist_enrollments SET approved_at = now(), status = CASE status WHEN 'approved' THEN 'rejected'"
    " ELSE 'approved' END WHERE user_id = %(p)s",
    "UPDATE users SET full_name = %(v)s WHERE id = %(p)s",
    "UPDATE therapist_profiles SET bio = %(v)s WHERE user_id = %(p)s",
)


def silent() -> str:
    """Give the query of what differs though nothing is owed, in one snapshot."""
    behind = " UNION ".join(
        f"SELECT person_id, '{flow.target.name}' FROM ({statements.different_people(flow)}) AS q"
        for flow in statements.flows(declaration())
    )
    return f"""SELECT * FROM ({behind}) AS d (person_id, target)
        WHERE NOT EXISTS (SELECT FROM sync_debt x WHERE x.person_id = d.person_id AND d.target = ANY(x.targets))
        AND NOT EXISTS (SELECT FROM sync_ledger l WHERE l.person_id = d.person_id AND l.target = d.target
                        AND l.owed_since IS NOT NULL)"""


class Storm:
    """Threads that write, bring in line and watch until a moment."""

    def __init__(self, people: list[int]) -> None:
        self.people = sorted(people)
        self.until = time.monotonic() + SECONDS
        self.writes = 0
        self.watched = 0
        self.errors: Counter[str] = Counter()
        self.silent: list[Any] = []

    def write(self, seed: int) -> None:
        """Change one or two people in a transaction, now and then above READ COMMITTED, now and then rolled back."""
        rnd = random.Random(seed)
        with psycopg.connect(fakes.database_url()) as own:
            while time.monotonic() < self.until:
                is_repeatable = rnd.random() < 0.1
                level = psycopg.IsolationLevel
                own.isolation_level = level.REPEATABLE_READ if is_repeatable else level.READ_COMMITTED
                try:
                    for person in sorted(rnd.sample(self.people, rnd.choice([1, 1, 1, 2]))):
                        own.execute(rnd.choice(WRITES), {"v": f"{seed}-{rnd.random()}", "p": person})
                    own.commit() if rnd.random() > 0.05 else own.rollback()
                    self.writes += 1
                except psycopg.Error as error:
                    own.rollback()
                    self.errors[f"{error.sqlstate} {'repeatable' if is_repeatable else 'read committed'}"] += 1

    def work(self) -> None:
        """Drain again and again, as workers do."""
        try:
            while time.monotonic() < self.until:
                delivery.drain()
        finally:
            connections.close_all()

    def watch(self) -> None:
        """Look for what is silently behind, in one snapshot after the other."""
        with psycopg.connect(fakes.database_url(), autocommit=True) as own:
            query = silent()
            while time.monotonic() < self.until:
                self.silent += own.execute(query).fetchall()
                self.watched += 1

    def run(self) -> None:
        """Let it blow."""
        threads = [threading.Thread(target=self.write, args=(seed,)) for seed in range(WRITERS)]
        threads += [threading.Thread(target=self.work) for _ in range(WORKERS)]
        threads.append(threading.Thread(target=self.watch))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(SECONDS + 120)
def test_p1_p3_a_storm_of_writers_aborts_nobody_and_leaves_nothing_silently_behind(transactional_db: None) -> None:
    storm = Storm([user.pk for user in therapists(PEOPLE)])

    storm.run()

    assert storm.writes > 50
    assert storm.watched > 5
    assert storm.silent == []
    # REPEATABLE READ callers meet newer rows: theirs to repeat, with or without us.
    assert {e: n for e, n in storm.errors.items() if e != "40001 repeatable"} == {}
    fakes.settled(tries=2)
    assert fakes.behind() == set()


def test_p3_an_update_of_a_user_leaves_room_for_rows_that_refer_to_them(
    transactional_db: None, second_connection: Any
) -> None:
    person = therapists(1)[0].pk
    writer, other = second_connection(), second_connection()
    writer.execute("BEGIN")
    writer.execute("UPDATE users SET full_name = 'Someone' WHERE id = %s", [person])

    other.execute("SET lock_timeout = '200ms'")
    other.execute("SELECT FROM users WHERE id = %s FOR KEY SHARE", [person])
    writer.execute("ROLLBACK")
