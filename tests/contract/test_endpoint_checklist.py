"""
Every endpoint of the API against one list: the six points of an update, and what the pattern library asks of any endpoint.

Endpoints are found by the resolver, their bodies and callers in the table of permissions. One that has no line here fails.
"""

import io
import json
import re
import uuid
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
import yaml
from django.conf import settings as configured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from PIL import Image

from interventions import causes
from interventions.api.base import ApiView
from interventions.models import Intervention, KeyedRequest, RetryRun
from sync import delivery
from tests import fakes
from tests.authorization import API, WHO
from tests.contract.test_api_permissions import booked, caller
from tests.contract.test_api_problems import problem
from tests.factories import PASSWORD, Cast
from therapists.models import Enrollment

JSON, ID = "application/json", "checklist-0001"
# Writes facts of a therapist: the six points hold.
UPDATES = {
    "PATCH /api/v1/therapists/me/", "PUT /api/v1/therapists/me/avatar/", "DELETE /api/v1/therapists/me/avatar/",
    "POST /api/v1/therapists/me/sync/", "POST /api/v1/enrollments/*/decision/",
}  # fmt: skip
# Writes no fact of a therapist.
OTHERS = {
    "POST /api/v1/auth/session/", "DELETE /api/v1/auth/session/", "DELETE /api/v1/auth/sessions/",
    "DELETE /api/v1/therapists/me/", "POST /api/v1/runs/",
    "POST /api/v1/applications/", "POST /api/v1/credits/",
    "POST /api/v1/second-bests/", "POST /api/v1/therapists/me/bio-suggestion/", "POST /api/v1/bookings/*/reminder/",
    "POST /api/v1/enrollments/*/message/",
    "POST /api/v1/bookings/", "POST /api/v1/bookings/*/confirm/", "POST /api/v1/bookings/*/cancel/",
    *(f"POST /api/v1/interventions/*/{word}/" for word in
      ("retry", "resolve", "assign", "hand-back", "snooze", "unsnooze")),
    *(f"POST /api/v1/causes/*/{word}/" for word in
      ("retry", "acknowledge", "hand-back", "snooze", "unsnooze", "ignore", "unignore", "note")),
    *(f"POST /api/v1/runs/*/{word}/" for word in ("pause", "resume", "cancel")),
}  # fmt: skip
READS = {
    f"GET /api/v1/{path}/" for path in
    ("second-bests", "directory", "directory/*", "bookings", "credits", "therapists/me", "therapists/me/export", "therapists/me/sync", "enrollments", "interventions", "interventions/*", "causes", "causes/*", "runs/*",
     "operations/*", "events")
}  # fmt: skip
OPEN = {
    "POST /api/v1/auth/session/",
    "POST /api/v1/applications/",
    "GET /api/v1/directory/",
    "GET /api/v1/directory/*/",
}
FORMS = {"PUT /api/v1/therapists/me/avatar/"}
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Endpoint:
    """One method of one address, who may use it, and what they would send."""

    name: str
    address: str
    client: Client
    body: Any

    @property
    def method(self) -> str:
        return self.name.split()[0]

    def ask(self, body: Any = None, kind: str = JSON, *, client: Client | None = None, method: str = "") -> Any:
        if isinstance(body, dict) and kind == JSON:
            body = json.dumps(body)
        headers = {"X-Request-ID": ID, "Idempotency-Key": str(uuid.uuid4())}
        return (client or self.client).generic(
            method or self.method, self.address, body or "", kind, headers=headers
        )  # fmt: skip

    def asked_well(self, client: Client | None = None) -> Any:
        if self.name in FORMS:
            return self.ask(picture(), MULTIPART_CONTENT, client=client)
        return self.ask(self.body, client=client)


def served() -> dict[str, Any]:
    """Find every operation under /api/v1/ and the class that answers it."""
    found: dict[str, Any] = {}
    for resolver in get_resolver().url_patterns:
        if isinstance(resolver, URLResolver) and str(resolver.pattern) == "api/v1/":
            for entry in resolver.url_patterns:
                assert isinstance(entry, URLPattern)
                view = getattr(entry.callback, "view_class", None)
                route = re.sub(r"<\w+:\w+>", "*", str(entry.pattern))
                found |= {f"{m.upper()} /api/v1/{route}": view for m in METHODS if hasattr(view, m)}
    return found


def picture(**beside: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(out, "PNG")
    return encode_multipart(BOUNDARY, beside | {"image": SimpleUploadedFile("me.png", out.getvalue(), "image/png")})


@pytest.fixture
def endpoints(cast: Cast, settings: Any, tmp_path: Any) -> list[Endpoint]:
    """Every operation, asked by somebody who may."""
    settings.MEDIA_ROOT = tmp_path
    item = Intervention.objects.create(
        operation="sync", entity_id=str(cast.ada.pk), person_id=cast.ada.pk, target="therapist_profiles", error="x"
    )
    run = RetryRun.objects.create(title="x", state="running", asked_by="system", asked_at=timezone.now())
    cause = causes.ensure(fingerprint=item.cause, at=timezone.now())
    assert cause is not None
    enrollment = Enrollment.objects.get(user=cast.ada)
    named = {
        "item": item.pk, "run": run.pk, "cause": cause.pk, "enrollment": enrollment.pk, "ada": cast.ada.pk,
        "booking": booked(cast).pk, "key": "adas",
    }  # fmt: skip
    KeyedRequest.objects.create(
        id=uuid.uuid4(), person_id=cast.ada.pk, key="adas", method="PATCH", route="/", digest=""
    )  # fmt: skip
    clients = {"anonymous": Client(raise_request_exception=False)}

    def client_of(who: str) -> Client:
        if who not in clients:
            person = caller(who, cast)
            assert person is not None
            clients[who] = Client(raise_request_exception=False)
            clients[who].force_login(person)
        return clients[who]

    made = {
        "POST /api/v1/auth/session/": Endpoint(
            "POST /api/v1/auth/session/", "/api/v1/auth/session/", client_of("anonymous"),
            {"email": cast.ben.email, "password": PASSWORD},
        ),
        "POST /api/v1/credits/": Endpoint(
            "POST /api/v1/credits/", "/api/v1/credits/", client_of("lead"), {"person_id": cast.ben.pk, "amount": 1}
        ),
        "PUT /api/v1/therapists/me/avatar/": Endpoint(
            "PUT /api/v1/therapists/me/avatar/", "/api/v1/therapists/me/avatar/", client_of("therapist"), None
        ),
    }  # fmt: skip
    for method, address, body, statuses in API:
        name = f"{method} {re.sub(r'[{][a-z]+[}]', '*', address)}"
        may = [who for who, status in zip(WHO, statuses, strict=True) if status not in {401, 403, 404}]
        if may and name in served():
            made.setdefault(name, Endpoint(name, address.format(**named), client_of(may[-1]), body))
    return list(made.values())


def test_every_endpoint_stands_in_the_list(endpoints: list[Endpoint]) -> None:
    found = served()
    assert set(found) == UPDATES | OTHERS | READS
    assert {one.name for one in endpoints} == set(found), "each has a caller and a body"
    assert [name for name, view in found.items() if not issubclass(view, ApiView)] == []


def test_asks_who_calls_and_where_the_call_comes_from(endpoints: list[Endpoint]) -> None:
    for one in endpoints:
        if one.name in OPEN:
            continue
        answer = one.asked_well(client=Client())
        found = problem(answer, 401, "not_authenticated")
        assert (found["request_id"], "WWW-Authenticate" in answer) == (ID, True), one.name
        if one.method == "GET":
            continue
        careful = Client(enforce_csrf_checks=True)
        careful.cookies = one.client.cookies
        assert one.asked_well(client=careful).json()["code"] == "csrf_failed", one.name


def test_refuses_what_it_does_not_know_and_says_what(endpoints: list[Endpoint]) -> None:
    large = json.dumps({"x": "x" * configured.DATA_UPLOAD_MAX_MEMORY_SIZE})
    for one in endpoints:
        if one.method in {"GET", "DELETE"}:
            continue
        if one.name not in FORMS:
            unknown = problem(one.ask({**(one.body or {}), "no_such_field": 1}), 400, "invalid")
            assert ("no_such_field", "unknown_field") in [(e.get("field"), e["code"]) for e in unknown["errors"]], (
                one.name
            )
            problem(one.ask("{"), 400, "parse_error")
            problem(one.ask("[1]"), 400, "invalid")
            problem(one.ask(large), 413, "too_large")
        else:
            unknown = problem(one.ask(picture(no_such_field="1"), MULTIPART_CONTENT), 400, "invalid")
            assert [(e["field"], e["code"]) for e in unknown["errors"]] == [("no_such_field", "unknown_field")]
        problem(one.ask("x=1", "application/x-www-form-urlencoded"), 415, "unsupported_media_type")


def test_names_its_methods_and_answers_for_the_caller_alone(endpoints: list[Endpoint]) -> None:
    by_address = {one.address: {o.method for o in endpoints if o.address == one.address} for one in endpoints}
    for one in endpoints:
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - by_address[one.address]:
            answer = one.ask(method=method)
            # Whoever is nobody there learns nothing of the address.
            if answer.status_code not in {401, 403}:
                problem(answer, 405, "method_not_allowed")
                assert one.method in answer["Allow"], one.name
        if one.name in OPEN:
            continue
        answer = one.ask(method="GET")
        assert "private" in answer["Cache-Control"] or "no-store" in answer["Cache-Control"], one.name


def test_tells_nothing_of_how_it_broke(endpoints: list[Endpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret value in SELECT password FROM users")

    monkeypatch.setattr(ApiView, "initial", broken)
    for one in endpoints:
        assert problem(one.asked_well(), 500, "internal")["request_id"] == ID, one.name


def test_p1_is_503_and_never_a_2xx_while_postgresql_is_away(endpoints: list[Endpoint]) -> None:
    with fakes.away():
        for one in endpoints:
            answer = one.asked_well()
            problem(answer, 503, "unavailable")
            assert int(answer["Retry-After"]) > 0, one.name


def test_is_documented_with_what_it_takes_and_answers(endpoints: list[Endpoint]) -> None:
    call_command("spectacular", stdout=(out := StringIO()))
    paths = {re.sub(r"\{\w+\}", "*", path): entry for path, entry in yaml.safe_load(out.getvalue())["paths"].items()}
    for one in endpoints:
        method, path = one.name.split()
        told = paths[path][method.lower()]
        good = [code for code in told["responses"] if code.startswith("2")]
        assert (bool(told.get("description")), bool(good), "default" in told["responses"]) == (True, True, True), (
            one.name
        )
        assert ("requestBody" in told) or one.method in {"GET", "DELETE"} or not one.body, one.name


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whoever listens is told of these people right after the commit."""
    heard: list[int] = []
    fan_out = delivery.fan_out

    def heard_first(person_id: int, **more: Any) -> bool:
        heard.append(person_id)
        return bool(fan_out(person_id, **more))

    monkeypatch.setattr("sync.receivers.delivery.fan_out", heard_first)
    return heard


@pytest.mark.parametrize("name", sorted(UPDATES))
def test_an_update_keeps_the_six_points(endpoints: list[Endpoint], cast: Cast, told: list[int], name: str) -> None:
    one = next(one for one in endpoints if one.name == name)
    person = cast.ada
    with fakes.asleep():
        Intervention.objects.all().delete()
    if name.endswith("/sync/"):
        # Writes copies alone, and there must be something to write.
        one.client.force_login(person := cast.ben)
    else:
        # 1. A primary write that fails is said to have failed, and nothing of it stays.
        before = Enrollment.objects.filter(user=person).values().get()
        with fakes.refusing("therapist_enrollments", "false"):
            problem(one.asked_well(), 409, "conflict")
        assert Enrollment.objects.filter(user=person).values().get() == before
        assert told == []
    with fakes.refusing("therapist_profiles", "false"):
        answer = one.asked_well()
    # 2. and 5. A copy that cannot be written costs nobody the success.
    body = answer.json()
    assert (answer.status_code, body["success"], body["degraded"]) == (200, True, True), body
    assert set(body) == {"success", "message", "degraded", "warnings", "revision", "syncStatus", "data"}
    # 3. It is written down for staff, and nothing is behind in silence.
    item = Intervention.objects.get(person_id=person.pk, target="therapist_profiles", resolved=False, code="23514")
    assert item.state == "open"
    assert not {(p, t) for p, t in fakes.silently_behind() if p == person.pk}
    # 4. Whoever listens hears of it once it is committed.
    assert name.endswith("/sync/") or set(told) == {person.pk}
    # 6. The warning is in words for people.
    assert body["syncStatus"]["synced"] < body["syncStatus"]["total"]
    assert [line for line in body["warnings"] if line.startswith("therapist_profiles: ")]
    assert not re.search(r"23514|psycopg|Error|constraint|SELECT", " ".join([body["message"], *body["warnings"]]))
