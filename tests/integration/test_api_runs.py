"""Causes and bulk retries over HTTP: accepted, followed, steered, and told when there is nothing to do."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from interventions import retry_runs
from interventions.models import Intervention, RetryRun
from tests import fakes
from tests.factories import Cast, trouble

CAUSES, RUNS = "/api/v1/causes/", "/api/v1/runs/"


@pytest.fixture
def sam(cast: Cast, client: Client) -> Client:
    client.force_login(cast.sam)
    return client


@pytest.fixture
def items(cast: Cast) -> Iterator[list[Intervention]]:
    """Seven items of one cause; what was in the way is gone, and nobody has tried again."""
    with trouble(7) as made:
        made.lift()
        yield list(Intervention.objects.order_by("timestamp", "pk"))


def post(client: Client, address: str, **body: Any) -> Any:
    return client.post(address, body, "application/json")


def followed(client: Client, address: str) -> Any:
    for _ in range(5):
        retry_runs.advance_all(at=timezone.now())
        fakes.settled()
    return client.get(address).json()


class TestACause:
    def test_is_listed_with_its_number_and_retried_whole(self, sam: Client, items: list[Intervention]) -> None:
        (cause,) = sam.get(CAUSES).json()
        assert (cause["items"], cause["code"], cause["target"]) == (7, "23514", "therapist_profiles")
        answer = post(sam, f"{CAUSES}{cause['id']}/retry/")
        assert answer.status_code == 202
        assert answer.json()["state"] == "canary"
        run = followed(sam, answer.headers["Location"])
        assert (run["state"], run["total"], run["counts"]) == ("done", 7, {"fixed": 7})
        assert sam.get(CAUSES).json() == []

    def test_that_is_not_open_is_not_there(self, sam: Client, items: list[Intervention]) -> None:
        assert post(sam, f"{CAUSES}{uuid.UUID(int=7)}/retry/").status_code == 404


class TestARun:
    def test_of_a_selection_tries_those_alone(self, sam: Client, items: list[Intervention]) -> None:
        answer = post(sam, RUNS, ids=[str(item.pk) for item in items[:2]])
        assert answer.status_code == 202
        assert followed(sam, answer.headers["Location"])["counts"] == {"fixed": 2}
        assert Intervention.objects.filter(resolved=False).count() == 5

    def test_of_a_filter_is_accepted(self, sam: Client, items: list[Intervention]) -> None:
        assert post(sam, RUNS, target="therapist_profiles", code="23514").json()["total"] == 7

    def test_of_everything_by_leaving_it_out_is_refused(self, sam: Client, items: list[Intervention]) -> None:
        answer = post(sam, RUNS)
        assert answer.status_code == 400
        assert "Name ids, a cause, a target or a code." in answer.content.decode()
        assert not RetryRun.objects.exists()

    def test_of_nothing_says_so(self, sam: Client, items: list[Intervention]) -> None:
        answer = post(sam, RUNS, target="users")
        assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_retry")

    def test_is_paused_resumed_and_cancelled(self, sam: Client, items: list[Intervention]) -> None:
        address = post(sam, RUNS, target="therapist_profiles").headers["Location"]
        states = [post(sam, f"{address}{action}/").json()["state"] for action in ("pause", "resume", "cancel")]
        assert states == ["paused", "canary", "cancelled"]
        refused = post(sam, f"{address}resume/")
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
        assert sam.get(address).json()["counts"] == {"left": 7}

    @pytest.mark.parametrize("action", ["", "pause/", "resume/", "cancel/"])
    def test_that_is_not_there(self, sam: Client, action: str) -> None:
        address = f"{RUNS}{uuid.UUID(int=1)}/{action}"
        assert (post(sam, address) if action else sam.get(address)).status_code == 404
