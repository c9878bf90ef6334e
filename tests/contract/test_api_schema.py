"""The documented API is the served one, and its pages need no outside host."""

import re
from io import StringIO
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

METHODS = {"get", "post", "put", "patch", "delete"}
# Sending it twice changes nothing further, or there is nobody whose key it could be.
KEYLESS = {
    "/api/v1/auth/session/", "/api/v1/auth/sessions/", "/api/v1/applications/", "/api/v1/therapists/me/bio-suggestion/",
    "/api/v1/second-bests/",
}  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Any:
    out = StringIO()
    call_command("spectacular", "--fail-on-warn", "--validate", stdout=out)
    return yaml.safe_load(out.getvalue())


def test_documents_every_address_of_the_contract(schema: Any) -> None:
    found = {f"{method.upper()} {path}" for path, entry in schema["paths"].items() for method in METHODS & set(entry)}
    assert found == {
        "POST /api/v1/auth/session/", "DELETE /api/v1/auth/session/", "DELETE /api/v1/auth/sessions/",
        "GET /api/v1/therapists/me/", "PATCH /api/v1/therapists/me/",
        "DELETE /api/v1/therapists/me/", "GET /api/v1/therapists/me/export/",
        "GET /api/v1/therapists/me/sync/", "POST /api/v1/therapists/me/sync/",
        "PUT /api/v1/therapists/me/avatar/", "DELETE /api/v1/therapists/me/avatar/",
        "GET /api/v1/enrollments/", "POST /api/v1/enrollments/{id}/decision/",
        "GET /api/v1/directory/", "GET /api/v1/directory/{id}/", "POST /api/v1/applications/",
        "GET /api/v1/bookings/", "POST /api/v1/bookings/", "POST /api/v1/bookings/{id}/confirm/",
        "POST /api/v1/bookings/{id}/cancel/", "POST /api/v1/bookings/{id}/reminder/",
        "POST /api/v1/enrollments/{id}/message/", "POST /api/v1/therapists/me/bio-suggestion/", "GET /api/v1/credits/", "POST /api/v1/credits/",
        "GET /api/v1/interventions/", "GET /api/v1/interventions/{id}/",
        "POST /api/v1/interventions/{id}/retry/", "POST /api/v1/interventions/{id}/resolve/",
        "POST /api/v1/interventions/{id}/assign/", "POST /api/v1/interventions/{id}/hand-back/",
        "POST /api/v1/interventions/{id}/snooze/", "POST /api/v1/interventions/{id}/unsnooze/",
        "GET /api/v1/causes/", "GET /api/v1/causes/{id}/", "POST /api/v1/causes/{id}/retry/",
        "POST /api/v1/causes/{id}/acknowledge/", "POST /api/v1/causes/{id}/hand-back/",
        "POST /api/v1/causes/{id}/snooze/", "POST /api/v1/causes/{id}/unsnooze/",
        "POST /api/v1/causes/{id}/ignore/", "POST /api/v1/causes/{id}/unignore/", "POST /api/v1/causes/{id}/note/",
        "GET /api/v1/second-bests/", "POST /api/v1/second-bests/",
        "GET /api/v1/operations/{key}/", "GET /api/v1/events/",
        "POST /api/v1/runs/", "GET /api/v1/runs/{id}/",
        "POST /api/v1/runs/{id}/pause/", "POST /api/v1/runs/{id}/resume/", "POST /api/v1/runs/{id}/cancel/",
    }  # fmt: skip


def test_every_operation_documents_the_problem_it_may_answer(schema: Any) -> None:
    for path, entry in schema["paths"].items():
        for method in METHODS & set(entry):
            answer = entry[method]["responses"]["default"]["content"]["application/problem+json"]["schema"]
            assert answer == {"$ref": "#/components/schemas/Problem"}, f"{method} {path}"


def test_every_unsafe_operation_documents_its_key_and_what_a_wrong_one_is_answered(schema: Any) -> None:
    for path, entry in schema["paths"].items():
        for method in METHODS & set(entry) - {"get"}:
            headers = {p["name"] for p in entry[method].get("parameters", []) if p["in"] == "header"}
            responses = entry[method]["responses"]
            is_keyed = path not in KEYLESS and (method, path) != ("delete", "/api/v1/therapists/me/")
            assert ("Idempotency-Key" in headers) is is_keyed, f"{method} {path}"
            assert ({"409", "422"} <= set(responses)) is is_keyed, f"{method} {path}"
            success = next(answer for status, answer in responses.items() if status.startswith("2"))
            assert ("Idempotent-Replayed" in success.get("headers", {})) is is_keyed, f"{method} {path}"


def test_every_write_documents_the_envelope(schema: Any) -> None:
    envelopes = [name for name in schema["components"]["schemas"] if name.startswith("Saved")]
    assert len(envelopes) == 7
    for name in envelopes:
        assert set(schema["components"]["schemas"][name]["properties"]) == {
            "success", "message", "degraded", "warnings", "revision", "syncStatus", "data",
        }  # fmt: skip


def test_the_pages_name_no_outside_host(client: Client, transactional_db: None) -> None:
    page = client.get("/api/docs/")
    script = client.get("/api/docs/?script=")
    assert (page.status_code, script.status_code) == (200, 200)
    for answer in (page, script):
        assert not re.findall(r"https?://(?!testserver)", answer.content.decode())
    assert not re.findall(r"<script>", page.content.decode()), "an inline script would need 'unsafe-inline'"
    assert client.get("/api/schema/").status_code == 200
