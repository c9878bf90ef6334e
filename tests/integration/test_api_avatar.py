"""Avatars over HTTP: stored before named, refused in words, kept until no place names them."""

import datetime as dt
import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import DatabaseError, OperationalError
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone
from PIL import Image

from tests import fakes
from tests.factories import Cast
from therapists import images, operations
from therapists.models import Enrollment, Profile, User

AVATAR = "/api/v1/therapists/me/avatar/"


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def ada(cast: Cast) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(cast.ada)
    return client


def picture(colour: str = "red", size: tuple[int, int] = (300, 200)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def sent(client: Client, content: bytes, declared: str = "image/png", field: str = "image", **more: str) -> Any:
    ending = declared.removeprefix("image/").removesuffix("+xml")
    data = {field: SimpleUploadedFile(f"../../me.{ending}", content, declared), **more}
    return client.put(AVATAR, encode_multipart(BOUNDARY, data), MULTIPART_CONTENT)


def files() -> set[str]:
    return set(images.unused_avatars(timezone.now() + dt.timedelta(days=1))) | used()


def used() -> set[str]:
    urls = [
        *User.objects.values_list("avatar_url", flat=True),
        *Enrollment.objects.values_list("profile_image_url", flat=True),
    ]
    return {url.removeprefix("/media/") for url in urls if url and default_storage.exists(url.removeprefix("/media/"))}


def test_is_stored_under_a_random_name_and_named_everywhere(ada: Client, cast: Cast) -> None:
    body = sent(ada, picture()).json()
    url = body["data"]["avatar_url"]
    assert body["message"] == "Saved. Everything is up to date."
    assert re.fullmatch(r"/media/avatars/([0-9a-f]{2})/\1[0-9a-f]{30}\.webp", url)
    cast.ada.refresh_from_db()
    assert cast.ada.avatar_url == Profile.objects.get(user=cast.ada).profile_image_url == url
    assert body["revision"] == ada.get("/api/v1/therapists/me/").json()["revision"]


def test_is_served_so_that_nothing_in_it_can_run(ada: Client, client: Client) -> None:
    url = sent(ada, picture()).json()["data"]["avatar_url"]
    answer = client.get(url)
    assert Image.open(io.BytesIO(b"".join(answer.streaming_content))).format == "WEBP"  # type: ignore[attr-defined]
    assert answer["Content-Type"] == "image/webp"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert "immutable" in answer["Cache-Control"]
    assert client.get(url.replace(".webp", ".html")).status_code == 404
    assert client.get("/media/avatars/../../etc/passwd").status_code == 404
    assert client.get(f"/media/avatars/00/{'0' * 32}.webp").status_code == 404


def test_goes_away(ada: Client, cast: Cast) -> None:
    url = sent(ada, picture()).json()["data"]["avatar_url"]
    body = ada.delete(AVATAR).json()
    assert (body["data"]["avatar_url"], body["degraded"]) == (None, False)
    cast.ada.refresh_from_db()
    assert cast.ada.avatar_url is None
    assert default_storage.exists(url.removeprefix("/media/")), "kept until the nightly command finds it unused"
    assert ada.delete(AVATAR).status_code == 200


def test_stays_though_the_profile_table_refuses_it(ada: Client, cast: Cast) -> None:
    with fakes.refusing("therapist_profiles", "profile_image_url IS NULL"):
        body = sent(ada, picture()).json()
        assert body["message"] == "Saved. Two of three places are up to date; one needs our staff, who have been told."
    cast.ada.refresh_from_db()
    assert cast.ada.avatar_url == body["data"]["avatar_url"]


def bomb() -> bytes:
    def chunk(name: bytes, inner: bytes) -> bytes:
        return struct.pack(">I", len(inner)) + name + inner + struct.pack(">I", zlib.crc32(name + inner))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "declared", "status", "code"),
    [
        (b"", "image/png", 400, "invalid"),
        (b"no image at all", "image/png", 400, "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 400, "image_type_unsupported"),
        (picture(), "image/jpeg", 400, "image_type_mismatch"),
        (picture()[:60], "image/png", 400, "damaged"),
        (bomb(), "image/png", 400, "too_many_pixels"),
        (b"GIF89a/*<script>alert(1)</script>*/", "image/gif", 400, "not_an_image"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * (11 * 2**20), "image/png", 413, "image_too_large"),
    ],
    ids=["empty", "text", "svg", "mismatch", "truncated", "bomb", "polyglot", "too large"],
)
def test_what_is_refused_says_why_and_changes_nothing(
    ada: Client, cast: Cast, content: bytes, declared: str, status: int, code: str
) -> None:
    answer = sent(ada, content, declared)
    body = answer.json()
    assert (answer.status_code, answer["Content-Type"], body["code"]) == (status, "application/problem+json", code)
    assert body["errors"][0]["field"] == "image"
    assert Enrollment.objects.get(user=cast.ada).profile_image_url == "/media/avatars/first.webp"
    assert not files()


def test_other_fields_and_forms_are_refused(ada: Client) -> None:
    assert sent(ada, picture(), field="picture").json()["errors"][0]["code"] == "required"
    assert sent(ada, picture(), more="x").json()["errors"][0]["code"] == "unknown_field"
    assert ada.put(AVATAR, {"image": "x"}, "application/json").status_code == 415
    assert ada.put(AVATAR, b"nonsense", "multipart/form-data; boundary=x").status_code == 400
    assert not files()


def test_a_database_that_fails_after_the_file_was_written_names_nothing(ada: Client, cast: Cast) -> None:
    with mock.patch("therapists.operations.save_facts", side_effect=OperationalError("x")):
        assert sent(ada, picture()).status_code == 503
    assert Enrollment.objects.get(user=cast.ada).profile_image_url == "/media/avatars/first.webp"
    assert len(files()) == 1, "it waits for the nightly command"


def test_the_file_is_on_the_disk_before_the_row_names_it(ada: Client) -> None:
    steps = mock.Mock()
    steps.named.side_effect = operations._name_avatar
    with (
        mock.patch("os.fsync", steps.flushed),
        mock.patch("therapists.operations._name_avatar", steps.named),
    ):
        sent(ada, picture())
    # The file, and every folder that may be new.
    assert [call[0] for call in steps.mock_calls if "." not in call[0] and "_" not in call[0]][:5] == [
        "flushed"
    ] * 4 + ["named"]


class TestUnusedFiles:
    def old(self, name: str) -> None:
        before = (timezone.now() - dt.timedelta(hours=25)).timestamp()
        os.utime(default_storage.path(name), (before, before))

    def name_of(self, answer: Any) -> str:
        return str(answer.json()["data"]["avatar_url"]).removeprefix("/media/")

    def test_are_kept_for_a_day_and_while_any_place_names_them(self, ada: Client, cast: Cast) -> None:
        first = self.name_of(sent(ada, picture("red")))
        with fakes.refusing("therapist_profiles", f"profile_image_url LIKE '%{first}'"):
            second = self.name_of(sent(ada, picture("blue")))
            self.old(first)
            self.old(second)
            assert images.remove_unused_avatars(at=timezone.now()) == 0, "the broken copy still shows the first"
        fakes.settled()
        third = self.name_of(sent(ada, picture("green")))
        assert images.remove_unused_avatars(at=timezone.now()) == 2
        assert not default_storage.exists(first)
        assert not default_storage.exists(second)
        assert default_storage.exists(third)

    def test_are_known_by_name_whatever_stands_before_it(self, ada: Client, cast: Cast) -> None:
        name = self.name_of(sent(ada, picture()))
        self.old(name)
        fakes.sql(
            "UPDATE users SET avatar_url = %s WHERE id = %s", f"https://pictures.example.org/x/{name}", cast.ada.pk
        )
        assert images.remove_unused_avatars(at=timezone.now()) == 0

    def test_are_not_guessed_at_when_a_place_cannot_be_read(self, ada: Client) -> None:
        name = self.name_of(sent(ada, picture()))
        ada.delete(AVATAR)
        self.old(name)
        with fakes.renamed("therapist_profiles", "profile_image_url"), pytest.raises(DatabaseError):
            images.remove_unused_avatars(at=timezone.now())
        assert default_storage.exists(name)
        call_command("remove_unused_avatars", stdout=(out := io.StringIO()))
        assert "Removed 1 " in out.getvalue()
        assert not default_storage.exists(name)

    def test_leave_what_is_not_ours_alone(self, tmp_path: Path, transactional_db: None) -> None:
        (tmp_path / "avatars" / "ab").mkdir(parents=True)
        (tmp_path / "avatars" / "ab" / "notes.txt").write_text("mine")
        assert list(images.unused_avatars(timezone.now() + dt.timedelta(days=2))) == []
