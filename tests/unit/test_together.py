"""P5: duplicates that come together share one look, and nobody gets an answer that was looked for before they came."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from interventions.api import together
from interventions.api.keys import REPLAYED
from interventions.api.together import Together
from tests import fakes

Said = tuple[int, dict[str, str]]
FIRST, REPLAY, REFUSAL = (202, {"Location": "/1/"}), (202, {"Location": "/1/", REPLAYED: "true"}), (403, {"Vary": "*"})


def duplicate(path: str = "/api/v1/runs/", body: str = '{"a": 1}', **headers: str) -> HttpRequest:
    given = {"Cookie": "sessionid=ada", "Idempotency-Key": "k"} | headers
    return RequestFactory().post(path, body, "application/json", headers=given)


class Stack:
    """Whatever is behind the middleware: it answers each look when it is told what."""

    def __init__(self) -> None:
        self.looks: list[Future[Said]] = []
        self.door = Together(self)
        self.threads = ThreadPoolExecutor(8)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        look: Future[Said] = Future()
        self.looks.append(look)
        number = len(self.looks)
        status, headers = look.result(30)
        return HttpResponse(f"answer {number}", status=status, headers=headers)

    def sent(self, *requests: HttpRequest) -> list[Future[HttpResponse]]:
        """Send these, each from a thread; all of them are inside when this returns."""
        before = self.people
        found = [self.threads.submit(self.door, request) for request in requests]
        fakes.wait_until(lambda: self.people == before + len(requests), what="all have come")
        return found

    @property
    def people(self) -> int:
        return sum(crowd.people for crowd in list(self.door._crowds.values()))

    def answer(self, number: int, said: Said) -> None:
        """Answer this look, once it has begun."""
        fakes.wait_until(lambda: len(self.looks) >= number, what=f"look {number} begins")
        self.looks[number - 1].set_result(said)


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack()
    yield made
    for look in made.looks:
        look.cancel()
    made.threads.shutdown()
    assert not made.door._crowds, "nothing of those who were answered is kept"


def told(sent: Future[HttpResponse]) -> tuple[int, bytes, bool]:
    answer = sent.result(30)
    assert REPLAYED not in answer or answer["Location"] == "/1/"
    return answer.status_code, answer.content, REPLAYED in answer


def test_p5_duplicates_that_come_together_share_one_look(stack: Stack) -> None:
    (first,) = stack.sent(duplicate())
    others = stack.sent(*[duplicate(**{"X-Request-ID": str(number)}) for number in range(5)])
    stack.answer(1, FIRST)
    assert told(first) == (202, b"answer 1", False)
    stack.answer(2, REPLAY)
    assert {told(other) for other in others} == {(202, b"answer 2", True)}
    assert len(stack.looks) == 2
    assert len({id(other.result()) for other in others}) == 5, "each gets headers of their own"


def test_p10_nobody_gets_an_answer_whose_look_began_before_they_came(stack: Stack) -> None:
    (allowed,) = stack.sent(duplicate())
    fakes.wait_until(lambda: stack.looks, what="somebody looks who may")
    (late,) = stack.sent(duplicate())
    stack.answer(1, REPLAY)
    stack.answer(2, REFUSAL)
    assert (told(allowed)[0], told(late)[0]) == (202, 403)


def test_p5_a_refusal_is_nobody_elses(stack: Stack) -> None:
    sent = stack.sent(duplicate())
    sent += stack.sent(duplicate(), duplicate())
    for number, said in enumerate((FIRST, REFUSAL, REPLAY), 1):
        stack.answer(number, said)
    assert sorted(told(one)[0] for one in sent) == [202, 202, 403]


def test_p5_whoever_waited_long_enough_goes_on_alone(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = stack.sent(duplicate())
    fakes.wait_until(lambda: stack.looks, what="the first one looks")
    monkeypatch.setattr(together, "WAIT_MS", 20)
    (alone,) = stack.sent(duplicate())
    stack.answer(2, REPLAY)
    assert told(alone) == (202, b"answer 2", True)
    stack.answer(1, FIRST)
    assert told(stuck[0])[0] == 202


@pytest.mark.parametrize(
    "other",
    [
        duplicate("/api/v1/runs/?a=1"), duplicate(body='{"a": 2}'), duplicate(Cookie="sessionid=bob"),
        duplicate(**{"Idempotency-Key": "l"}), duplicate(**{"X-CSRFToken": "wrong"}),
        duplicate(**{"X-Session-Token": "bob"}),
    ],
)  # fmt: skip
def test_p10_whoever_asks_for_something_else_or_is_somebody_else_is_none_of_them(other: HttpRequest) -> None:
    assert None not in (together._mark(duplicate()), together._mark(other))
    assert together._mark(other) != together._mark(duplicate()) == together._mark(duplicate())


@pytest.mark.parametrize(
    "other",
    [
        RequestFactory().post("/api/v1/runs/", "{}", "application/json"),
        RequestFactory().get("/api/v1/runs/", headers={"Idempotency-Key": "k"}), duplicate("/admin/"),
        duplicate(body="x" * (together.LONGEST_BODY + 1)),
    ],
)  # fmt: skip
def test_whoever_has_no_key_or_brings_much_goes_straight_on(other: HttpRequest) -> None:
    assert together._mark(other) is None
