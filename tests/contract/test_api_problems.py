"""Every refusal of the API is application/problem+json, says what to do, and tells nothing of how it broke."""

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.conf import settings as configured
from django.core.exceptions import BadRequest, DisallowedHost, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelRefusal
from django.db import DatabaseError, DataError, IntegrityError, OperationalError, ProgrammingError
from django.test import Client, RequestFactory
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from interventions.api import outside
from tests import fakes
from tests.factories import PASSWORD, Cast
from therapists.models import Enrollment

ME = "/api/v1/therapists/me/"
SHAPE = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "errors", "request_id"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string", "pattern": "^urn:keepwell:problem:[a-z_]+$"},
        "title": {"type": "string", "minLength": 3},
        "status": {"type": "integer"},
        "detail": {"type": "string", "minLength": 5},
        "instance": {"type": "string", "pattern": "^/api/"},
        "code": {"type": "string", "pattern": "^[a-z_]+$"},
        "request_id": {"type": "string", "minLength": 8},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "detail"],
                "additionalProperties": False,
                "properties": {name: {"type": "string"} for name in ("code", "detail", "pointer", "field")},
            },
        },
    },
}


def problem(answer: Any, status: int, code: str) -> Any:
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    Draft202012Validator(SHAPE).validate(body)
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["request_id"] == answer["X-Request-ID"]
    for word in ("Traceback", "psycopg", "SELECT", "UPDATE ", "django", "secret value"):
        assert word not in answer.content.decode()
    return body


@pytest.fixture(params=[True, False], ids=["DEBUG on", "DEBUG off"])
def either_debug(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.DEBUG = request.param


@pytest.fixture
def ada(cast: Cast) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(cast.ada)
    return client


@pytest.fixture
def unchanged(ada: Client) -> Iterator[None]:
    """Nothing was stored, nothing was lost."""
    before = fakes.sql("SELECT e.*, u.* FROM therapist_enrollments e JOIN users u ON u.id = user_id ORDER BY u.id")
    yield
    after = fakes.sql("SELECT e.*, u.* FROM therapist_enrollments e JOIN users u ON u.id = user_id ORDER BY u.id")
    assert after == before


@pytest.mark.usefixtures("unchanged")
class TestBadInput:
    @pytest.mark.parametrize(
        ("body", "field", "code"),
        [
            ({"experience_years": -1}, "experience_years", "min_value"),
            ({"experience_years": 81}, "experience_years", "max_value"),
            ({"experience_years": "many"}, "experience_years", "invalid"),
            ({"experience_years": True}, "experience_years", "invalid"),
            ({"bio": "a\0b"}, "bio", "null_characters_not_allowed"),
            ({"full_name": "a\0"}, "full_name", "null_characters_not_allowed"),
            ({"full_name": ""}, "full_name", "blank"),
            ({"full_name": None}, "full_name", "null"),
            ({"bio": "x" * 10_001}, "bio", "max_length"),
            ({"bio": {"nested": 1}}, "bio", "invalid"),
            ({"nope": 1}, "nope", "unknown_field"),
            ({"a/b~c\0": 1}, "a/b~c\0", "unknown_field"),
            ({"status": "approved"}, "status", "read_only"),
        ],
    )
    def test_names_the_field(self, ada: Client, body: object, field: str, code: str) -> None:
        found = problem(ada.patch(ME, body, "application/json"), 400, "invalid")
        assert [(e["field"], e["code"]) for e in found["errors"]] == [(field, code)]
        assert found["errors"][0]["pointer"] == "#/" + field.replace("~", "~0").replace("/", "~1")
        assert found["errors"][0]["detail"] in found["detail"]

    def test_names_every_field_at_once(self, ada: Client) -> None:
        found = problem(
            ada.patch(ME, {"experience_years": -1, "nope": 1, "bio": "\0"}, "application/json"), 400, "invalid"
        )
        assert {e["field"] for e in found["errors"]} == {"experience_years", "nope", "bio"}

    @pytest.mark.parametrize(
        "body", ["{", "[" * 100_000, '{"bio": NaN}', b"\xff\xfe", '{"bio": Infinity}'], ids=range(5)
    )
    def test_of_malformed_json(self, ada: Client, body: str | bytes) -> None:
        problem(ada.generic("PATCH", ME, body, "application/json"), 400, "parse_error")

    def test_of_what_is_no_object(self, ada: Client) -> None:
        for body in ("[1]", '"text"', "null", "1"):
            problem(ada.generic("PATCH", ME, body, "application/json"), 400, "invalid")

    def test_of_a_lone_surrogate(self, ada: Client) -> None:
        problem(ada.generic("PATCH", ME, '{"bio": "\\ud800"}', "application/json"), 400, "invalid")

    def test_of_a_body_that_is_too_large(self, ada: Client) -> None:
        body = json.dumps({"bio": "x" * configured.DATA_UPLOAD_MAX_MEMORY_SIZE})
        problem(ada.generic("PATCH", ME, body, "application/json"), 413, "too_large")


@pytest.mark.usefixtures("either_debug")
class TestAddressAndForm:
    @pytest.mark.parametrize(
        "path", ["/api/", "/api/v1/", "/api/v1/nothing/", "/api/v1/interventions/abc/", "/api/v2/x"]
    )
    def test_of_an_address_that_leads_nowhere(self, client: Client, path: str) -> None:
        problem(client.get(path), 404, "not_found")

    def test_of_a_method_that_is_not_there(self, ada: Client) -> None:
        answer = ada.put(ME, {}, "application/json")
        problem(answer, 405, "method_not_allowed")
        assert "PATCH" in answer["Allow"]
        problem(ada.options(ME), 405, "method_not_allowed")

    def test_of_a_method_that_is_not_there_where_one_signs_in(self, client: Client) -> None:
        problem(client.generic("TRACE", "/api/v1/auth/session/"), 405, "method_not_allowed")
        problem(client.get("/api/v1/auth/session/"), 405, "method_not_allowed")
        problem(client.delete("/api/v1/auth/session/"), 401, "not_authenticated")

    @pytest.mark.parametrize("asked", ["person=1&person=2", "person=x", "person=", "person=-1", "topics=a&topics=b"])
    def test_of_a_stream_of_what_is_no_filter(self, ada: Client, asked: str) -> None:
        problem(ada.get(f"/api/v1/events/?{asked}"), 400, "invalid")

    def test_of_a_type_that_is_not_read(self, ada: Client) -> None:
        problem(ada.patch(ME, "bio=x", "text/plain"), 415, "unsupported_media_type")
        problem(ada.generic("PATCH", ME, "bio=x", "application/x-www-form-urlencoded"), 415, "unsupported_media_type")

    def test_of_a_type_that_is_not_written(self, ada: Client) -> None:
        problem(ada.get(ME, headers={"Accept": "text/html"}), 406, "not_acceptable")

    @pytest.mark.parametrize("query", ["cursor=zzz", "cursor=cD1hYmM%3D", "cursor=cD0%3D", "state=nope", "target=%00"])
    def test_of_a_query_that_makes_no_sense(self, cast: Cast, client: Client, query: str) -> None:
        client.force_login(cast.vic)
        problem(client.get(f"/api/v1/interventions/?{query}"), 400, "invalid")

    def test_of_a_number_beyond_every_column(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.ada)
        cast.ada.is_superuser = cast.ada.is_staff = True
        cast.ada.save(update_fields=["is_superuser", "is_staff"])
        answer = client.post(
            f"/api/v1/enrollments/{'9' * 30}/decision/", {"decision": "reject"}, "application/json",
            headers={"Idempotency-Key": "k"},
        )  # fmt: skip
        problem(answer, 404, "not_found")


class TestSession:
    def test_of_nobody(self, client: Client, transactional_db: None) -> None:
        problem(client.get(ME), 401, "not_authenticated")

    def test_of_a_session_that_has_ended(self, ada: Client) -> None:
        ada.session.flush()
        found = problem(ada.patch(ME, {"bio": "x"}, "application/json"), 401, "session_expired")
        assert "Sign in again" in found["detail"]

    def test_of_a_write_without_the_csrf_token(self, cast: Cast) -> None:
        client = Client(enforce_csrf_checks=True)
        signed_in = client.post(
            "/api/v1/auth/session/", {"email": "ADA.quist@example.org ", "password": PASSWORD}, "application/json"
        )
        assert signed_in.status_code == 200
        for method, path in (
            ("PATCH", ME),
            ("POST", ME + "sync/"),
            ("DELETE", ME + "avatar/"),
            ("DELETE", "/api/v1/auth/session/"),
        ):
            problem(client.generic(method, path, "", "application/json"), 403, "csrf_failed")
            problem(
                client.generic(method, path, "", "application/json", headers={"X-CSRFToken": "x" * 32}),
                403,
                "csrf_failed",
            )
        headers = {"X-CSRFToken": signed_in.json()["csrf_token"]}
        assert client.patch(ME, {"bio": "y"}, "application/json", headers=headers).status_code == 200
        assert client.delete("/api/v1/auth/session/", headers=headers).status_code == 204
        assert client.get(ME).status_code == 401

    @pytest.mark.parametrize("given", [{"password": "wrong"}, {"email": "nobody@example.org"}])
    def test_of_wrong_credentials_says_the_same_whoever_is_meant(
        self, cast: Cast, client: Client, given: dict[str, str]
    ) -> None:
        body = {"email": cast.ada.email, "password": PASSWORD} | given
        answer = client.post("/api/v1/auth/session/", body, "application/json")
        problem(answer, 401, "invalid_credentials")
        assert "sessionid" not in answer.cookies


def raised(error: Exception, sqlstate: str | None = None) -> Exception:
    if sqlstate:
        error.__cause__ = psycopg.errors.lookup(sqlstate)("secret value")
    return error


@pytest.mark.usefixtures("either_debug")
class TestFailures:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (OperationalError("secret value"), 503, "unavailable"),
            (raised(OperationalError("secret value"), "55P03"), 503, "unavailable"),
            (raised(OperationalError("secret value"), "57P01"), 503, "unavailable"),
            (raised(OperationalError("secret value"), "40P01"), 503, "unavailable"),
            (raised(OperationalError("secret value"), "53300"), 503, "unavailable"),
            (raised(IntegrityError("secret value"), "23514"), 409, "conflict"),
            (raised(DataError("secret value"), "22001"), 400, "invalid"),
            (raised(ProgrammingError("secret value"), "42703"), 500, "internal"),
            (DatabaseError("secret value"), 500, "internal"),
            (RuntimeError("secret value"), 500, "internal"),
            (RecursionError("secret value"), 500, "internal"),
            (SuspiciousOperation("secret value"), 400, "bad_request"),
            (RequestDataTooBig("secret value"), 413, "too_large"),
            (ModelRefusal("It cannot be."), 400, "invalid"),
        ],
        ids=repr,
    )
    def test_tell_nothing_of_how_it_broke(self, ada: Client, error: Exception, status: int, code: str) -> None:
        with mock.patch("therapists.operations.edit_profile", side_effect=error):
            answer = ada.patch(ME, {"bio": "x"}, "application/json")
        problem(answer, status, code)
        assert ("Retry-After" in answer) is (status == 503)

    def test_of_the_primary_write_leave_nothing_half_done(self, ada: Client, cast: Cast) -> None:
        with fakes.refusing("therapist_enrollments", "bio <> 'secret value'"):
            answer = ada.patch(ME, {"full_name": "Other", "bio": "secret value"}, "application/json")
        problem(answer, 409, "conflict")
        cast.ada.refresh_from_db()
        assert cast.ada.full_name == "Ada Quist"
        assert Enrollment.objects.get(user=cast.ada).bio == "Twelve years with couples."

    def test_of_a_primary_row_that_somebody_holds_end_in_time(self, ada: Client, cast: Cast) -> None:
        with fakes.locked_row("therapist_enrollments", cast.ada.pk):
            assert (
                fakes.milliseconds(lambda: problem(ada.patch(ME, {"bio": "x"}, "application/json"), 503, "unavailable"))
                < 4_000
            )


@pytest.mark.usefixtures("either_debug")
@pytest.mark.parametrize(
    "failure", [DisallowedHost("secret value"), RuntimeError("secret value"), BadRequest("secret value")]
)
def test_a_failure_in_a_middleware_is_a_problem_too(settings: Any, client: Client, failure: Exception) -> None:
    settings.MIDDLEWARE = [
        "interventions.middleware.RequestId",
        "interventions.api.outside.ProblemsOnly",
        *settings.MIDDLEWARE[1:],
    ]
    client.raise_request_exception = False
    with mock.patch("django.contrib.sessions.middleware.SessionMiddleware.process_request", side_effect=failure):
        answer = client.get(ME)
        status = 500 if isinstance(failure, RuntimeError) else 400
        problem(
            answer, status, "internal_server_error" if status == 500 and configured.DEBUG else answer.json()["code"]
        )
        assert client.get("/admin/").headers["Content-Type"].startswith("text/html")


def test_a_failure_outside_of_any_view_is_a_problem_too(rf: RequestFactory) -> None:
    refused = SuspiciousOperation("secret value")
    for answer in (outside.server_error(rf.get(ME)), outside.bad_request(rf.get(ME), refused)):
        assert answer["Content-Type"] == "application/problem+json"
        assert json.loads(answer.content)["code"] in {"internal", "bad_request"}
        assert b"secret value" not in answer.content
    assert outside.server_error(rf.get("/admin/"))["Content-Type"].startswith("text/html")
