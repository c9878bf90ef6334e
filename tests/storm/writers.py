"""
Writers as people and programs are: `python -m tests.storm.writers FOLDER SEED` starts one for each line that it is told.

It has loaded everything and forks, so that a writer who was killed is followed by another at once.

Three kinds: the web's API over HTTP, models through the ORM, and SQL that knows nothing of Django. Each spot (a fact of
a person) belongs to one writer, but for the avatar; rows belong to all.
"""

import http.client
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import django
import psycopg

from tests.storm.journal import ADDRESS, AVATAR, Journal, spot
from tests.storm.pictures import picture

PLACES = {
    "users": "avatar_url",
    "therapist_enrollments": "profile_image_url",
    "therapist_profiles": "profile_image_url",
}
# The avatar of somebody who uploads it: nobody else writes theirs, so that it is judged by the order of the journal.
PICTURE = "picture"
IN_THE_FORM = """\
--frontier\r
Content-Disposition: form-data; name="image"; filename="me.png"\r
Content-Type: image/png\r
\r
"""
Write = Callable[[random.Random, str], None]


def address(word: str) -> str:
    """Give an address that nobody else has or had."""
    return f"{word}@storm.example.org"


def uploaders(told: dict[str, Any]) -> set[int]:
    """Give who uploads their own avatar."""
    return {one["id"] for one in told["signed_in"]}


class Http:
    """A therapist who edits their own profile and uploads their avatar by the API."""

    def __init__(self, told: dict[str, Any], number: int, journal: Journal) -> None:
        self.journal, self.port = journal, told["port"]
        self.person, self.headers = told["signed_in"][number]["id"], told["signed_in"][number]["headers"]

    def __call__(self, rnd: random.Random, word: str) -> None:
        """Send one request; any answer but 2xx and 4xx leaves the outcome open."""
        if rnd.random() < 0.1:
            colour, content = picture(rnd.randrange(10**6))
            body = IN_THE_FORM.encode() + content + b"\r\n--frontier--\r\n"
            self._send("PUT", "avatar/", "multipart/form-data; boundary=frontier", body, {PICTURE: colour})
            return
        facts = rnd.sample(["bio", "phone", "full_name", "specialization", ADDRESS], rnd.choice([1, 1, 2, 3]))
        forms = {"specialization": f"{word} a, {word} b", ADDRESS: address(word)}
        changes = {fact: forms.get(fact, word) for fact in facts}
        self._send("PATCH", "", "application/json", json.dumps(changes).encode(), changes)

    def _send(self, method: str, path: str, kind: str, body: bytes, writes: dict[str, Any]) -> None:
        number = self.journal.begin({spot(fact, self.person): value for fact, value in writes.items()})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, f"/api/v1/therapists/me/{path}", body, self.headers | {"Content-Type": kind})
            status = connection.getresponse().status
        except ConnectionRefusedError:
            self.journal.fail(number, "nobody there")
            # The web is down: a pace for the next write, so that a journal is no list of refusals.
            time.sleep(0.2)
            return
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()
        if status < 300:
            self.journal.acknowledge(number)
        elif status < 500:
            self.journal.fail(number, status)


class Orm:
    """A program of the project's that saves models."""

    def __init__(self, told: dict[str, Any], number: int, journal: Journal) -> None:
        from django.db import DatabaseError, InterfaceError, connections, transaction

        from therapists.models import Enrollment

        self.errors, self.atomic, self.rows = (DatabaseError, InterfaceError), transaction.atomic, Enrollment.objects
        self.close_old = connections.close_all
        self.journal = journal
        self.people = [person for person in told["people"][number::2] if person not in uploaders(told)]

    def __call__(self, rnd: random.Random, word: str) -> None:
        """Save one enrollment's experience, or its avatar with the revision that it was given."""
        person, is_avatar = rnd.choice(self.people), rnd.random() < 0.4
        value: Any = word if is_avatar else rnd.randrange(80)
        number = self.journal.begin({spot(AVATAR if is_avatar else "experience_years", person): value})
        is_committing = False
        try:
            with self.atomic():
                row = self.rows.get(user_id=person)
                setattr(row, "profile_image_url" if is_avatar else "experience_years", value)
                row.save(update_fields=["profile_image_url" if is_avatar else "experience_years"])
                found = self.rows.raw("SELECT id, avatar_revision FROM therapist_enrollments WHERE id = %s", [row.pk])
                revision = int(getattr(found[0], "avatar_revision"))  # noqa: B009 - the net's own column, no field
                is_committing = True
        except self.errors as error:
            if not is_committing:
                self.journal.fail(number, getattr(error.__cause__, "sqlstate", None))
            self.close_old()
            return
        self.journal.acknowledge(number, revision)


class Sql:
    """A program that is not ours: plain SQL, two people a transaction, now and then above READ COMMITTED."""

    def __init__(self, told: dict[str, Any], number: int, journal: Journal) -> None:
        self.journal, self.url, self.number = journal, told["database"], number
        self.people = [person for person in told["people"] if person not in uploaders(told)]
        self.own = [person for person in told["people"][number::2] if person not in uploaders(told)]
        self.connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def __call__(self, rnd: random.Random, word: str) -> None:
        """Run one transaction."""
        write = rnd.choice([self._avatar, self._status, self._facts, self._address])
        statements, spots = write(rnd, word)
        number = self.journal.begin(spots)
        is_committing, revision = False, 0
        try:
            if self.connection is None or self.connection.closed:
                self.connection = psycopg.connect(self.url, connect_timeout=2)
            level = psycopg.IsolationLevel
            self.connection.isolation_level = level.REPEATABLE_READ if rnd.random() < 0.1 else level.READ_COMMITTED
            for statement, words in statements:
                revision = self.connection.execute(statement, words).fetchall()[0][0]
            is_committing = True
            self.connection.commit()
        except psycopg.Error as error:
            if not is_committing:
                self.journal.fail(number, error.sqlstate)
            with suppress(psycopg.Error):
                if self.connection:
                    self.connection.close()
            return
        self.journal.acknowledge(number, revision)

    def _avatar(self, rnd: random.Random, word: str) -> tuple[list[tuple[str, list[Any]]], dict[str, Any]]:
        person, table = rnd.choice(self.people), rnd.choice(["users", "therapist_profiles"])
        key = "id" if table == "users" else "user_id"
        statement = f"UPDATE {table} SET {PLACES[table]} = %s WHERE {key} = %s RETURNING avatar_revision"
        return [(statement, [word, person])], {spot(AVATAR, person): word}

    def _status(self, rnd: random.Random, word: str) -> tuple[list[tuple[str, list[Any]]], dict[str, Any]]:
        person, status = rnd.choice(self.own), rnd.choice(["approved", "rejected"])
        statement = (
            "UPDATE therapist_enrollments SET status = %s, approved_at = now() WHERE user_id = %s RETURNING revision"
        )
        return [(statement, [status, person])], {spot("status", person): status}

    def _address(self, rnd: random.Random, word: str) -> tuple[list[tuple[str, list[Any]]], dict[str, Any]]:
        person = rnd.choice(self.own)
        statement = "UPDATE users SET email = %s WHERE id = %s RETURNING revision"
        return [(statement, [address(word), person])], {spot(ADDRESS, person): address(word)}

    def _facts(self, rnd: random.Random, word: str) -> tuple[list[tuple[str, list[Any]]], dict[str, Any]]:
        """Names and bios of two people, in any order: who is aborted by another writer tries something else."""
        statements: list[tuple[str, list[Any]]] = []
        spots: dict[str, Any] = {}
        for person in rnd.sample(self.own, 2):
            statements += [
                ("UPDATE users SET full_name = %s WHERE id = %s RETURNING revision", [word, person]),
                ("UPDATE therapist_enrollments SET bio = %s WHERE user_id = %s RETURNING revision", [word, person]),
            ]  # fmt: skip
            spots |= {spot("full_name", person): word, spot("bio", person): word}
        return statements, spots


KINDS: dict[str, Callable[[dict[str, Any], int, Journal], Write]] = {"http": Http, "orm": Orm, "sql": Sql}


def write_until_told_to_end(kind: str, number: int, folder: Path, seed: int) -> None:
    """Write again and again; SIGTERM ends it between two writes."""
    told = json.loads((folder / "told.json").read_text())
    generation = len(list(folder.glob(f"{kind}-{number}-*.journal")))
    write = KINDS[kind](told, number, Journal(folder / f"{kind}-{number}-{generation:05}.journal"))
    rnd, is_over = random.Random(f"{seed} {kind} {number} {generation}"), []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(True))
    count = 0
    while not is_over:
        count += 1
        write(rnd, f"{kind}{number}.{generation}.{count}")
        # A few dozen people click; they do not benchmark.
        time.sleep(rnd.random() * told["pause"])


def start_until_told_no_more(folder: Path, seed: int) -> None:
    """Start a writer for each line `KIND NUMBER`, and answer with its process; who dies is buried unseen."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        kind, number = line.split()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            write_until_told_to_end(kind, int(number), folder, seed)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    start_until_told_no_more(Path(sys.argv[1]), int(sys.argv[2]))
