"""Services that are called on demand: suggestions that are second best in plain words, and messages that are sent once."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from interventions.models import History, Intervention
from sync import carrying, errands, failing, kept
from sync.errands import Kind, Priority, Wish
from sync.integrations import assistant
from sync.models import Errand, ErrandState, KeptAnswer, ServiceFailure
from tests import appointments, fakes
from tests.appointments import post, practice, requested, signed
from tests.factories import UserFactory
from tests.stand_ins.assistant import suggestion
from tests.stand_ins.control import Control, started
from therapists import erasure, suggestions
from therapists.models import Enrollment, User, UserType

pytestmark = pytest.mark.django_db(transaction=True)
SUGGEST = "therapists/me/bio-suggestion/"
DOWN = {"do": "status", "status": 503}


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[tuple[Control, Control]]:
    with started("assistant", "sms") as (model, provider):
        yield model, provider


@pytest.fixture
def model(stand_ins: tuple[Control, Control], settings: Any) -> Control:
    settings.SYNC_PRIVATE_ADDRESSES, settings.ASSISTANT_URL = True, stand_ins[0].address
    settings.ASSISTANT_SECONDS = 1
    stand_ins[0].forget()
    return stand_ins[0]


@pytest.fixture
def provider(stand_ins: tuple[Control, Control], settings: Any) -> Control:
    settings.SYNC_PRIVATE_ADDRESSES, settings.SMS_URL = True, stand_ins[1].address
    settings.SYNC_CALL_SECONDS = 1
    stand_ins[1].forget()
    return stand_ins[1]


@pytest.fixture
def ada() -> User:
    return practice(bio="Seven years.", specialization="CBT", experience_years=7)


def suggested(user: User) -> dict[str, Any]:
    answer = post(signed(user), SUGGEST)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


class TestASuggestedBio:
    def test_is_fresh_then_kept_then_a_template_and_never_saved(self, model: Control, ada: User) -> None:
        fresh = suggested(ada)
        sent = json.loads(model.received[0]["body"])["messages"][1]["content"]
        assert json.loads(sent) == {"specialization": "CBT", "experience_years": 7, "bio": "Seven years."}
        assert (fresh["which"], fresh["degraded"], fresh["age_seconds"]) == ("fresh", False, None)
        assert fresh["suggestion"] == suggestion(sent)
        KeptAnswer.objects.update(made_at=Now() - dt.timedelta(hours=2))
        model.follow({"do": "bad_body"})
        again = suggested(ada)
        assert (again["which"], again["degraded"], again["suggestion"]) == ("cached", True, fresh["suggestion"])
        assert (again["age_seconds"] // 3600, "2 hours ago" in again["message"]) == (2, True)
        # Other facts are another question.
        Enrollment.objects.filter(user=ada).update(experience_years=8)
        general = suggested(ada)
        assert (general["which"], general["degraded"]) == ("default", True)
        assert "8 years of experience" in general["suggestion"]
        assert Enrollment.objects.get(user=ada).bio == "Seven years.", "nothing is saved by itself"
        assert KeptAnswer.objects.count() == 1

    def test_does_not_wait_again_and_again_for_who_does_not_answer(self, model: Control, ada: User) -> None:
        model.follow({"do": "reset"})
        others = [practice() for _ in range(2)]
        assert {suggested(user)["which"] for user in (ada, *others)} == {"default"}
        model.follow()
        last = suggested(practice())
        assert (last["which"], len(model.received)) == ("default", 3), "it is left alone, for everybody"
        ServiceFailure.objects.update(at=Now() - failing.WINDOW)
        assert suggested(ada)["which"] == "fresh"
        assert not ServiceFailure.objects.exists(), "an answer forgets the failures"

    def test_of_one_person_takes_the_assistant_from_nobody_else(self, model: Control, ada: User) -> None:
        model.follow({"do": "status", "status": 500, "when": "poison"})
        Enrollment.objects.filter(user=ada).update(bio="poison")
        for _ in range(4):
            assert suggested(ada)["which"] == "default"
        assert len(model.received) == 3
        assert suggested(practice())["which"] == "fresh"

    def test_may_take_longer_than_a_call_that_nobody_waits_for_and_stands_at_an_address_of_either_form(
        self, model: Control, ada: User, settings: Any
    ) -> None:
        settings.SYNC_CALL_SECONDS, settings.ASSISTANT_SECONDS, settings.ASSISTANT_URL = 0.2, 5, f"{model.address}/v1"
        model.follow({"do": "slow", "seconds": 0.5})
        assert suggested(ada)["which"] == "fresh"
        assert [one["path"] for one in model.received] == ["/v1/chat/completions"]

    def test_says_that_no_assistant_is_set_up(self, ada: User) -> None:
        told = suggested(ada)
        assert (told["which"], told["message"]) == ("default", suggestions.UNCONFIGURED)
        assert told["suggestion"].startswith("I am a therapist with 7 years of experience. I work with CBT.")

    def test_of_somebody_who_is_erased_meanwhile_is_not_kept(
        self, model: Control, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        complete = assistant.complete

        def slow(**words: str) -> str:
            said = complete(**words)
            erasure.erase(subject=erasure.find(person_id=ada.pk), by="user:1", at=timezone.now())
            return said

        monkeypatch.setattr(assistant, "complete", slow)
        suggestions.suggest_bio(person_id=ada.pk)
        assert not KeptAnswer.objects.exists()

    def test_is_bounded_in_number_and_size(self, ada: User) -> None:
        kind = kept.Kind("small", lifetime=dt.timedelta(days=1), most=4, most_of_one=2)
        now = timezone.now()
        for number in range(4):
            for person in (1, 2, 3):
                kept.put(kept.Question(kind, person, {"n": number}), "x", at=now + dt.timedelta(seconds=number))
        assert kept.among(kind="small", person_id=3).count() == 2
        assert kept.among(kind="small").count() == 4
        assert not kept.put(kept.Question(kind, 9, {}), "x" * kept.MOST_BYTES, at=now)
        digests = "".join(KeptAnswer.objects.values_list("digest", flat=True))
        assert len(digests) == 4 * 64, "the question is stored as a digest alone"
        kept.prune(at=now)
        assert not KeptAnswer.objects.exists(), "a kind that nobody declares"


class TestAMessage:
    def test_p5_is_sent_once_also_when_its_answer_is_lost(self, provider: Control, ada: User) -> None:
        kim = appointments.clients(1)[0]
        booking = requested(kim, ada)
        path = f"bookings/{booking.pk}/reminder/"
        first, second = post(signed(kim), path), post(signed(ada), path)
        assert (first.status_code, first.json()["data"]["state"]) == (202, "waiting")
        assert first.json()["data"]["id"] == second.json()["data"]["id"], "one a day, whoever asks"
        assert not provider.received, "a worker sends it"
        provider.follow({"do": "lost", "times": 1})
        assert carrying.carry_all(uniform=lambda low, high: 0.0) == {"waiting": 1}
        assert carrying.carry_all() == {"done": 1}
        (effect,) = provider.effects
        message = json.loads(effect["body"])
        assert message["to"] == "+442079460000"
        assert message["text"].startswith("Keepwell: a reminder of your booking on ")
        assert kim.full_name not in message["text"]
        assert post(signed(kim), path).json()["message"] == "Done."
        assert History.objects.filter(action="message_queued", object_id=str(booking.pk)).count() == 1

    def test_is_not_sent_where_there_is_nothing_to_remind_of(self, provider: Control, ada: User) -> None:
        kim, stranger = appointments.clients(2)
        booking = requested(kim, ada)
        path = f"bookings/{booking.pk}/"
        assert post(signed(stranger), path + "reminder/").status_code == 404
        assert post(signed(kim), path + "reminder/").status_code == 202
        assert post(signed(kim), path + "cancel/").status_code == 200
        assert carrying.carry_all() == {"done": 1}
        assert (Errand.objects.get().code, provider.received) == (carrying.POINTLESS, [])
        assert post(signed(kim), path + "reminder/").json()["code"] == "cancelled"
        Enrollment.objects.update(phone=None)
        assert post(signed(kim), f"bookings/{requested(kim, ada, 3).pk}/reminder/").json()["code"] == "no_phone"

    def test_to_an_applicant_is_a_leads_and_what_is_refused_comes_before_staff(self, provider: Control) -> None:
        applicant = Enrollment.objects.create(user=None, email="new@example.org", phone="12345")
        lead = UserFactory.create(user_type=UserType.STAFF, is_staff=True, is_superuser=True)
        answer = post(signed(lead), f"enrollments/{applicant.pk}/message/", about="incomplete")
        assert answer.status_code == 202, answer.content
        # The provider takes no number without a country: asking again would not help.
        assert carrying.carry_all() == {"refused": 1}
        item = Intervention.objects.get()
        assert (item.operation, item.error, item.payload) == (
            "errand applicant message", "refused: 422", {"errand": Errand.objects.get().pk}
        )  # fmt: skip
        assert not ServiceFailure.objects.exists(), "it answered"
        erasure.erase(subject=erasure.find(enrollment_id=applicant.pk), by="user:1", at=timezone.now())
        assert not Errand.objects.exists()


class TestTheDesk:
    def test_shows_what_rests_and_lets_a_lead_have_it_called_again(self, model: Control, ada: User) -> None:
        kind = kept.kinds()[suggestions.NAME]
        kept.put(kept.Question(kind, ada.pk, {}), "x", at=timezone.now())
        for person in (1, 2, 3):
            failing.note_failure("assistant", person_id=person, code="503", at=timezone.now())
        lead = UserFactory.create(user_type=UserType.STAFF, is_staff=True, is_superuser=True)
        desk, path = signed(lead), "/admin/second-bests/"
        assert "not for everybody" in desk.get(path).content.decode()
        desk.post(path, {"action": "call_again", "about": "assistant"})
        assert not ServiceFailure.objects.exists()
        (answers,) = desk.get("/api/v1/second-bests/").json()["answers"]
        assert (answers["kind"], answers["size"]) == (suggestions.NAME, 1)
        assert post(desk, "second-bests/", person_id=ada.pk + 1).json() == {"forgotten": 0}
        assert post(desk, "second-bests/", person_id=ada.pk).json() == {"forgotten": 1}
        assert desk.post(path, {"action": "nonsense"}).status_code == 403
        lines = History.objects.filter(object_type="second best").order_by("id")
        assert [(line.action, line.object_id, line.to_state) for line in lines] == [
            ("service_reset", "assistant", "3"), ("answers_forgotten", "all", "1"),
        ]  # fmt: skip


class TestTheQueue:
    def test_p9_starves_nothing_low_and_waits_for_no_service_that_is_down(
        self, provider: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(errands, "_kinds", dict(errands._kinds))
        carried: list[str] = []
        errands.declare(Kind("good", service="x", carry=lambda errand: carried.append(errand.key), most=4))
        now = timezone.now()
        ages = [("low", Priority.LOW, 31), ("high", Priority.HIGH, 0), ("normal", Priority.NORMAL, 1)]
        for key, priority, minutes in ages:
            errands.queue(Wish("good", key=key, priority=priority), at=now - dt.timedelta(minutes=minutes))
        errands.queue(Wish("good", key="later", priority=Priority.LOW), at=now)
        assert errands.queue(Wish("good", key="one too many"), at=now) is None
        for number in range(3):
            errands.queue(Wish("booking reminder", key=f"r{number}", payload={"booking": 1}), at=now)
        assert carrying.carry_all() == {"done": 7}
        assert carried == ["low", "high", "normal", "later"]

    def test_gives_up_in_front_of_staff_and_not_because_a_service_is_down(
        self, provider: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(errands, "_kinds", dict(errands._kinds))
        calls: list[str] = []

        def fail(errand: Errand) -> None:
            calls.append(errand.key)
            raise TimeoutError

        errands.declare(Kind("down", service="x", carry=fail))
        now = timezone.now()
        for person, key in enumerate(("a", "b")):
            errands.queue(Wish("down", key=key, person_id=person), at=now)
        assert carrying.carry_all(uniform=lambda low, high: high) == {"waiting": 1}
        assert calls == ["a"], "the second one need not wait for a timeout of its own"
        row = Errand.objects.get(key="a")
        assert (row.attempts, row.code, row.lease) == (1, "KW021", None)
        assert row.next_attempt_at is not None
        assert row.next_attempt_at > timezone.now()
        Errand.objects.update(until=now, next_attempt_at=now)
        assert carrying.carry_all() == {"expired": 2}
        assert sorted(Intervention.objects.values_list("error", flat=True)) == ["expired: too late"] * 2

    def test_p1_is_taken_up_again_from_a_worker_that_says_nothing(self) -> None:
        errands.queue(Wish("booking reminder", key="x", payload={"booking": 1}), at=timezone.now())
        lost = errands.claim(but=(), seconds=60)
        assert lost is not None
        assert errands.claim(but=(), seconds=60) is None
        fakes.sql("UPDATE sync_errand SET next_attempt_at = now()")
        again = errands.claim(but=(), seconds=60)
        assert again is not None
        assert not errands.finish(lost, ErrandState.DONE, at=timezone.now()), "whoever comes back late changes nothing"
        assert Errand.objects.get().attempts == 2
