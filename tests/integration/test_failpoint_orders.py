"""FAILPOINTS_FILE: what may stand in it, how often it is obeyed, and that nothing happens unless it is allowed."""

import json
import logging
import multiprocessing
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from interventions import failpoints
from interventions.failpoints import FailpointReached, reach
from interventions.points import POINTS
from tests import fakes

POINT, OTHER = "sync.after_commit", "sync.after_fan_out"


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Path]:
    """The file of a process in which failpoints are on."""
    file = tmp_path / "failpoints.json"
    failpoints.allow(file)
    yield file
    failpoints.allow(None)


def is_raised(point: str = POINT, *people: int) -> bool:
    try:
        reach(point, people)
    except FailpointReached:
        return True
    return False


def raised_in_child(orders: Path, tries: int, answers: "multiprocessing.Queue[int]") -> None:
    failpoints.allow(orders)
    answers.put(sum(is_raised() for _ in range(tries)))


def test_nothing_happens_unless_it_is_allowed(orders: Path) -> None:
    orders.write_text(json.dumps({POINT: "raise"}))
    failpoints.allow(None)
    assert not is_raised()


def test_nothing_happens_without_a_file_or_an_order(orders: Path) -> None:
    assert not is_raised()
    orders.write_text(json.dumps({OTHER: "raise"}))
    assert not is_raised()


def test_the_file_is_read_again_while_running(orders: Path) -> None:
    orders.write_text(json.dumps({POINT: "raise"}))
    assert is_raised()
    orders.write_text("{}")
    assert not is_raised()
    orders.write_text(json.dumps({POINT: {"action": "raise"}}))
    assert is_raised()
    orders.unlink()
    assert not is_raised()


@pytest.mark.parametrize("words", [{POINT: {"action": "raise", "id": 7}}, {POINT: "raise", "id": 7}])
def test_an_order_for_one_person_leaves_the_others_alone(orders: Path, words: dict[str, Any]) -> None:
    orders.write_text(json.dumps(words))
    assert not is_raised(POINT, 8)
    assert not is_raised(POINT)
    assert is_raised(POINT, 8, 7)


def test_a_hang_takes_its_time(orders: Path) -> None:
    orders.write_text(json.dumps({POINT: "hang:0.05"}))
    assert fakes.milliseconds(lambda: reach(POINT)) >= 50


@pytest.mark.parametrize(
    "garbage",
    ["", "{", "[]", "7", "\x00", json.dumps({POINT: "explode"}), json.dumps({POINT: "hang:soon"}),
     json.dumps({POINT: {"action": "raise", "id": "7"}}), json.dumps({POINT: {"action": "raise", "how": "often"}}),
     json.dumps({POINT: "hang"}), json.dumps({POINT: None}), json.dumps({"sync.nowhere": "kill"})],
)  # fmt: skip
def test_garbage_is_logged_and_ignored(orders: Path, garbage: str, caplog: pytest.LogCaptureFixture) -> None:
    orders.write_text(garbage)
    with caplog.at_level(logging.WARNING, "interventions.failpoints"):
        assert not is_raised()
        assert not is_raised()
    assert len(caplog.records) == 1


def test_garbage_beside_an_order_leaves_the_order(orders: Path) -> None:
    orders.write_text(json.dumps({OTHER: "explode", POINT: "raise"}))
    assert is_raised()


def test_times_are_counted_and_a_new_file_counts_anew(orders: Path) -> None:
    orders.write_text(json.dumps({POINT: {"action": "raise", "times": 2}}))
    assert [is_raised() for _ in range(4)] == [True, True, False, False]
    assert failpoints.fired(orders) == {POINT: 2}
    orders.write_text(json.dumps({POINT: {"action": "raise", "times": 1}}) + "\n")
    assert failpoints.fired(orders) == {}
    assert [is_raised() for _ in range(2)] == [True, False]


def test_times_are_counted_across_processes(orders: Path) -> None:
    orders.write_text(json.dumps({POINT: {"action": "raise", "times": 5}}))
    spawn = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[int] = spawn.Queue()
    children = [spawn.Process(target=raised_in_child, args=(orders, 50, answers)) for _ in range(4)]
    for child in children:
        child.start()
    assert sum(answers.get(timeout=20) for _ in children) == 5
    for child in children:
        child.join()


def test_a_deployment_refuses_them(settings: Any) -> None:
    def found() -> list[str | None]:
        return [message.id for message in run_checks(tags=["interventions"], include_deployment_checks=True)]

    assert "interventions.E001" not in found()
    settings.ALLOW_FAILPOINTS = True
    assert "interventions.E001" in found()


def test_the_command_names_each_with_its_place_and_meaning(settings: Any) -> None:
    said = StringIO()
    call_command("failpoints", "--list", stdout=said, stderr=StringIO())
    lines = said.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == sorted(POINTS)
    for point, line in zip(sorted(POINTS), lines, strict=True):
        assert line.endswith(POINTS[point].meaning)
        assert POINTS[point].place in line
