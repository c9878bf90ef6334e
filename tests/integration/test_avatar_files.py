"""The files of avatars: none is left behind, none goes too early, wherever they are kept."""

import datetime as dt
import io
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.files.storage import InMemoryStorage, default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone
from PIL import Image

from interventions.models import KeyedRequest
from sync.models import LostValue, Run, RunChange
from tests import fakes
from tests.factories import Cast
from therapists import images, operations
from therapists.models import DecidedRow, Enrollment, Profile, User

AVATAR = "/api/v1/therapists/me/avatar/"
OLD = dt.timedelta(hours=25)


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def ada(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.ada)
    return client


def put(client: Client, colour: str = "red") -> str:
    """Upload a picture; give the name of its file."""
    out = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(out, "PNG")
    body = encode_multipart(BOUNDARY, {"image": SimpleUploadedFile("me.png", out.getvalue(), "image/png")})
    answer = client.put(AVATAR, body, MULTIPART_CONTENT)
    assert answer.status_code == 200, answer.content
    return str(answer.json()["data"]["avatar_url"]).removeprefix("/media/")


def age(*names: str) -> None:
    before = (timezone.now() - OLD).timestamp()
    for name in names:
        os.utime(default_storage.path(name), (before, before))


def purged() -> set[str]:
    """Purge as beat does; give what went."""
    before = stored()
    images.remove_unused_avatars(at=timezone.now())
    return before - stored()


def stored() -> set[str]:
    folders = default_storage.listdir(images.FOLDER)[0] if default_storage.exists(images.FOLDER) else []
    return {f"{images.FOLDER}/{f}/{n}" for f in folders for n in default_storage.listdir(f"{images.FOLDER}/{f}")[1]}


def test_no_file_is_left_after_a_day_whatever_became_of_its_upload(ada: Client) -> None:
    shown = put(ada)
    with fakes.refusing("therapist_enrollments", f"profile_image_url LIKE '%{shown}'"), pytest.raises(AssertionError):
        put(ada, "blue")  # stored, and then the row refuses to name it
    (orphan,) = stored() - {shown}
    assert purged() == set(), "younger than a day"
    age(shown, orphan)
    call_command("remove_unused_avatars", "--dry-run", stdout=(out := io.StringIO()))
    assert out.getvalue().splitlines() == [orphan, "1 unused avatars; nothing was removed."]
    assert purged() == {orphan}


def test_a_file_stays_while_a_value_that_names_it_may_come_back(ada: Client, cast: Cast) -> None:
    names = [put(ada, colour) for colour in ("red", "green", "blue", "grey", "white")]
    shown = put(ada, "black")
    lost, run_before, decided, answered, unknown = names
    LostValue.objects.create(
        person_id=cast.ada.pk,
        target="users",
        written_by="x",
        values={"avatar_url": f"https://elsewhere.example/{lost}"},
    )
    run = Run.objects.create(kind="repair", state="done", asked_by="x", asked_at=timezone.now(), until_person=1)
    RunChange.objects.create(
        run=run, person_id=cast.ada.pk, target="users", outcome="written", before={"avatar_url": f"/media/{run_before}"}
    )
    DecidedRow.objects.create(
        decision=uuid.uuid4(), enrollment_id=1, choice="merge", by="x", at=timezone.now(), after={},
        before={"profile_image_url": f"/media/{decided}"},
    )  # fmt: skip
    KeyedRequest.objects.create(
        id=uuid.uuid4(), person_id=cast.ada.pk, key="k", method="PUT", route="x", digest="x",
        status=200, headers={}, body=f'{{"data":{{"avatar_url":"/media/{answered}"}}}}',
    )  # fmt: skip
    age(*names, shown)
    assert purged() == {unknown}
    with fakes.asleep():
        for rows in (LostValue, RunChange, DecidedRow, KeyedRequest):
            rows.objects.all().delete()
    assert purged() == {lost, run_before, decided, answered}


def test_every_text_that_may_name_a_file_is_looked_through(transactional_db: None) -> None:
    """A new table of before-images, or of answers that are kept, must be told to the purge."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND (data_type IN ('json', 'jsonb', 'bytea') OR column_name = 'body') AND table_name IN"
            " (SELECT relname FROM pg_class WHERE relkind = 'r')"
        )
        found = set(cursor.fetchall())
    remembered = {(table, column) for table, columns in images.REMEMBERED.items() for column in columns}
    # Names of facts, ids, numbers, sentences about counts, secrets, messages and suggestions in words of their own.
    nameless = {
        ("sync_attempt", "answer"), ("sync_errand", "payload"), ("sync_kept_answer", "value"),
        ("keyed_request", "outcome"), ("keyed_request", "headers"),
        ("manual_intervention_log", "payload"), ("intervention_digest", "content"), ("sync_audit", "found"),
        ("sync_run", "plan"), ("sync_run", "tally"), ("sync_breaker", "recent"), ("mfa_authenticator", "data"),
        *((table, "last_changes") for table in ("users", "therapist_enrollments", "therapist_profiles")),
    }  # fmt: skip
    assert found - remembered - nameless == set()
    assert remembered <= found


def test_p1_every_address_in_every_copy_is_served_at_every_moment(
    ada: Client, cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[int] = []

    def look() -> None:
        """Purge as if every file were old, then open whatever the three places show."""
        age(*stored() - being_named)
        images.remove_unused_avatars(at=timezone.now())
        urls = {
            *User.objects.values_list("avatar_url", flat=True),
            *Enrollment.objects.values_list("profile_image_url", flat=True),
            *Profile.objects.values_list("profile_image_url", flat=True),
        }
        for url in urls:
            if url and images.NAME.fullmatch(url.removeprefix("/media/")):
                answer = client.get(url)
                assert answer.status_code == 200, url
                answer.close()
                moments.append(1)

    being_named: set[str] = set()
    name_avatar = operations._name_avatar

    def watched(person_id: int, url: str | None, by: str) -> Enrollment:
        # Stored, and not named yet: as old as a second.
        being_named.add((url or "").removeprefix("/media/"))
        look()
        named = name_avatar(person_id, url, by)
        being_named.clear()
        return named

    monkeypatch.setattr(operations, "_name_avatar", watched)
    first = put(ada)
    look()
    with fakes.refusing("therapist_profiles", f"profile_image_url LIKE '%{first}'"):
        second = put(ada, "green")
        look()
        assert default_storage.exists(first), "the profile shows it still"
        third = put(ada, "blue")
        look()
        assert not default_storage.exists(second), "nobody shows it any more"
    fakes.settled()
    look()
    assert ada.delete(AVATAR).status_code == 200
    look()
    assert stored() == set()
    assert third not in stored()
    assert len(moments) >= 8


def test_any_storage_of_django_s_will_do(settings: Any, ada: Client, client: Client) -> None:
    settings.STORAGES = settings.STORAGES | {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage", "OPTIONS": {"base_url": "https://pictures.example.org/k/"}}
    }  # fmt: skip
    url = f"https://pictures.example.org/k/{put_anywhere(ada)}"
    name = url.removeprefix("https://pictures.example.org/k/")
    answer = client.get(f"/media/{name}")
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(b"".join(answer.streaming_content))).format == "WEBP"  # type: ignore[attr-defined]
    assert images.remove_unused_avatars(at=timezone.now() + OLD) == 0
    ada.delete(AVATAR)
    assert images.remove_unused_avatars(at=timezone.now()) == 0
    assert images.remove_unused_avatars(at=timezone.now() + OLD) == 1
    assert client.get(f"/media/{name}").status_code == 404
    assert isinstance(default_storage._wrapped, InMemoryStorage)  # type: ignore[attr-defined]


def put_anywhere(client: Client) -> str:
    return put(client).removeprefix("https://pictures.example.org/k/")


def test_a_store_that_is_not_there_stops_the_start(settings: Any) -> None:
    settings.MEDIA_STORE = "s3"
    assert [e.id for e in run_checks(tags=["therapists"])] == ["therapists.E001"]
    settings.MEDIA_BUCKET = "avatars"
    settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": "storages.no_such.Backend"}}
    (found,) = run_checks(tags=["therapists"])
    assert (found.id, "pip install" in str(found.hint)) == ("therapists.E002", True)
