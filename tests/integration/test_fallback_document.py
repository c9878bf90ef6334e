"""Every example of the founding document on fallback mechanisms, in the form that it has here, over real sockets."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from interventions.models import Intervention
from sync import carrying, errands, failing, kept
from sync.errands import Kind, Pointless, Priority, Wish
from sync.fallback import Context, Outcome, SecondBests, ServiceFailed, Which, execute_service, run, user_message
from sync.integrations import assistant, sms
from sync.integrations.base import CallFailed
from sync.kept import Question
from sync.models import Errand
from sync.strict import NotDegradable, SecondBest, allow
from tests import fakes
from tests.stand_ins.control import Control, started
from therapists import bookings

pytestmark = pytest.mark.django_db(transaction=True)
POST = "write a post"
ALL = (SecondBest.CACHED, SecondBest.QUEUED, SecondBest.DEFAULT, SecondBest.SKIPPED)
WEEK = dt.timedelta(days=7)


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[tuple[Control, Control]]:
    with started("assistant", "sms") as (model, provider):
        yield model, provider


@pytest.fixture
def model(stand_ins: tuple[Control, Control], settings: Any) -> Control:
    settings.SYNC_PRIVATE_ADDRESSES, settings.ASSISTANT_URL = True, stand_ins[0].address
    stand_ins[0].forget()
    return stand_ins[0]


@pytest.fixture
def provider(stand_ins: tuple[Control, Control], settings: Any) -> Control:
    settings.SYNC_PRIVATE_ADDRESSES, settings.SMS_URL = True, stand_ins[1].address
    stand_ins[1].forget()
    return stand_ins[1]


@pytest.fixture(autouse=True)
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no declaration of a test behind."""
    monkeypatch.setattr(kept, "_kinds", dict(kept._kinds))
    monkeypatch.setattr(errands, "_kinds", dict(errands._kinds))
    for name in (POST, "publish", "analytics", "risky"):
        allow(name, *ALL)
    errands.declare(Kind("analytics", service="sms", carry=lambda errand: tell(errand.key)))


def tell(key: str) -> None:
    sms.send(to="+442079460000", text="changed", key=key)


def write(prompt: str, person_id: int | None = 1) -> str:
    return execute_service(
        lambda: assistant.complete(task="Write.", text=prompt), Context(POST, assistant.SERVICE, person_id)
    )


def posts() -> kept.Kind:
    return kept.declare(kept.Kind(POST, lifetime=WEEK))


DOWN = {"do": "status", "status": 503}


def test_example_1_an_assistant_with_kept_answers(model: Control) -> None:
    def generate(prompt: str, person_id: int) -> Outcome[str]:
        cached = Question(posts(), person_id, {"prompt": prompt}, model="small")
        given = SecondBests(cached=cached, default=lambda: "Please try again.")
        return run(lambda: write(prompt, person_id), name=POST, second_bests=given)

    fresh = generate("a garden", 1)
    assert (fresh.which, fresh.value, fresh.success) == (Which.FRESH, "A suggestion about: a garden", True)
    model.follow(DOWN)
    again = generate("a garden", 1)
    assert (again.which, again.value, again.success, again.code) == (Which.CACHED, fresh.value, False, "503")
    assert again.age_seconds is not None
    assert again.age_seconds >= 0
    # The same words of somebody else are another question, and so are other words.
    others = [generate("a garden", 2), generate("a house", 1)]
    assert [(one.which, one.value) for one in others] == [(Which.DEFAULT, "Please try again.")] * 2
    assert kept.statistics()[-1]["size"] == 1, "a default is no answer, and is not kept"


def test_example_2_an_integration_that_may_be_left_out(provider: Control) -> None:
    def post(person_id: int) -> Outcome[None]:
        act = Context("publish", sms.SERVICE, person_id)
        return run(
            lambda: execute_service(lambda: tell("post"), act), name="publish", second_bests=SecondBests(may_skip=True)
        )

    provider.follow(DOWN)
    assert [post(person).which for person in (1, 2, 3)] == [Which.SKIPPED] * 3
    called = len(provider.received)
    provider.follow()
    left_out = post(4)
    # Skipped is no success, and says so; the service, which works again, was not even called.
    assert (left_out.which, left_out.success, left_out.code) == (Which.SKIPPED, False, "resting")
    assert left_out.warnings == (user_message(left_out),)
    assert len(provider.received) == called == 3


def test_example_3_a_queue_for_later(provider: Control) -> None:
    def analyse(content: int) -> Outcome[None]:
        key = f"analytics:{content}"
        wish = Wish("analytics", key=key, payload={"content": content}, person_id=1, priority=Priority.LOW)
        act = Context("analytics", sms.SERVICE, 1)
        return run(
            lambda: execute_service(lambda: tell(key), act), name="analytics", second_bests=SecondBests(queued=wish)
        )

    # The service takes it, and its answer is lost: what is queued has the same key, and so one effect.
    provider.follow({"do": "lost", "times": 1})
    outcome = analyse(7)
    assert (outcome.which, outcome.success) == (Which.QUEUED, False)
    assert Errand.objects.get().pk == outcome.errand_id
    assert carrying.carry_all() == {"done": 1}
    assert [(effect["key"], json.loads(effect["body"])["text"]) for effect in provider.effects] == [
        ("analytics:7", "changed")
    ]
    assert carrying.carry_all() == {}
    # An unknown type is never completed: it is put before people.
    Errand.objects.update(state="waiting", finished_at=None, next_attempt_at=timezone.now(), kind="nobody's")
    assert carrying.carry_all() == {"refused": 1}
    assert Errand.objects.get().code == carrying.UNKNOWN
    assert Intervention.objects.get().operation == "errand nobody's"


def test_what_was_refused_is_not_queued(provider: Control) -> None:
    provider.follow({"do": "status", "status": 422})
    wish = Wish("analytics", key="analytics:8", person_id=1)
    act = Context("analytics", sms.SERVICE, 1)
    outcome = run(
        lambda: execute_service(lambda: tell("analytics:8"), act),
        name="analytics",
        second_bests=SecondBests(queued=wish),
    )
    assert (outcome.which, outcome.code) == (Which.FAILED, "422")
    assert not Errand.objects.exists()


def test_example_4_content_for_several_channels(model: Control, provider: Control) -> None:
    errands.declare(Kind("channel", service="sms", carry=lambda errand: tell(errand.key)))

    def publish(channel: str, *, may_wait: bool) -> Outcome[None]:
        wish = Wish("channel", key=f"channel:{channel}", person_id=1) if may_wait else None
        act = Context("publish", channel, 1)
        return run(
            lambda: execute_service(lambda: tell(channel), act), name="publish",
            second_bests=SecondBests(queued=wish, may_skip=True),
        )  # fmt: skip

    content = run(lambda: write("news"), name=POST, second_bests=SecondBests(default=lambda: "nothing"))
    assert content.success, "only what is fresh is passed on"
    provider.follow(DOWN | {"when": "bad"})
    results = [publish("good", may_wait=True), publish("bad", may_wait=True), publish("bad-too", may_wait=False)]
    counts = {which: sum(result.which is which for result in results) for which in Which}
    assert (counts[Which.FRESH], counts[Which.QUEUED], counts[Which.SKIPPED]) == (1, 1, 1)
    assert sum(result.success for result in results) == 1, "what is queued is not published yet"


def test_example_5_the_kept_answers_by_hand() -> None:
    kind, now = posts(), timezone.now()
    question = Question(kind, 1, {"prompt": "real estate"}, model="small")
    assert kept.put(question, {"title": "Guide"}, at=now)
    found = kept.find(question, at=now)
    assert found is not None
    assert (found.value, found.made_at) == ({"title": "Guide"}, now)
    assert kept.find(question, at=now + WEEK) is None, "after its lifetime it is shown to nobody"
    assert kept.find(Question(kind, 1, {"prompt": "real estate"}, model="large"), at=now) is None
    (line,) = (line for line in kept.statistics() if line["kind"] == POST)
    assert (line["size"], line["oldest"], line["lifetime_seconds"]) == (1, now, WEEK.total_seconds())
    assert (kept.delete(question), kept.delete(question)) == (True, False)
    kept.put(question, "x", at=now)
    kept.put(Question(kind, 2, {"prompt": "real estate"}), "y", at=now)
    assert (kept.clear(person_id=2), kept.clear(), kept.clear()) == (1, 1, 0)


def test_example_6_the_queue_by_hand(provider: Control) -> None:
    now = timezone.now()
    for number, person in enumerate((1, 1, 2)):
        errands.queue(Wish("analytics", key=f"k{number}", person_id=person), at=now)
    (line,) = (line for line in errands.statistics() if line["kind"] == "analytics")
    assert (line["waiting"], line["refused"], line["oldest"]) == (3, 0, now)
    assert errands.among(state="waiting").count() == 3
    assert errands.among(person_id=1).count() == 2
    assert errands.clear_finished() == 0, "what waits is not cleared"
    assert carrying.carry_all() == {"done": 3}
    assert errands.clear_finished() == 3


def test_example_7_failures_are_counted_and_forgotten() -> None:
    now = timezone.now()
    for person in (1, 2, 3):
        assert not failing.rests("channel", person_id=9, at=now)
        failing.note_failure("channel", person_id=person, code="503", at=now)
    assert failing.rests("channel", person_id=9, at=now)
    (line,) = failing.statistics(at=now)
    assert (line["service"], line["failures"], line["last_failure"], line["rests_for"]) == (
        "channel",
        3,
        now,
        "everybody",
    )
    assert not failing.rests("channel", person_id=9, at=now + failing.WINDOW), "five minutes later it is called again"
    assert failing.clear_failures("channel") == 3
    assert not failing.rests("channel", person_id=9, at=now)


def test_example_8_sentences_for_people_say_what_is_so() -> None:
    assert user_message(Outcome(Which.CACHED, "x", age_seconds=7_300)) == (
        "The service does not answer right now. This is what it gave 2 hours ago."
    )
    assert {user_message(Outcome(which)) for which in Which}.isdisjoint({""})
    assert len({user_message(Outcome(which)) for which in Which}) == len(Which)
    assert "follows" in user_message(Outcome(Which.QUEUED))


def test_the_last_example_both_frameworks_together(provider: Control) -> None:
    """The call is inside, so that each try is counted once; what was to be retried three times waits in the queue."""

    def robust(person_id: int) -> Outcome[None]:
        wish = Wish("analytics", key=f"risky:{person_id}", person_id=person_id)
        act = Context("risky", sms.SERVICE, person_id)
        cached = Question(posts(), person_id, {"prompt": "key"}, model="model")
        return run(
            lambda: execute_service(lambda: tell(f"risky:{person_id}"), act), name="risky",
            second_bests=SecondBests(cached=cached, queued=wish),
        )  # fmt: skip

    provider.follow(DOWN | {"times": 1})
    assert [robust(1).which, robust(2).which] == [Which.QUEUED, Which.FRESH]
    assert len(provider.received) == 2, "one try each"
    (line,) = failing.statistics(at=timezone.now())
    assert {word: told["number"] for word, told in line["calls"].items()} == {"answered": 1, "transient": 1}
    assert all(told["mean_milliseconds"] == told["milliseconds"] for told in line["calls"].values())
    for took in (10, 25):
        failing.count("provider of measures", "answered", milliseconds=took, at=timezone.now())
    measured = next(one for one in failing.statistics(at=timezone.now()) if one["service"] == "provider of measures")
    assert measured["calls"]["answered"] == {"number": 2, "milliseconds": 35, "mean_milliseconds": 18}


def test_p6_nothing_stands_in_that_was_not_declared() -> None:
    with pytest.raises(NotDegradable, match="Nobody declared"):
        run(lambda: 1, name="never heard of", second_bests=SecondBests(may_skip=True))
    with pytest.raises(NotDegradable, match="Nothing is named"):
        run(lambda: 1, name=POST, second_bests=SecondBests())
    exact = bookings.BOOKING.exact(lambda: 1)
    with pytest.raises(NotDegradable, match="is strict"):
        run(exact, name=POST, second_bests=SecondBests(default=lambda: 2))


def test_no_service_is_called_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a transaction"):
        execute_service(lambda: 1, Context("x", "y"))


def test_failures_are_told_by_class_and_status_never_by_words() -> None:
    def code(error: Exception) -> tuple[str, str]:
        def fail() -> None:
            raise error

        with pytest.raises(ServiceFailed) as caught:
            execute_service(fail, Context("x", "words"), is_awaited=False)
        return caught.value.code, str(caught.value.failure)

    assert code(CallFailed("503")) == ("503", "transient")
    assert code(CallFailed("503", retry_after=7)) == ("503", "throttled")
    assert code(CallFailed("422")) == ("422", "refused")
    assert code(TimeoutError("fine")) == ("KW021", "transient")
    assert code(ConnectionResetError()) == ("KW022", "transient")
    assert code(ValueError("timeout, please retry: 503")) == ("ValueError", "unknown")
    with pytest.raises(Pointless):
        execute_service(lambda: (_ for _ in ()).throw(Pointless()), Context("x", "words"), is_awaited=False)
    assert fakes.sql("SELECT count(*) FROM sync_service_failure WHERE code = '422'") == [(0,)]
