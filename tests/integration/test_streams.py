"""P10: streams of events over real HTTP: who hears of what, from whichever layer it comes, and what nobody is told."""

import ast
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from interventions import operations
from interventions.models import Intervention, StreamEvent
from sync import realtime, repair, switches
from sync.pauses import Scope
from tests import fakes
from tests.appointments import clients, granted
from tests.factories import Cast, therapists
from tests.processes import PROJECT
from tests.streaming import Listen, Listener, StreamsProcess, edit, listening
from therapists import bookings
from therapists.models import Enrollment
from therapists.topics import TOPICS


@pytest.fixture
def streams(transactional_db: None, tmp_path: Path) -> Iterator[StreamsProcess]:
    """The streams process."""
    process = StreamsProcess(tmp_path)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def listen(streams: StreamsProcess) -> Iterator[Listen]:
    """Open streams; each is closed at the end."""
    with listening(streams) as one:
        yield one


class TestEvents:
    def test_arise_from_every_layer(self, cast: Cast, listen: Listen) -> None:
        """One long test, for each start of a process costs seconds: the steps are the methods below."""
        ada, ben, vic = listen(cast.ada), listen(cast.ben), listen(cast.vic)
        self.a_save_and_statements_of_any_program(cast, ada)
        self.workers_and_audits(cast, ada, ben)
        self.staff_and_the_engine(vic)
        self.what_is_booked(cast, ada)
        assert {message["id"] for message in ada.messages} <= {str(cast.ada.pk), None} | self.booked
        # Nothing but what a page needs to ask for more, and nobody else's.
        for message in ada.messages[1:] + vic.messages[1:]:
            assert message.keys() == {"event", "topic", "id", "revision"}
            assert message["topic"] in TOPICS
        assert "profile.updated" in vic.topics

    def a_save_and_statements_of_any_program(self, cast: Cast, ada: Listener) -> None:
        edit(cast.ada)
        ada.hears("profile.updated", cast.ada.pk)
        Enrollment.objects.filter(user=cast.ada).update(bio="By a statement.")
        ada.hears("profile.updated", cast.ada.pk, times=2)
        fakes.psql(f"UPDATE users SET avatar_url = '/media/another.webp' WHERE id = {cast.ada.pk}")
        ada.hears("avatar.updated", cast.ada.pk)
        assert ada.topics == ["profile.updated"] * 2 + ["avatar.updated"], "each write is told once"
        (number,) = fakes.sql("SELECT revision FROM users WHERE id = %s", cast.ada.pk)[0]
        assert ada.messages[-1]["revision"] == number, "by which a page knows whether it has seen it"

    def workers_and_audits(self, cast: Cast, ada: Listener, ben: Listener) -> None:
        fakes.psql(f"UPDATE therapist_profiles SET bio = 'Into a copy.' WHERE user_id = {cast.ada.pk}")
        fakes.settled()
        ada.hears("copies.updated", cast.ada.pk)
        assert repair.audit(owe=True)["therapist_profiles"] == 1
        fakes.settled()
        ben.hears("copies.updated", cast.ben.pk)

    def staff_and_the_engine(self, vic: Listener) -> None:
        operations.log_manual_intervention_needed(operation="import", entity_id="17", error="Refused.")
        item = Intervention.objects.get(operation="import")
        vic.hears("intervention.updated", item.pk)
        fakes.psql(f"UPDATE manual_intervention_log SET resolved = true WHERE id = '{item.pk}'")
        vic.hears("intervention.updated", item.pk, times=2)
        switches.pause(scope=Scope.TARGET, key="users", by="user:1", note="Looking.", at=timezone.now())
        vic.hears("target.updated", "users")

    def what_is_booked(self, cast: Cast, ada: Listener) -> None:
        (client,) = clients(1)
        begin = timezone.now() + dt.timedelta(days=1)
        booking = bookings.request_booking(
            client_id=client.pk, therapist_id=cast.ada.pk, starts_at=begin, ends_at=begin + dt.timedelta(hours=1),
            zone=ZoneInfo("UTC"), at=timezone.now(),
        )  # fmt: skip
        self.booked = {str(booking.pk)}
        ada.hears("booking.updated", booking.pk)
        granted(client, 3)
        assert StreamEvent.objects.filter(topic="credits.updated", subject=str(client.pk)).count() == 1

    def test_of_many_at_once_are_one(self, cast: Cast, listen: Listen) -> None:
        ada = listen(cast.ada)
        therapists(realtime.MOST_TOLD + 1)
        ada.hears("profile.updated")
        assert ada.messages[-1]["id"] is None
        edit(cast.ada)
        ada.hears("profile.updated", cast.ada.pk)
        assert StreamEvent.objects.filter(topic="profile.updated").count() < 10

    def test_are_told_once_though_transactions_end_in_another_order(
        self, cast: Cast, listen: Listen, second_connection: fakes.Connection
    ) -> None:
        ada, ben = listen(cast.ada), listen(cast.ben)
        late = second_connection()  # type: ignore[operator]
        late.execute("BEGIN")
        late.execute("UPDATE therapist_enrollments SET bio = 'Late.' WHERE user_id = %s", [cast.ada.pk])
        # The look that tells of the second one has left the first one's number behind, and would leave a lower one too.
        for times in (1, 2):
            edit(cast.ben, f"Early, with a higher number: {times}.")
            ben.hears("profile.updated", cast.ben.pk, times=times)
        late.execute("COMMIT")
        ada.hears("profile.updated", cast.ada.pk)
        edit(cast.ben, "The last one.")
        ben.hears("profile.updated", cast.ben.pk, times=3)
        assert (ada.topics, ben.topics) == (["profile.updated"], ["profile.updated"] * 3)


def test_every_announced_topic_is_one_that_somebody_may_hear_of() -> None:
    told = {realtime.PROFILE, "avatar.updated", *realtime.DESK.values()}
    for path in (p for app in ("interventions", "sync", "therapists") for p in (PROJECT / app).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("events.announce"):
                assert isinstance(node.args[0], ast.Constant), f"{path}: a topic by another name cannot be checked"
                told.add(str(node.args[0].value))
    assert told == set(TOPICS)
