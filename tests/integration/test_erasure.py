"""Erasing a person: nothing of theirs is left in any column, file or session; ids and codes stay in history."""

import datetime as dt
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from interventions import operations
from interventions.models import History, Intervention
from sync import errands, kept
from sync.models import LostValue
from tests import fakes
from tests.factories import UserFactory, therapist
from therapists import erasure, images, reminders
from therapists.models import Enrollment, OpenSession, Profile, User
from therapists.operations import change_email

pytestmark = pytest.mark.django_db(transaction=True)
Settle = Callable[..., int]
WORD = "xq7zebra"


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def tables() -> dict[str, set[str]]:
    """Every table and its columns, as PostgreSQL has them."""
    found: dict[str, set[str]] = {}
    for table, column in fakes.sql(
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped"
    ):
        found.setdefault(table, set()).add(column)
    return found


def said_anywhere(*words: str) -> set[tuple[str, str]]:
    """Find every column in which one of the words stands, sessions decoded."""
    found = set()
    for table, columns in tables().items():
        for column in columns:
            text = f'lower("{column}"::text)'
            if fakes.sql(f'SELECT 1 FROM "{table}" WHERE {text} LIKE ANY(%s) LIMIT 1', [f"%{word}%" for word in words]):
                found.add((table, column))
    if any(word in str(session.get_decoded()).lower() for session in OpenSession.objects.all() for word in words):
        found.add(("user_sessions", "session_data"))
    return found


@pytest.fixture
def zoe(settled: Settle) -> User:
    """Somebody whose every fact has one rare word in it, in every place that can hold one."""
    url = images.store(b"RIFF0000WEBP")
    person = therapist(f"Zoe {WORD}", bio=f"{WORD} bio", phone=f"{WORD}1", specialization=f"{WORD}, CBT")
    User.objects.filter(pk=person.pk).update(avatar_url=url)
    settled()
    with fakes.locked_table("user_aliases"):  # what cannot be appended there now is set down elsewhere
        User.objects.filter(pk=person.pk).update(email=f"once.{WORD}@example.org")
    change_email(person_id=person.pk, email=f"new.{WORD}@example.org", by="x", at=timezone.now())
    Profile.objects.filter(user=person).update(bio=f"{WORD} written past")
    with fakes.refusing("therapist_profiles", "length(bio) < 20"):
        Enrollment.objects.filter(user=person).update(bio=f"{WORD} much too long a text")
        settled()
    Intervention.objects.filter(person_id=person.pk).update(resolution_notes=f"called {WORD}", payload={"a": WORD})
    Intervention.objects.create(operation="import", entity_id=f"new.{WORD}@example.org", error=f"{WORD} failed")
    Intervention.objects.create(
        operation="import", entity_id="batch 7", error="half", payload={"rows": [f"new.{WORD}@example.org"]}
    )
    for row in (person, Enrollment.objects.get(user=person), Profile.objects.get(user=person)):
        LogEntry.objects.create(
            user=UserFactory.create(), object_id=str(row.pk), object_repr=f"Zoe {WORD}", action_flag=2,
            content_type=ContentType.objects.get_for_model(row), change_message=f"[{WORD}]",
        )  # fmt: skip
    Enrollment.objects.create(
        user=None, email=f"old.{WORD}@example.org", bio=WORD, superseded_by=Enrollment.objects.get(user=person).pk
    )
    now = timezone.now()
    question = kept.Question(kept.Kind("x", lifetime=dt.timedelta(days=1)), person.pk, {"bio": WORD})
    kept.put(question, f"A bio about {WORD}", at=now)
    errands.queue(errands.Wish(reminders.REMINDER, key="x", person_id=person.pk), at=now)
    client = Client()
    client.force_login(person)
    person.refresh_from_db()
    return person


def erase(person: int) -> dict[str, int]:
    return erasure.erase(subject=erasure.find(person_id=person), by="user:1", at=timezone.now())


class TestCompleteness:
    def test_every_table_is_declared(self) -> None:
        declared = set(erasure.ROWS) | set(erasure.SCRUBBED) | set(erasure.IMPERSONAL)
        assert set(tables()) - declared == set()
        assert declared - set(tables()) == set()

    def test_every_column_is_declared_as_erased_or_as_nobodys(self) -> None:
        found = tables()
        kept = {name: set(columns) for name, (_, columns) in erasure.SCRUBBED.items()} | erasure.IMPERSONAL
        undeclared = {name: found[name] - columns for name, columns in kept.items() if found[name] - columns}
        assert undeclared == {}, "Say in therapists.erasure what becomes of these columns when a person is erased."
        assert {name: columns - found[name] for name, columns in kept.items() if columns - found[name]} == {}

    def test_a_new_column_is_noticed(self) -> None:
        fakes.sql("ALTER TABLE sync_gap ADD COLUMN why text")
        try:
            with pytest.raises(AssertionError, match="why"):
                self.test_every_column_is_declared_as_erased_or_as_nobodys()
        finally:
            fakes.sql("ALTER TABLE sync_gap DROP COLUMN why")


class TestErasing:
    def test_leaves_nothing_of_them_in_any_column(self, zoe: User, settled: Settle) -> None:
        places = said_anywhere(WORD)
        assert len(places) > 12, "The test plants the word in every kind of place."
        assert LostValue.objects.filter(person_id=zoe.pk).exists()
        erase(zoe.pk)
        settled()
        assert said_anywhere(WORD) == set()

    def test_deletes_the_avatar_files_and_the_sessions(self, zoe: User) -> None:
        (folder,) = default_storage.listdir(images.FOLDER)[0]
        name = f"{images.FOLDER}/{folder}/" + default_storage.listdir(f"{images.FOLDER}/{folder}")[1][0]
        other = Client()
        other.force_login(UserFactory.create())
        erase(zoe.pk)
        assert not default_storage.exists(name)
        assert OpenSession.objects.count() == 1

    def test_leaves_nothing_in_valkey(self, zoe: User) -> None:
        server = redis.Redis.from_url(django_settings.REDIS_URL, protocol=2)
        erase(zoe.pk)
        for key in server.scan_iter():
            kind = server.type(key)
            values = server.lrange(key, 0, -1) if kind == b"list" else [server.dump(key) or b""]
            assert WORD.encode() not in b"".join([key, *values])
        server.close()

    def test_keeps_history_with_ids_and_codes(self, zoe: User) -> None:
        before = History.objects.count()
        erase(zoe.pk)
        assert History.objects.count() > before
        assert History.objects.filter(
            action="erased", object_type="user", object_id=str(zoe.pk), actor="user:1"
        ).exists()

    def test_keeps_what_is_about_somebody_else_open(self, zoe: User) -> None:
        other, now = Intervention.objects.filter(entity_id="batch 7"), timezone.now()
        other.update(state="retrying", retry_until=now)
        pk = other.get().pk
        erase(zoe.pk)
        left = Intervention.objects.get(pk=pk)
        assert (left.resolved, left.payload, left.entity_id) == (False, None, "erased")
        assert operations.lapse_retries(at=now + dt.timedelta(seconds=1)) == 1
        assert not Intervention.objects.filter(person_id=zoe.pk, resolved=False).exists()

    def test_p2_is_final_whatever_is_tried_late(self, zoe: User, settled: Settle) -> None:
        entity = zoe.pk
        erase(entity)
        fakes.sql(
            "INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY['users', 'therapist_profiles'], 0)",
            entity,
        )
        settled()
        assert said_anywhere(WORD) == set()
        with pytest.raises(erasure.NobodyThere):
            erasure.find(person_id=entity)

    def test_reaches_who_was_deleted_before(self, zoe: User, settled: Settle) -> None:
        fakes.sql("DELETE FROM users WHERE id = %s", zoe.pk)
        settled()
        assert said_anywhere(WORD)
        erase(zoe.pk)
        assert said_anywhere(WORD) == set()

    def test_reaches_an_applicant(self) -> None:
        row = Enrollment.objects.create(user=None, email=f"{WORD}@example.org", full_name=WORD)
        erasure.erase(subject=erasure.find(enrollment_id=row.pk), by="command", at=timezone.now())
        assert said_anywhere(WORD) == set()

    def test_leaves_everybody_else_alone(self, zoe: User, settled: Settle) -> None:
        ada = therapist("Ada Quist")
        settled()
        erase(zoe.pk)
        settled()
        assert Enrollment.objects.filter(user=ada).exists()
        assert Profile.objects.filter(user=ada).exists()
        assert fakes.states(ada.pk)["therapist_profiles"] == "in_sync"


class TestTheCommand:
    def test_counts_first_and_erases_when_confirmed(self, zoe: User, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("erase_person", str(zoe.pk))
        said = capsys.readouterr().out
        assert "users: 1" in said
        assert "Nothing was changed" in said
        assert WORD not in said
        assert User.objects.filter(pk=zoe.pk).exists()
        call_command("erase_person", str(zoe.pk), "--confirm")
        assert "Erased." in capsys.readouterr().out
        assert said_anywhere(WORD) == set()

    def test_says_that_there_is_nobody(self) -> None:
        with pytest.raises(CommandError) as error:
            call_command("erase_person", "987654321", "--confirm")
        assert error.value.returncode == 2


class TestThePage:
    def desk(self, **powers: bool) -> Client:
        staff = UserFactory.create(is_staff=True, full_name=f"Staff {uuid.uuid4().hex[:4]}", **powers)
        client = Client()
        client.force_login(staff)
        return client

    def test_erases_when_the_words_are_typed(self, zoe: User) -> None:
        root, page = self.desk(is_superuser=True), f"/admin/therapists/user/{zoe.pk}/erase/"
        assert page in root.get(f"/admin/therapists/user/{zoe.pk}/change/").content.decode()
        assert f"erase {zoe.pk}" in root.get(page).content.decode()
        answer = root.post(page, {"words": "erase"}, follow=True)
        assert "Nothing was changed" in answer.content.decode()
        assert User.objects.filter(pk=zoe.pk).exists()
        answer = root.post(page, {"words": f"erase {zoe.pk}"}, follow=True)
        assert f"Person {zoe.pk} is erased" in answer.content.decode()
        assert said_anywhere(WORD) == set()

    def test_p10_is_for_superusers_alone(self, zoe: User) -> None:
        staff, page = self.desk(), f"/admin/therapists/user/{zoe.pk}/erase/"
        assert staff.get(page).status_code == 403
        assert staff.post(page, {"words": f"erase {zoe.pk}"}).status_code == 403
        assert User.objects.filter(pk=zoe.pk).exists()

    def test_lets_nobody_erase_themselves(self) -> None:
        root = User.objects.create_superuser("root@example.org", "x" * 12)
        client = Client()
        client.force_login(root)
        answer = client.post(f"/admin/therapists/user/{root.pk}/erase/", {"words": f"erase {root.pk}"}, follow=True)
        assert "cannot erase yourself" in answer.content.decode()
        assert User.objects.filter(pk=root.pk).exists()
