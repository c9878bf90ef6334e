"""Avatars in a bucket, over a real socket: kept, served, removed when unused, and refused clearly while it is away."""

import datetime as dt
import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone
from PIL import Image

from tests.bucket import NAME, BucketServer, bucket
from tests.factories import Cast
from therapists import images
from therapists.images import bucket as store
from therapists.models import Profile, User

AVATAR = "/api/v1/therapists/me/avatar/"
OLD = dt.timedelta(hours=25)


@pytest.fixture
def server(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """A bucket, and Keepwell told of it."""
    monkeypatch.setattr(store, "SECONDS", 0.5)
    with bucket() as running:
        options = settings.MEDIA_STORES["s3"]["OPTIONS"] | {
            "bucket_name": NAME, "endpoint_url": running.address, "region_name": "eu-central-1", "access_key": "a",
            "secret_key": "b",
        }  # fmt: skip
        settings.STORAGES = settings.STORAGES | {"default": settings.MEDIA_STORES["s3"] | {"OPTIONS": options}}
        yield running


@pytest.fixture
def ada(cast: Cast) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(cast.ada)
    return client


def put(client: Client, colour: str = "red") -> Any:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(out, "PNG")
    body = encode_multipart(BOUNDARY, {"image": SimpleUploadedFile("me.png", out.getvalue(), "image/png")})
    return client.put(AVATAR, body, MULTIPART_CONTENT)


def path_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    return "/media/" + str(answer.json()["data"]["avatar_url"]).partition("/media/")[2]


def test_keeps_serves_and_removes_what_nobody_shows_any_more(server: BucketServer, ada: Client, client: Client) -> None:
    first, second = path_of(put(ada)), path_of(put(ada, "green"))

    answer = client.get(second)
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(b"".join(answer.streaming_content))).format == "WEBP"  # type: ignore[attr-defined]
    assert set(server.files) == {first.removeprefix("/media/"), second.removeprefix("/media/")}

    assert images.remove_unused_avatars(at=timezone.now()) == 0, "younger than a day"
    assert images.remove_unused_avatars(at=timezone.now() + OLD) == 1
    assert set(server.files) == {second.removeprefix("/media/")}
    assert (client.get(first).status_code, client.get(second).status_code) == (404, 200)


def expect_refusals(ada: Client, client: Client, shown: str, cast: Cast) -> None:
    refused = put(ada, "blue")
    assert (refused.status_code, refused.json()["code"], "Retry-After" in refused) == (503, "unavailable", True)
    look = client.get(shown)
    assert (look.status_code, "Retry-After" in look, look["Cache-Control"]) == (503, True, "no-store")
    assert str(User.objects.get(pk=cast.ada.pk).avatar_url).endswith(shown), "a row names only what is there"
    assert str(Profile.objects.get(user=cast.ada).profile_image_url).endswith(shown)


def test_p1_one_that_hangs_is_503_in_time_and_no_row_names_what_is_not_there(
    server: BucketServer, ada: Client, client: Client, cast: Cast
) -> None:
    shown = path_of(put(ada))
    server.goes_on.clear()
    began = time.monotonic()

    expect_refusals(ada, client, shown, cast)

    assert time.monotonic() - began < 10
    server.goes_on.set()
    assert client.get(shown).status_code == 200
    assert put(ada, "blue").status_code == 200


def test_p1_one_that_is_gone_is_503(server: BucketServer, ada: Client, client: Client, cast: Cast) -> None:
    shown = path_of(put(ada))
    server.is_gone = True

    expect_refusals(ada, client, shown, cast)


def test_one_that_lets_us_do_nothing_is_503(server: BucketServer, ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bucket.NAME", "another")

    assert put(ada).status_code == 503
