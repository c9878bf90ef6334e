"""docs/api.md by the letter: a reader who copies every snippet has a saved profile at the end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from tests import fakes
from tests.factories import PASSWORD, Cast
from tests.programs import needed
from therapists.models import Enrollment, Profile

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def run(live_server: Any, cast: Cast, tmp_path: Path, settings: Any) -> Any:
    settings.MEDIA_ROOT = tmp_path / "media"
    Image.new("RGB", (30, 20), "red").save(tmp_path / "me.png")
    where = {"KEEPWELL": live_server.url, "EMAIL": cast.ada.email, "PASSWORD": PASSWORD, "PATH": os.environ["PATH"]}

    def runs(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=where, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return runs


def test_with_curl(run: Any, cast: Cast) -> None:
    needed("curl", package="curl")
    first, *rest = snippets("sh")
    assert re.fullmatch(r"(export (KEEPWELL|EMAIL)=.*\n)+", first), "what a reader replaces by their own"
    said = run("bash", "-euo", "pipefail", "-c", "\necho; echo ----\n".join(rest))
    profile, saved, standing, avatar = [json.loads(part) for part in said.split("----\n")[1:5]]
    assert profile["email"] == cast.ada.email
    assert saved["message"] == shown()["message"]
    assert (saved["data"]["phone"], saved["data"]["bio"]) == (None, shown()["data"]["bio"])
    assert Profile.objects.get(user=cast.ada).specialization == ["CBT", "Trauma, complex"]
    assert standing["message"] == "Everything is up to date."
    assert avatar["data"]["avatar_url"].startswith("/media/avatars/")
    picture = Client().get(avatar["data"]["avatar_url"])
    picture.close()
    assert picture.status_code == 200
    assert not fakes.silently_behind() & {(cast.ada.pk, "therapist_profiles")}


def shown() -> Any:
    """What the guide shows as the answer of a write."""
    (answer,) = snippets("json")
    return json.loads(answer)


def test_with_python(run: Any, cast: Cast) -> None:
    said = run(sys.executable, "-I", "-W", "error", "-c", "\n".join(snippets("python"))).splitlines()
    assert said[0] == "Saved. Everything is up to date."
    assert [line.split()[0] for line in said[1:]] == ["experience_years", "boi"]
    assert Enrollment.objects.get(user=cast.ada).bio == "Sixteen years with couples."


def test_shows_the_answer_as_it_is(cast: Cast, client: Client) -> None:
    client.force_login(cast.ada)
    answer = client.patch("/api/v1/therapists/me/", {"bio": "Fifteen years with couples."}, "application/json").json()
    assert set(shown()) == set(answer)
    assert shown()["syncStatus"]["total"] == answer["syncStatus"]["total"]
    for name, value in shown().items():
        assert name in {"revision", "syncStatus", "data"} or answer[name] == value
