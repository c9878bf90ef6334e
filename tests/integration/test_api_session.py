"""Signing in, and what stands around the API."""

from unittest import mock

from django.db import OperationalError
from django.test import Client

from tests.factories import PASSWORD, Cast
from therapists.models import User

SESSION = "/api/v1/auth/session/"


def test_sign_in_sets_the_session_and_says_who(cast: Cast, client: Client) -> None:
    answer = client.post(SESSION, {"email": " Ada.Quist@EXAMPLE.org", "password": PASSWORD}, "application/json")
    body = answer.json()
    assert answer.status_code == 200
    assert body["person"] == {
        "id": cast.ada.pk, "full_name": "Ada Quist", "email": "ada.quist@example.org", "user_type": "therapist",
        "is_staff": False,
    }  # fmt: skip
    assert body["csrf_token"]
    assert answer.cookies["sessionid"]["httponly"]
    assert client.get("/api/v1/therapists/me/").status_code == 200
    assert client.delete(SESSION).status_code == 204
    assert client.get("/api/v1/therapists/me/").status_code == 401


def test_a_form_of_another_page_cannot_sign_anybody_in(cast: Cast, client: Client) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        answer = client.generic("POST", SESSION, f'{{"email": "{cast.ada.email}", "password": "{PASSWORD}"}}', kind)
        assert (answer.status_code, "sessionid" in answer.cookies) == (415, False)


def test_whoever_may_not_come_in_is_told_nothing_more(cast: Cast, client: Client) -> None:
    User.objects.filter(pk=cast.ada.pk).update(is_active=False)
    answer = client.post(SESSION, {"email": cast.ada.email, "password": PASSWORD}, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")
    assert client.post(SESSION, {"email": "x"}, "application/json").status_code == 400


def test_a_database_that_is_away_is_a_503(cast: Cast, client: Client) -> None:
    with mock.patch("django.contrib.sessions.backends.db.SessionStore.save", side_effect=OperationalError("x")):
        answer = client.post(SESSION, {"email": cast.ada.email, "password": PASSWORD}, "application/json")
    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
    client.force_login(cast.ada)
    with mock.patch("django.contrib.sessions.backends.db.SessionStore.load", side_effect=OperationalError("x")):
        answer = client.get("/api/v1/therapists/me/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
