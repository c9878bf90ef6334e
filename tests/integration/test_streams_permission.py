"""P10: nobody hears what is not theirs: asked when a stream opens, and again for as long as it is open."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests import fakes
from tests.factories import Cast
from tests.streaming import EVENTS, Listen, StreamsProcess, edit, listening
from therapists.accounts import factors
from therapists.accounts.callers import callers
from therapists.demo.cast import signed_in
from therapists.models import OpenSession, User
from therapists.topics import OWN, PERMISSIONS

Change = Callable[[User], object]


@pytest.fixture
def streams(transactional_db: None, tmp_path: Path) -> Iterator[StreamsProcess]:
    """The streams process, which looks every second who may hear what."""
    process = StreamsProcess(tmp_path, settings={"STREAMS_CHECK_SECONDS": "1", "STREAMS_PER_PERSON": "2"})
    process.start()
    yield process
    process.stop()


@pytest.fixture
def listen(streams: StreamsProcess) -> Iterator[Listen]:
    """Open streams; each is closed at the end."""
    with listening(streams) as one:
        yield one


def key_of(headers: dict[str, str]) -> str:
    return headers["Cookie"].split("sessionid=")[1].split(";")[0]


class TestAnswers:
    def test_refuse_what_is_not_the_callers(self, cast: Cast, streams: StreamsProcess, listen: Listen) -> None:
        ada, vic = signed_in(cast.ada), signed_in(cast.vic)
        nobody = {"Cookie": "sessionid=0123456789abcdef0123456789abcdef"}
        expected: list[tuple[str, dict[str, str], int, str]] = [
            ("", {}, 401, "not_authenticated"),
            ("", nobody, 401, "session_expired"),
            ("", {"X-Session-Token": "unknown"}, 401, "session_expired"),
            (f"?person={cast.ben.pk}", ada, 404, "not_found"),
            ("?person=999999", ada, 404, "not_found"),
            (f"?person={cast.ben.pk}&topics=profile.updated", ada, 404, "not_found"),
            ("?topics=intervention.updated", ada, 403, "permission_denied"),
            ("?topics=profile.updated,run.updated", ada, 403, "permission_denied"),
            ("?topics=secrets", ada, 400, "invalid"),
            ("?person=x", ada, 400, "invalid"),
            ("?persons=1", ada, 400, "invalid"),
            ("", vic | {"method": "POST"}, 405, "method_not_allowed"),
        ]
        for query, headers, status, code in expected:
            method = headers.pop("method", "GET")
            answer = streams.ask(f"{EVENTS}{query}", headers, method)
            assert (answer.status, json.loads(answer.said)["code"]) == (status, code), query
            assert answer.headers["content-type"] == "application/problem+json"
        assert streams.ask("/api/v1/else/").status == 404
        self.others_do_not_hear(cast, listen)
        self.a_filter_narrows(cast, listen)
        self.there_is_a_bound_for_each_person(cast, streams)
        self.only_our_own_pages_may_read(streams, ada)

    def others_do_not_hear(self, cast: Cast, listen: Listen) -> None:
        ada, ben, token = listen(cast.ada), listen(cast.ben), key_of(signed_in(cast.cleo))
        cleo = listen(cast.cleo, Cookie="", **{"X-Session-Token": token})
        edit(cast.ada)
        edit(cast.cleo)
        edit(cast.ben)
        for who, person in ((ada, cast.ada), (cleo, cast.cleo), (ben, cast.ben)):
            who.hears("profile.updated", person.pk)
            assert {m["id"] for m in who.messages} == {str(person.pk)}
            who.close()

    def a_filter_narrows(self, cast: Cast, listen: Listen) -> None:
        vic = listen(cast.vic, f"?topics=profile.updated&person={cast.ben.pk}")
        edit(cast.ada, "Not asked for.")
        edit(cast.ben, "Asked for.")
        vic.hears("profile.updated", cast.ben.pk)
        assert [m["id"] for m in vic.messages[1:]] == [str(cast.ben.pk)]
        vic.close()

    def there_is_a_bound_for_each_person(self, cast: Cast, streams: StreamsProcess) -> None:
        with listening(streams) as one:
            opened = [one(cast.sam), one(cast.sam)]
            refused = streams.ask(EVENTS, signed_in(cast.sam))
            assert (refused.status, json.loads(refused.said)["code"]) == (429, "too_many_streams")
            assert int(refused.headers["retry-after"]) > 0
            one(cast.vic)
            assert not any(listener.is_over for listener in opened)

    def only_our_own_pages_may_read(self, streams: StreamsProcess, headers: dict[str, str]) -> None:
        page = f"http://127.0.0.1:{streams.port - 1}"
        for origin, given in ((page, page), ("https://elsewhere.example", None), ("null", None)):
            answer = streams.ask(EVENTS, headers | {"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == given
        assert streams.ask(EVENTS, {"Origin": page}).headers["access-control-allow-credentials"] == "true"

    def test_of_the_web_lead_there(self, cast: Cast, settings: Any) -> None:
        settings.EVENTS_URL = "http://127.0.0.1:8001"
        client = Client(headers=signed_in(cast.ada))
        answer = client.get(
            f"{EVENTS}?topics=profile.updated", headers={"Host": "localhost:8000", "Accept": "text/event-stream"}
        )
        assert answer.status_code == 307
        # Cookies are known by the host's name.
        assert answer["Location"] == f"http://localhost:8001{EVENTS}?topics=profile.updated"
        settings.EVENTS_URL = ""
        assert client.get(EVENTS).status_code == 503

    def test_say_when_the_process_is_full(self, cast: Cast, tmp_path: Path) -> None:
        process = StreamsProcess(tmp_path, settings={"STREAMS_MOST": "1"})
        process.start()
        try:
            with listening(process) as one:
                ada = one(cast.ada)
                refused = process.ask(EVENTS, signed_in(cast.ben))
                assert (refused.status, json.loads(refused.said)["code"]) == (503, "streams_full")
                ada.close()
                one(cast.ben)
        finally:
            process.stop()


ENDED: dict[str, Change] = {
    "signed out": lambda person: OpenSession.objects.filter(person=person).delete(),
    "expired": lambda person: OpenSession.objects.filter(person=person).update(expire_date=timezone.now()),
    "deactivated": lambda person: User.objects.filter(pk=person.pk).update(is_active=False),
    "another password": lambda person: User.objects.filter(pk=person.pk).update(password="another"),
    "not used": lambda person: OpenSession.objects.filter(person=person).update(
        used_at=timezone.now() - dt.timedelta(hours=1)
    ),
    "after a working day": lambda person: OpenSession.objects.filter(person=person).update(
        began_at=timezone.now() - dt.timedelta(days=1)
    ),
    "no longer staff": lambda person: User.objects.filter(pk=person.pk).update(is_staff=False),
    "rights withdrawn": lambda person: person.user_permissions.clear(),
    "deleted by SQL": lambda person: fakes.psql(
        f"DELETE FROM users_user_permissions WHERE user_id = {person.pk}; DELETE FROM users WHERE id = {person.pk}"
    ),
}


class TestPermissionIsReadAgain:
    def test_and_a_stream_ends_where_it_is_gone(self, cast: Cast, listen: Listen) -> None:
        for number, (word, change) in enumerate(ENDED.items()):
            staff = User.objects.create_user(f"one{number}@example.org", "x", is_staff=True, user_type="staff")
            staff.user_permissions.set(cast.vic.user_permissions.all())
            stream, others = listen(staff), listen(cast.vic)
            change(staff)
            stream.ends(seconds=5)
            assert not others.is_over, word
            others.close()

    def test_and_tells_the_same_as_a_request_is_told(self, cast: Cast, settings: Any) -> None:
        settings.STAFF_SECOND_FACTOR = True
        whole, half = signed_in(cast.ada), signed_in(cast.vic)
        found = callers([key_of(whole), key_of(half), "nobody's"], permissions=PERMISSIONS)
        assert found.keys() == {key_of(whole), key_of(half)}
        assert (found[key_of(whole)].person_id, found[key_of(whole)].permissions) == (cast.ada.pk, frozenset())
        assert found[key_of(half)].is_half
        assert Client(headers=half).get("/api/v1/interventions/").status_code == 403
        factors.ensured_secret(cast.vic)
        shown = signed_in(cast.vic)
        assert not callers([key_of(shown)], permissions=PERMISSIONS)[key_of(shown)].is_half
        assert callers([key_of(shown)], permissions=PERMISSIONS)[key_of(shown)].permissions == PERMISSIONS
        for word in ("signed out", "expired", "deactivated", "another password", "not used", "after a working day"):
            again, person = signed_in(cast.vic), cast.vic
            assert Client(headers=again).get("/api/v1/bookings/").status_code == 200
            ENDED[word](person)
            assert callers([key_of(again)], permissions=PERMISSIONS) == {}, word
            assert Client(headers=again).get("/api/v1/bookings/").status_code == 401, word
            User.objects.filter(pk=person.pk).update(is_active=True, password=person.password)

    def test_own_topics_need_no_permission_and_others_do(self, cast: Cast) -> None:
        assert {name.split(".")[0] for name in OWN} == {"avatar", "profile", "copies", "booking", "credits"}
