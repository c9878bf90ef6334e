"""P5: what is sent again with its key has one effect and one answer, whoever sends it how often and whatever dies."""

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone

from interventions import idempotency
from interventions.api.base import Key
from interventions.models import Intervention, KeyedRequest, RetryRun
from tests import fakes
from tests.factories import UserFactory, therapist
from tests.integration.test_api_avatar import picture
from therapists.api.me import OwnProfileView
from therapists.models import Enrollment, User, UserType
from therapists.roles import LEAD

ME, RUNS = "/api/v1/therapists/me/", "/api/v1/runs/"
# A pool of eight answers 503 to whoever waits two seconds for it: fifty at once are for the bench, on a machine of its own.
AT_ONCE = 16


@pytest.fixture
def person(transactional_db: None) -> User:
    """A therapist whose copies are equal."""
    found = therapist("Ada Quist")
    fakes.settled()
    return found


@pytest.fixture
def ada(person: User) -> Client:
    return signed_in(person)


@pytest.fixture
def lead(transactional_db: None) -> User:
    found = UserFactory.create(user_type=UserType.STAFF, is_staff=True)
    found.groups.add(Group.objects.get(name=LEAD))
    return found


def signed_in(person: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(person)
    return client


def patched(client: Client, key: str, header: str = "Idempotency-Key", **changes: object) -> Any:
    return client.patch(ME, changes or {"bio": "Once."}, "application/json", headers={header: key})


def closing(send: Callable[..., Any]) -> Callable[..., Any]:
    """Send in a thread that leaves no connection open."""

    def sent(*given: Any) -> Any:
        try:
            return send(*given)
        finally:
            connections.close_all()

    return sent


def is_replayed(answer: Any) -> bool:
    return bool(answer.headers.get("Idempotent-Replayed") == "true")


def code(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def forgotten_answer(age: str = "1 hour") -> None:
    """Let every answer be lost, as when the process dies between the commit and the answer."""
    fakes.sql(f"UPDATE keyed_request SET status = NULL, headers = NULL, body = NULL, at = at - interval '{age}'")


class TestTheSameAgain:
    def test_p5_gets_the_same_bytes_and_changes_nothing(self, ada: Client, person: User) -> None:
        first = patched(ada, "k-1")
        assert (first.status_code, is_replayed(first)) == (200, False)
        Enrollment.objects.filter(user=person).update(bio="Somebody's since then.")
        again = patched(ada, "k-1")
        assert (again.status_code, again.content, is_replayed(again)) == (200, first.content, True)
        assert again["Content-Type"] == first["Content-Type"]
        assert again["Cache-Control"] == first["Cache-Control"] == "private, no-cache"
        assert Enrollment.objects.get(user=person).bio == "Somebody's since then."

    def test_p5_is_the_same_however_key_and_body_are_spelled(self, ada: Client) -> None:
        first = patched(ada, 'a "b" \\c'.replace(" ", "."), bio="x", phone="1")
        assert first.status_code == 400
        first = patched(ada, "a/b=c+1", bio="x", phone="1")
        for key, header in (('"a/b=c+1"', "Idempotency-Key"), ("a/b=c+1", "X-Idempotency-Key")):
            again = patched(ada, key, header, phone="1", bio="x")
            assert (again.content, is_replayed(again)) == (first.content, True)
        quoted = patched(ada, r'"q\"\\"', bio="y")
        assert (quoted.status_code, KeyedRequest.objects.filter(key='q"\\').count()) == (200, 1)
        assert KeyedRequest.objects.count() == 2

    @pytest.mark.parametrize("key", ["", '""', '"open', "two words", "a,b", '"a";p=1', "ü", "k" * 201, '"tab\t"'])
    def test_p5_rubbish_is_no_key(self, ada: Client, person: User, key: str) -> None:
        assert code(patched(ada, key)) == (400, "key_malformed")
        assert Enrollment.objects.get(user=person).bio != "Once."

    def test_p5_two_headers_that_differ_are_refused(self, ada: Client) -> None:
        headers = {"Idempotency-Key": "a", "X-Idempotency-Key": "b"}
        assert code(ada.patch(ME, {"bio": "x"}, "application/json", headers=headers)) == (400, "key_malformed")

    def test_p5_with_another_body_or_of_another_object_is_refused(self, ada: Client, person: User, lead: User) -> None:
        patched(ada, "k")
        assert code(patched(ada, "k", bio="Twice.")) == (422, "key_reused")
        assert Enrollment.objects.get(user=person).bio == "Once."
        ours, other = Enrollment.objects.get(user=person), Enrollment.objects.create(email="b@example.org")
        answers = [
            signed_in(lead).post(
                f"/api/v1/enrollments/{pk}/decision/", {"decision": "suspend"}, "application/json",
                headers={"Idempotency-Key": "k"},
            )
            for pk in (ours.pk, other.pk)
        ]  # fmt: skip
        assert [answer.status_code for answer in answers] == [200, 422]
        other.refresh_from_db()
        assert other.status == "pending"

    def test_p5_of_another_caller_or_to_another_route_is_another_request(self, ada: Client) -> None:
        ben = signed_in(therapist("Ben Okoro"))
        patched(ada, "k")
        theirs = patched(ben, "k")
        assert (theirs.status_code, is_replayed(theirs)) == (200, False)
        assert theirs.json()["data"]["full_name"] == "Ben Okoro"
        elsewhere = ada.post(ME + "sync/", {}, "application/json", headers={"Idempotency-Key": "k"})
        assert (elsewhere.status_code, is_replayed(elsewhere)) == (200, False)

    def test_p5_a_file_is_compared_by_what_is_in_it(self, ada: Client, settings: Any, tmp_path: Any) -> None:
        settings.MEDIA_ROOT = tmp_path

        def sent(content: bytes, name: str = "me.png") -> Any:
            data = encode_multipart(BOUNDARY, {"image": SimpleUploadedFile(name, content, "image/png")})
            return ada.put(ME + "avatar/", data, MULTIPART_CONTENT, headers={"Idempotency-Key": "k"})

        first, again, other = sent(picture()), sent(picture(), "again.png"), sent(picture("blue"))
        assert (first.status_code, again.content, is_replayed(again)) == (200, first.content, True)
        assert code(other) == (422, "key_reused")
        assert len(list(tmp_path.rglob("*.webp"))) == 1


class TestWithoutEffect:
    def test_p5_a_refusal_is_not_kept(self, ada: Client) -> None:
        assert patched(ada, "k", bio=7.5, no_such_field=1).status_code == 400
        assert (patched(ada, "k").status_code, KeyedRequest.objects.count()) == (200, 1)

    def test_p5_a_write_that_was_rolled_back_is_not_kept_and_may_be_sent_again(self, ada: Client, person: User) -> None:
        with fakes.refusing("therapist_enrollments", "bio <> 'Once.'"):
            assert patched(ada, "k").status_code == 409
        assert KeyedRequest.objects.count() == 0
        again = patched(ada, "k")
        assert (again.status_code, is_replayed(again)) == (200, False)
        assert Enrollment.objects.get(user=person).bio == "Once."

    def test_p5_an_operation_that_found_nothing_to_be_done_is_not_kept(self, lead: User, person: User) -> None:
        item = open_item(person)
        path, client = f"/api/v1/interventions/{item.pk}/retry/", signed_in(lead)
        Intervention.objects.filter(pk=item.pk).update(state="retrying", retry_by="user:1", retry_until=timezone.now())
        refused = client.post(path, {}, "application/json", headers={"Idempotency-Key": "k"})
        assert (code(refused), KeyedRequest.objects.count()) == ((409, "already_retrying"), 0)
        Intervention.objects.filter(pk=item.pk).update(state="open", retry_by=None, retry_until=None)
        assert client.post(path, {}, "application/json", headers={"Idempotency-Key": "k"}).status_code == 200

    def test_p5_without_a_key_where_one_is_required_nothing_is_done(
        self, ada: Client, person: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(OwnProfileView, "key", Key.REQUIRED)
        refused = ada.patch(ME, {"bio": "Once."}, "application/json")
        assert code(refused) == (400, "key_required")
        assert Enrollment.objects.get(user=person).bio != "Once."
        assert (patched(ada, "k").status_code, ada.get(ME).status_code) == (200, 200)
        assert code(Client().patch(ME, {}, "application/json"))[0] == 401

    def test_p5_the_permission_is_asked_for_again(self, lead: User, person: User) -> None:
        client, path = signed_in(lead), f"/api/v1/enrollments/{Enrollment.objects.get(user=person).pk}/decision/"

        def decided() -> Any:
            return client.post(path, {"decision": "suspend"}, "application/json", headers={"Idempotency-Key": "k"})

        assert (decided().status_code, is_replayed(decided())) == (200, True)
        lead.groups.clear()
        assert decided().status_code == 403
        User.objects.filter(pk=lead.pk).update(is_active=False)
        assert decided().status_code == 401


def open_item(person: User) -> Intervention:
    return Intervention.objects.create(
        operation="sync", entity_id=str(person.pk), person_id=person.pk, target="therapist_profiles", error="x"
    )


class TestAtOnce:
    def test_p5_many_at_once_are_one_effect_and_one_answer(self, person: User, lead: User) -> None:
        open_item(person)
        session, together = signed_in(lead).cookies, Barrier(AT_ONCE)

        def sent(_: int) -> Any:
            client = Client(raise_request_exception=False)
            client.cookies = session
            together.wait(30)
            return client.post(
                RUNS, {"target": "therapist_profiles"}, "application/json", headers={"Idempotency-Key": "k"}
            )

        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(closing(sent), range(AT_ONCE)))
        assert {answer.status_code for answer in answers} == {202}, {answer.content for answer in answers}
        assert len({answer.content for answer in answers}) == len({answer["Location"] for answer in answers}) == 1
        assert sum(not is_replayed(answer) for answer in answers) == 1
        assert (RetryRun.objects.count(), KeyedRequest.objects.count()) == (1, 1)

    @pytest.fixture
    def under_way(self, person: User, second_connection: Any) -> Iterator[fakes.Connection]:
        """Somebody's transaction that has written Ada's key and does not end."""
        other = second_connection()
        words = {
            "id": uuid.uuid4(), "person_id": person.pk, "key": "k", "method": "PATCH", "digest": "d",
            "route": "/api/v1/therapists/me/",
        }  # fmt: skip
        other.execute("BEGIN")
        other.execute(idempotency._CLAIM, words)
        yield other
        other.rollback()

    def test_p5_whoever_waits_long_enough_is_told_so_and_the_key_is_free_again_when_it_never_was(
        self, ada: Client, person: User, under_way: fakes.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(idempotency, "WAIT_MS", 50)
        refused, outcome = patched(ada, "k"), ada.get("/api/v1/operations/k/")
        for answer in (refused, outcome):
            assert (code(answer), answer["Retry-After"]) == ((409, "in_flight"), "1")
        assert Enrollment.objects.get(user=person).bio != "Once."
        under_way.execute("ROLLBACK")
        assert ada.get("/api/v1/operations/k/").status_code == 404
        assert patched(ada, "k").status_code == 200

    def test_p5_whoever_waited_for_another_that_is_saved_changes_nothing(
        self, ada: Client, person: User, under_way: fakes.Connection
    ) -> None:
        with ThreadPoolExecutor(1) as threads:
            sent = threads.submit(closing(patched), ada, "k")
            fakes.wait_until(
                lambda: fakes.sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), what="the other waits"
            )
            under_way.execute("COMMIT")
            assert code(sent.result(30)) == (422, "key_reused"), "the other one asked for something else"
        assert Enrollment.objects.get(user=person).bio != "Once."
        assert KeyedRequest.objects.get().digest == "d"

    def test_p5_a_duplicate_waits_for_an_answer_that_is_being_composed(self, ada: Client) -> None:
        first = patched(ada, "k")
        kept = KeyedRequest.objects.get()
        forgotten_answer("0 s")
        fakes.sql(
            "UPDATE keyed_request SET at = clock_timestamp() + interval '1 hour'"
        )  # still waits, however slow we are

        def sent() -> Any:
            try:
                return patched(ada, "k")
            finally:
                connections.close_all()

        with ThreadPoolExecutor(1) as threads:
            again = threads.submit(sent)
            assert kept.status is not None
            assert kept.headers is not None
            answer = idempotency.Answer(kept.status, kept.headers, kept.body or "")
            assert idempotency.store(kept.pk, answer) is answer
            assert (again.result(20).content, is_replayed(again.result())) == (first.content, True)

    def test_p5_of_two_who_compose_the_answer_both_send_the_first(self, ada: Client) -> None:
        patched(ada, "k")
        forgotten_answer()
        row = KeyedRequest.objects.get().pk
        first, second = (idempotency.Answer(200, {"ETag": word}, word) for word in ("first", "second"))
        assert (idempotency.store(row, first), idempotency.store(row, second)) == (first, first)

    def test_p5_whoever_finds_no_answer_composes_it_and_everybody_gets_that_one(
        self, ada: Client, person: User
    ) -> None:
        patched(ada, "k")
        forgotten_answer()
        Enrollment.objects.filter(user=person).update(bio="Since then.")
        composed, again = patched(ada, "k"), patched(ada, "k")
        assert (composed.status_code, is_replayed(composed)) == (200, True)
        assert composed.json()["data"]["bio"] == "Since then."
        assert again.content == composed.content

    def test_p5_an_answer_that_cannot_be_kept_is_sent_all_the_same(self, ada: Client, person: User) -> None:
        with fakes.refusing("keyed_request", "body IS NULL"):
            assert patched(ada, "k").status_code == 200
        assert Enrollment.objects.get(user=person).bio == "Once."
        assert KeyedRequest.objects.get().body is None


class TestTheOutcome:
    def test_p5_is_told_to_the_caller_alone(self, ada: Client, person: User) -> None:
        patched(ada, "k/1")
        told = ada.get("/api/v1/operations/k/1/").json()
        row = fakes.sql("SELECT revision FROM therapist_enrollments WHERE user_id = %s", person.pk)[0]
        assert {name: told[name] for name in ("key", "state", "method", "status", "revision")} == {
            "key": "k/1", "state": "saved", "method": "PATCH", "status": 200, "revision": row[0],
        }  # fmt: skip
        assert code(signed_in(UserFactory.create()).get("/api/v1/operations/k/1/")) == (404, "not_found")
        assert code(ada.get("/api/v1/operations/k/2/")) == (404, "not_found")

    def test_p5_is_told_though_nobody_was_ever_answered(self, ada: Client) -> None:
        patched(ada, "k")
        forgotten_answer("0 s")
        told = ada.get("/api/v1/operations/k/").json()
        assert (told["state"], told["status"]) == ("saved", None)
        assert told["revision"] is not None


class TestWhatIsKept:
    def test_p9_goes_in_bounded_strides_and_too_much_is_told(
        self, ada: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        patched(ada, "new")
        row = {"person_id": 1, "method": "PATCH", "route": "/", "digest": "d"}
        old = timezone.now() - dt.timedelta(hours=settings.IDEMPOTENCY_RETENTION_HOURS, minutes=1)
        KeyedRequest.objects.bulk_create(KeyedRequest(id=uuid.uuid4(), key=str(n), at=old, **row) for n in range(7))
        monkeypatch.setattr(idempotency, "STRIDE", 2)
        monkeypatch.setattr(idempotency, "STRIDES", 2)
        assert [idempotency.prune(at=timezone.now()) for _ in range(3)] == [4, 3, 0]
        assert KeyedRequest.objects.get().key == "new"
        settings.IDEMPOTENCY_WARN_ROWS = -1
        idempotency.prune(at=timezone.now())
        assert [r.message for r in caplog.records if r.name == "interventions.idempotency"] == [
            "interventions.key.many"
        ]

    def test_p1_the_write_waits_for_the_disk_and_its_answer_does_not(self, ada: Client) -> None:
        fakes.sql(
            "CREATE TABLE waits (of_answer boolean, how text); CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN INSERT INTO waits VALUES (NEW.body IS NOT NULL, current_setting('synchronous_commit')); RETURN NULL; END $$;"
            " CREATE TRIGGER waits AFTER INSERT OR UPDATE ON keyed_request FOR EACH ROW EXECUTE FUNCTION waits()"
        )
        try:
            first = patched(ada, "k")
            assert patched(ada, "k").content == first.content
            assert set(fakes.sql("SELECT of_answer, how FROM waits")) == {(False, "on"), (True, "off")}
        finally:
            fakes.sql("DROP TABLE waits; DROP FUNCTION waits CASCADE")

    def test_is_counted_for_staff(self, ada: Client, lead: User) -> None:
        patched(ada, "k")
        forgotten_answer("2 minutes")
        found = signed_in(lead).get("/health/").json()["parts"]["keys"]
        assert set(found) - {"title", "verdict", "says"} == {"rows", "bytes", "oldest_at", "unanswered", "is_too_many"}
        assert (found["unanswered"], found["is_too_many"], found["oldest_at"] is not None) == (1, False, True)


def test_what_a_page_sends_for_somebody_else_than_who_is_signed_in_is_refused(ada: Client, person: User) -> None:
    for whose, status in ((str(person.pk + 1), 409), ("", 409), (str(person.pk), 200)):
        headers = {"X-Person": whose, "Idempotency-Key": str(uuid.uuid4())}
        answer = ada.patch(ME, {"bio": f"For {whose}."}, "application/json", headers=headers)
        assert (answer.status_code, answer.json().get("code")) == (status, None if status == 200 else "other_person")
    assert ada.get("/api/v1/operations/mine/", headers={"X-Person": str(person.pk + 1)}).status_code == 409
    assert Enrollment.objects.get(user=person).bio == f"For {person.pk}."


def test_p6_what_waited_in_a_browser_is_refused_where_it_must_be_exact(ada: Client) -> None:
    headers = {"X-Queued": "1", "Idempotency-Key": str(uuid.uuid4())}
    for address in ("/api/v1/bookings/", "/api/v1/bookings/1/confirm/", "/api/v1/bookings/1/cancel/"):
        answer = ada.post(address, {}, "application/json", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "strict_not_queued"), address
    assert ada.patch(ME, {"bio": "May wait."}, "application/json", headers=headers).status_code == 200
