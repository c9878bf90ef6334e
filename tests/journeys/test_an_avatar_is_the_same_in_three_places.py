"""A therapist changes their picture: any of three places may be written, and the newest write is everywhere."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from PIL import Image

from sync import tasks
from tests import fakes
from tests.factories import Cast
from therapists import images, operations
from therapists.models import Enrollment, Profile, User


@pytest.fixture(autouse=True)
def _own_media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def avatars(person: User) -> set[str | None]:
    row = Profile.objects.select_related("user__enrollment").get(user=person)
    assert row.user is not None
    return {row.profile_image_url, row.user.avatar_url, row.user.enrollment.profile_image_url}


def test_an_uploaded_picture_is_named_by_all_three(cast: Cast, layers: str) -> None:
    png = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(png, "PNG")
    upload = images.Upload(png.getvalue(), "image/png")
    saved = operations.set_avatar(person_id=cast.ada.pk, upload=upload, by="user:1", at=timezone.now())
    tasks.sweep()
    assert saved.profile_image_url
    assert avatars(cast.ada) == {saved.profile_image_url}


def test_a_removed_picture_is_gone_from_all_three(cast: Cast, layers: str) -> None:
    operations.remove_avatar(person_id=cast.ada.pk, by="user:1", at=timezone.now())
    tasks.sweep()
    assert avatars(cast.ada) == {None}


def test_p2_the_newest_of_three_writers_wins(cast: Cast, layers: str) -> None:
    row = Profile.objects.get(user=cast.ada)
    row.profile_image_url = "/oldest"
    row.save(update_fields=["profile_image_url"])
    User.objects.filter(pk=cast.ada.pk).update(avatar_url="/newer")
    Enrollment.objects.filter(user=cast.ada).update(profile_image_url="/newest")
    tasks.sweep()
    assert avatars(cast.ada) == {"/newest"}


def test_p3_a_locked_profile_keeps_the_old_picture_until_it_is_free(cast: Cast, layers: str) -> None:
    with fakes.locked_row("therapist_profiles", cast.ada.pk):
        User.objects.filter(pk=cast.ada.pk).update(avatar_url="/new")
        tasks.sweep()
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "backing_off"
        assert Enrollment.objects.get(user=cast.ada).profile_image_url == "/new" or layers == "copying off"
    fakes.settled()
    assert avatars(cast.ada) == {"/new"}
