"""The API against what nobody thought of: schemathesis asks every operation, everybody in turn, with every check it has."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.servers.basehttp import WSGIRequestHandler

from tests.authorization import WHO
from tests.contract.test_api_permissions import caller
from tests.factories import Cast
from tests.fuzzing import Callers, Found, documents, fuzzed
from therapists.models import User

SLICE = 20
# `make fuzz`: so many for each role, and all phases.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
PHASES = os.environ.get("FUZZ_PHASES", "examples coverage fuzzing stateful").split()


@pytest.fixture
def people(cast: Cast, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, User | None]:
    # It sends headers and body apart: without this each answer waits 40 ms for an acknowledgement.
    monkeypatch.setattr(WSGIRequestHandler, "disable_nagle_algorithm", True)
    settings.MEDIA_ROOT, settings.API_CALLS_PER_MINUTE = tmp_path, 0
    logging.getLogger("django").setLevel(logging.ERROR)
    return {who: caller(who, cast) for who in WHO}


def expect_no_fault(found: Found) -> None:
    print(found)
    assert not found.faults, "\n\n".join(": ".join(key) + "\n" + told for key, told in sorted(found.faults.items()))
    served = sum(isinstance(one, dict) for entry in documents()["paths"].values() for one in entry.values())
    assert len(found.operations) == served


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(EXAMPLES > 0, reason="the long run holds it")
def test_answers_as_documented_whatever_it_is_asked(live_server: Any, cast: Cast, people: dict[str, Any]) -> None:
    callers = Callers(cast, list(people.values()))
    expect_no_fault(fuzzed(live_server.url, callers, examples=SLICE, phases=["fuzzing"], seed=1))


@pytest.mark.skipif(EXAMPLES == 0, reason="`make fuzz` does it")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("who", WHO)
def test_answers_each_role_as_documented(live_server: Any, cast: Cast, people: dict[str, Any], who: str) -> None:
    expect_no_fault(fuzzed(live_server.url, Callers(cast, [people[who]]), examples=EXAMPLES, phases=PHASES, seed=1))
