"""A disk without room: what cannot be saved is refused and changes nothing, and a copy's trouble is the copy's alone."""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from PIL import Image

from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment, User

pytestmark = pytest.mark.django_db(transaction=True)
ME, JSON = "/api/v1/therapists/me/", "application/json"


@contextmanager
def without_room(table: str) -> Iterator[None]:
    """Let PostgreSQL say of each write to a table what it says where its disk is full."""
    fakes.sql(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
    )
    fakes.sql(f"CREATE TRIGGER a_no_room BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION no_room()")
    try:
        yield
    finally:
        fakes.sql("DROP FUNCTION no_room CASCADE")


@pytest.fixture
def ada(cast: Cast) -> Client:
    fakes.settled()
    client = Client(raise_request_exception=False)
    client.force_login(cast.ada)
    return client


def refused(answer: Any) -> bool:
    return (answer.status_code, answer.json()["code"], "Retry-After" in answer) == (503, "unavailable", True)


def test_p1_of_postgresql_is_503_and_changes_nothing(ada: Client, cast: Cast) -> None:
    with without_room("therapist_enrollments"):
        assert refused(ada.patch(ME, {"bio": "New."}, JSON))
    assert Enrollment.objects.get(user=cast.ada).bio == "Twelve years with couples."
    assert ada.patch(ME, {"bio": "New."}, JSON).json()["degraded"] is False


def test_p3_under_a_copy_leaves_the_copy_owed_until_there_is_room(ada: Client, cast: Cast) -> None:
    with without_room("therapist_profiles"):
        assert ada.patch(ME, {"bio": "New."}, JSON).json()["degraded"] is True
        fakes.settled()
        assert fakes.states(cast.ada.pk)["therapist_profiles"] in {"backing_off", "due", "parked"}
    fakes.settled()
    assert fakes.states(cast.ada.pk)["therapist_profiles"] == "in_sync"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_p1_of_avatars_is_503_and_no_row_names_a_file(
    ada: Client, cast: Cast, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    settings.MEDIA_ROOT = tmp_path
    picture = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(picture, "PNG")
    body = encode_multipart(BOUNDARY, {"image": SimpleUploadedFile("me.png", picture.getvalue(), "image/png")})
    before = fakes.avatars(cast.ada)

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("os.fsync", full)
        assert refused(ada.put(f"{ME}avatar/", body, MULTIPART_CONTENT))
    assert fakes.avatars(User.objects.get(pk=cast.ada.pk)) == before
    assert ada.put(f"{ME}avatar/", body, MULTIPART_CONTENT).status_code == 200
