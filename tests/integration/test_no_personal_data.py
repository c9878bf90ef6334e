"""Unique words go through the product as a person's data does, and are looked for wherever no personal data may be."""

import io
import json
import logging
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DataError
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from PIL import Image
from redis import Redis

from config import logs
from interventions.models import Intervention
from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment

pytestmark = pytest.mark.django_db(transaction=True)
MARK = "zq7marker"
# Where a person's data may stand: in the tables that hold it. These hold what became of it.
WITHOUT = (
    "manual_intervention_log", "intervention_history", "intervention_cause", "intervention_alert", "sync_debt",
    "sync_ledger", "sync_attempt", "sync_breaker", "sync_batch", "sync_audit", "sync_pulse", "failed_request",
)  # fmt: skip


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that is logged, at every level, as production writes it."""
    made: dict[str, Any] = {}
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("logging.config.dictConfig", made.update)
        logs.configure({"format": "json", "level": "DEBUG"})
    words = dict(made["formatters"]["structured"])
    kind = words.pop("()")
    out = io.StringIO()
    handler, root = logging.StreamHandler(out), logging.getLogger()
    handler.setFormatter(kind(**words))
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out
    root.removeHandler(handler)
    root.setLevel(before)


def lived(cast: Cast) -> None:
    """Let data go wherever it goes: saved, refused, copied in vain, mistyped, searched for, sent where nothing is."""
    ada, staff, nobody = (Client(raise_request_exception=False) for _ in range(3))
    ada.force_login(cast.ada)
    staff.force_login(cast.sam)
    me, kind = "/api/v1/therapists/me/", "application/json"
    facts = {"bio": f"{MARK} bio", "full_name": f"{MARK} Quist", "phone": "+44 20 7946 0999"}
    with fakes.refusing("therapist_profiles", "bio NOT LIKE '%marker%'"):
        assert ada.patch(me, facts, kind, headers={"Idempotency-Key": "once"}).status_code == 200
        fakes.settled()
    with fakes.refusing("therapist_enrollments", "bio NOT LIKE '%other%'"):
        assert ada.patch(me, {"bio": f"{MARK} other"}, kind).status_code == 409
    assert ada.patch(me, {"bio": 7, MARK: MARK}, kind).status_code == 400
    assert ada.patch(me, f'{{"bio": "{MARK}', kind).status_code == 400
    picture = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(picture, "PNG")
    for content, status in ((picture.getvalue(), 200), (MARK.encode(), 400)):
        file = SimpleUploadedFile(f"{MARK}.png", content, "image/png")
        assert (
            ada.put(me + "avatar/", encode_multipart(BOUNDARY, {"image": file}), MULTIPART_CONTENT).status_code
            == status
        )
    for body in ({"email": f"{MARK}@example.org", "password": MARK}, {"email": cast.ben.email, "password": MARK}):
        assert nobody.post("/api/v1/auth/session/", body, kind).status_code == 401
    assert nobody.post("/admin/login/", {"username": f"{MARK}@example.org", "password": MARK}).status_code == 200
    applied = {"email": f"{MARK}@example.org", "full_name": MARK}
    assert nobody.post("/api/v1/applications/", applied, kind).status_code == 202
    for address in (f"/{MARK}/", f"/api/v1/{MARK}/?q={MARK}", f"/admin/{MARK}/?q={MARK}"):
        assert nobody.get(address).status_code in {302, 404}
    assert staff.get(f"/admin/interventions/intervention/?q={MARK}@example.org").status_code == 200
    assert staff.get(f"/admin/auth/user/?q={MARK}").status_code == 404
    assert staff.get(f"/health/?q={MARK}", headers={"X-Request-ID": f"{MARK} {MARK}"}).status_code in {200, 503}


def in_redis() -> str:
    """Give everything that Redis holds, the messages' bodies readable."""
    found = []
    with Redis.from_url(configured.REDIS_URL) as server:
        for key in server.scan_iter():
            kind = server.type(key)
            values: Any = (
                server.lrange(key, 0, -1) if kind == b"list" else [] if kind != b"string" else [server.get(key)]
            )
            values = [*server.hgetall(key).values()] if kind == b"hash" else values
            values = [*server.smembers(key)] if kind == b"set" else values
            found += [key, *values]
            found += [b64decode(json.loads(value)["body"]) for value in values if b'"body"' in value]
    return b"\n".join(found).decode(errors="replace")


def test_p10_no_word_of_a_persons_data_is_where_it_does_not_belong(
    cast: Cast, settings: Any, tmp_path: Path, written: io.StringIO
) -> None:
    settings.MEDIA_ROOT = tmp_path
    lived(cast)
    assert Enrollment.objects.filter(bio=f"{MARK} bio").exists(), "the words were there to be leaked"
    assert Intervention.objects.filter(person_id=cast.ada.pk, target="therapist_profiles").exists()
    places = {
        "logs": written.getvalue(),
        "redis": in_redis(),
        "metrics": Client().get("/metrics").content.decode(),
        **{table: str(fakes.sql(f"SELECT row_to_json(t)::text FROM {table} AS t")) for table in WITHOUT},
    }
    assert places["logs"].count("\n") > 5
    assert {place: line for place, text in places.items() for line in text.splitlines() if MARK in line} == {}
    assert all("7946 0999" not in text for text in places.values())


class TestWhatAnErrorSays:
    def test_is_its_kind_and_its_places_and_not_its_words(self, written: io.StringIO, client: Client) -> None:
        try:
            fakes.sql(f"SELECT '{MARK}'::integer")
        except DataError:
            logging.getLogger("celery.app.trace").exception("Task %(name)s: %(exc)s", {"name": "x", "exc": MARK})
        (line,) = [json.loads(line) for line in written.getvalue().splitlines() if "celery" in line or "Task" in line]
        assert (line["reason"], line["code"]) == ("DataError", "22P02")
        assert any("fakes.py" in place for place in line["places"])
        assert [name for name, value in line.items() if MARK in str(value)] == []
