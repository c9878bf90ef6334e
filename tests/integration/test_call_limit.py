"""P10: one caller's calls are bounded, and a Redis that is away or frozen holds nobody up."""

import socket
import time
from typing import Any

import pytest
from django.test import Client

from interventions.api import limits
from tests.factories import Cast

ME, SESSION = "/api/v1/therapists/me/", "/api/v1/auth/session/"


@pytest.fixture(autouse=True)
def _within_one_minute(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.API_CALLS_PER_MINUTE = 3
    moment = time.time() // limits.WINDOW * limits.WINDOW + 18
    monkeypatch.setattr("time.time", lambda: moment)


def statuses(client: Client, times: int = 5) -> list[int]:
    return [client.get(ME).status_code for _ in range(times)]


def signed_in(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_p10_whoever_calls_too_often_waits_and_nobody_else_does(cast: Cast) -> None:
    ada = signed_in(cast.ada)
    assert statuses(ada) == [200, 200, 200, 429, 429]
    answer = ada.get(ME)
    assert (answer["Content-Type"], answer.json()["code"]) == ("application/problem+json", "throttled")
    assert answer["Retry-After"] == "42"
    assert statuses(signed_in(cast.ben)) == [200, 200, 200, 429, 429]
    # Another session is no other caller.
    assert statuses(signed_in(cast.ada), 1) == [429]


def test_p10_without_a_name_an_ip_address_counts(cast: Cast) -> None:
    here, there = Client(REMOTE_ADDR="192.0.2.17"), Client(REMOTE_ADDR="192.0.2.18")
    body = {"email": cast.ada.email, "password": "x"}
    assert [here.post(SESSION, body, "application/json").status_code for _ in range(4)] == [401] * 3 + [429]
    assert there.post(SESSION, body, "application/json").status_code == 401


def test_p3_a_redis_that_is_away_lets_everybody_through(cast: Cast, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert statuses(signed_in(cast.ada)) == [200] * 5


def test_p3_a_frozen_redis_costs_one_call_in_a_while_less_than_50_ms(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        # It takes connections and never says a word.
        slowest = []
        for _ in range(5):
            counter = limits.Counter(f"redis://127.0.0.1:{frozen.getsockname()[1]}/0")
            began = time.perf_counter()
            assert counter.count("x") is None
            first = time.perf_counter()
            assert [counter.count("x") for _ in range(100)] == [None] * 100
            slowest.append((first - began, time.perf_counter() - first))
        # The best of five: what the machine does beside this is not what is measured.
        assert min(first for first, _ in slowest) <= 0.05
        assert min(rest for _, rest in slowest) <= 0.01
