"""What is sent: to real servers, outside any transaction, by one worker at a time, and sent only what was taken."""

import datetime as dt
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from config.environment import Environment
from interventions import alerts, causes, channels, deliveries, items, tasks
from interventions.channels import Channel, Message
from interventions.models import Alert, AlertDelivery, AlertState
from tests import channels as servers
from tests import fakes
from tests.channels import Board

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.fixture
def board(settings: Any, transactional_db: None) -> Iterator[Board]:
    """Staff's channel: a server that takes JSON."""
    with servers.http_board() as board:
        settings.ALERT_URLS_STAFF = [board.url]
        settings.BASE_URL = "https://keepwell.example/"
        yield board


@pytest.fixture
def post(settings: Any, transactional_db: None) -> Iterator[Board]:
    """Staff's mail, as EMAIL_URL sets it."""
    with servers.post_office() as board:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", board.port
        settings.ALERT_MAIL_STAFF = ["night@example.org"]
        yield board


def alert(*, at: dt.datetime | None = None) -> None:
    """Open a cause and write down that staff are to be told."""
    at = at or timezone.now() - dt.timedelta(seconds=1)
    failure = items.Failure(
        target="therapist_profiles", code="23514", failure_class="refused", detail="bio_is_short", attempts=1, person_id=4711
    )  # fmt: skip
    items.open_items(failures=[failure], at=at)
    causes.follow(at=at)
    alerts.look(at=at)


def due_again() -> None:
    AlertDelivery.objects.update(next_attempt_at=Now())


def the() -> AlertDelivery:
    return AlertDelivery.objects.get()


class TestWhatIsSent:
    def test_says_what_how_many_since_when_and_where_and_nothing_about_anybody(self, board: Board) -> None:
        alert(at=NOW)
        assert deliveries.send_due() == 1
        (said,) = board.taken
        assert said["title"].startswith("[Keepwell, for staff] therapist_profiles: The place refuses the value")
        sentence, numbers, advice, link = said["message"].split("\n\n")
        assert sentence == Alert.objects.get().says
        assert numbers == "1 intervention, 1 person, for less than a minute."
        assert advice.startswith("Correct the value at its source")
        assert link == f"https://keepwell.example{Alert.objects.get().path}"
        assert "4711" not in f"{said}"
        assert (the().state, the().trouble, the().attempts) == (AlertState.SENT, "", 1)

    def test_goes_by_mail_as_well(self, post: Board) -> None:
        alert()
        deliveries.send_due()
        (mail,) = post.taken
        assert mail["to"] == "night@example.org"
        assert "bio_is_short" in mail["subject"]
        assert "1 intervention" in mail.get_content()
        assert the().state == AlertState.SENT

    def test_a_worker_looks_and_sends_in_one_run_and_uses_no_network_in_a_transaction(self, board: Board) -> None:
        failure = items.Failure(
            target="users", code="23514", failure_class="refused", detail="c", attempts=1, person_id=1
        )
        items.open_items(failures=[failure], at=timezone.now())
        causes.follow(at=timezone.now())
        tasks.alert()
        assert len(board.taken) == 1
        tasks.alert()
        assert len(board.taken) == 1

    def test_no_channel_leaves_the_alert_for_the_admin_alone(self, transactional_db: None) -> None:
        alert()
        assert (Alert.objects.count(), AlertDelivery.objects.count(), deliveries.send_due()) == (1, 0, 0)


class TestWhatIsNotTaken:
    @pytest.mark.parametrize(("manner", "code"), [("refuse", "http_503"), ("hang", "too_slow"), ("drip", "too_slow")])
    def test_p7_is_never_called_sent_and_is_tried_again(
        self, board: Board, manner: str, code: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        board.manner = manner
        alert()
        with monkeypatch.context() as impatient:
            if manner != "refuse":
                impatient.setattr(channels, "SECONDS", 2)
            taken = fakes.milliseconds(deliveries.send_due)
        assert taken < 6000
        assert (the().state, the().sent_at) == (AlertState.WAITING, None)
        assert the().trouble == code
        assert list(alerts.undelivered(at=timezone.now())) == [the()]
        assert the().next_attempt_at > timezone.now() + dt.timedelta(seconds=10)
        assert deliveries.send_due() == 0
        board.manner = "take"
        due_again()
        deliveries.send_due()
        assert (the().state, the().trouble, the().attempts, len(board.taken)) == (AlertState.SENT, "", 2, 1)

    def test_when_nobody_listens(self, settings: Any, transactional_db: None) -> None:
        settings.ALERT_URLS_STAFF, settings.ALERT_MAIL_STAFF = ["json://127.0.0.1:1/"], ["night@example.org"]
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
        alert()
        assert deliveries.send_due() == 2
        assert {d.trouble for d in AlertDelivery.objects.all()} == {"unreachable"}

    def test_a_mail_server_that_refuses_says_its_code_and_no_address(self, post: Board, caplog: Any) -> None:
        post.manner = "refuse"
        alert()
        with caplog.at_level(logging.INFO):
            deliveries.send_due()
        assert the().trouble == "SMTPRecipientsRefused"
        assert "example.org" not in caplog.text

    def test_p9_a_mail_server_that_answers_a_byte_a_second_holds_a_worker_no_longer(
        self, post: Board, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(channels, "SECONDS", 2)
        post.manner = "drip"
        alert()
        assert fakes.milliseconds(deliveries.send_due) < 6000
        assert (the().state, the().trouble) == (AlertState.WAITING, "too_slow")
        post.manner = "take"
        due_again()
        deliveries.send_due()
        assert (the().state, len(post.taken)) == (AlertState.SENT, 1)

    def test_p10_the_address_is_in_no_log_no_row_and_no_error(self, board: Board, caplog: Any) -> None:
        board.manner = "refuse"
        alert()
        with caplog.at_level(logging.DEBUG):
            deliveries.send_due()
        row = fakes.sql("SELECT * FROM intervention_alert_delivery")
        assert "hidden-token" not in f"{row}{caplog.text}{[record.__dict__ for record in caplog.records]}"
        assert "hidden-token" not in f"{channels.every()}"

    def test_an_address_that_no_library_knows(self, settings: Any, transactional_db: None) -> None:
        settings.ALERT_URLS_STAFF = ["nonsense"]
        alert()
        deliveries.send_due()
        assert (the().trouble, the().channel[:9]) == ("unknown_address", "nonsense-")

    def test_a_channel_that_is_gone_is_given_up_and_shown(self, board: Board, settings: Any) -> None:
        alert()
        settings.ALERT_URLS_STAFF = []
        deliveries.send_due()
        assert (the().state, the().trouble) == (AlertState.UNDELIVERED, "no_channel")
        assert alerts.undelivered(at=timezone.now()).count() == 1
        assert alerts.undelivered(at=timezone.now() + dt.timedelta(days=2)).count() == 0

    def test_is_given_up_after_two_days(self, board: Board) -> None:
        board.manner = "refuse"
        alert()
        AlertDelivery.objects.update(made_at=timezone.now() - dt.timedelta(hours=49))
        assert deliveries.send_due() == 0
        assert the().state == AlertState.UNDELIVERED

    def test_that_takes_its_worker_down_comes_later_each_time_and_is_shown_meanwhile(self, board: Board) -> None:
        alert()
        waits = []
        for _ in range(3):
            assert deliveries.claim_next(at=timezone.now()) is not None
            waits.append((the().next_attempt_at - timezone.now()).total_seconds())
            assert alerts.undelivered(at=timezone.now()).count() == 0
            AlertDelivery.objects.update(lease_until=Now() - dt.timedelta(seconds=1), next_attempt_at=Now())
            assert [d.trouble for d in alerts.undelivered(at=timezone.now())] == ["unanswered"]
        assert [round(wait / 120) for wait in waits] == [1, 2, 4]

    def test_leaves_the_other_messages_to_that_channel_for_later(self, board: Board) -> None:
        board.manner = "refuse"
        alert()
        at = timezone.now() - dt.timedelta(seconds=1)
        AlertDelivery.objects.create(kind="test", channel=the().channel, made_at=at, next_attempt_at=at)
        assert deliveries.send_due() == 1
        assert AlertDelivery.objects.filter(next_attempt_at__gt=timezone.now()).count() == 2

    def test_p7_holds_up_no_other_for_as_long_as_itself(self, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        # Refused all night, by a machine that can start nothing any more; and something urgent that came just now.
        monkeypatch.setattr(sys, "executable", "/nowhere")
        alert()
        now = timezone.now()
        AlertDelivery.objects.update(attempts=9)
        fresh = AlertDelivery.objects.create(kind="test", channel=the().channel, made_at=now, next_attempt_at=now)
        claim = deliveries.claim_next(at=now, only=AlertDelivery.objects.exclude(pk=fresh.pk).get().pk)
        assert claim is not None
        assert not deliveries.send(claim)
        old = AlertDelivery.objects.get(pk=claim.id)
        fresh.refresh_from_db()
        assert old.trouble == "not_begun"
        assert old.next_attempt_at > now + dt.timedelta(minutes=20)
        assert now < fresh.next_attempt_at < now + dt.timedelta(minutes=3)


class TestTogether:
    def test_many_workers_send_each_message_once(self, board: Board) -> None:
        alert()
        at = timezone.now() - dt.timedelta(seconds=1)
        channel = the().channel
        AlertDelivery.objects.bulk_create(
            AlertDelivery(kind="test", channel=channel, made_at=at, next_attempt_at=at) for _ in range(5)
        )

        def work() -> None:
            # Whoever finds another sending leaves, as a worker does; beat sends somebody again.
            while AlertDelivery.objects.filter(state=AlertState.WAITING, trouble__in=["", "unanswered"]).exists():
                deliveries.send_due(seconds=5)
                threading.Event().wait(0.05)
            connection.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {(d.state, d.attempts, d.trouble) for d in AlertDelivery.objects.all()} == {(AlertState.SENT, 1, "")}
        assert len(board.taken) == 6

    def test_p7_claims_one_message_whatever_way_the_planner_takes(self, board: Board) -> None:
        """A plan that searched again for each row claimed all that waited, and sent one of them."""
        at = timezone.now()
        waiting = [AlertDelivery(kind="test", channel="x", made_at=at, next_attempt_at=at) for _ in range(3)]
        AlertDelivery.objects.bulk_create(waiting)
        AlertDelivery.objects.all().delete()
        fakes.sql("ANALYZE intervention_alert_delivery")  # so that the planner takes it for empty
        AlertDelivery.objects.bulk_create(waiting)
        assert deliveries.claim_next(at=timezone.now()) is not None
        assert AlertDelivery.objects.filter(lease_until=None, attempts=0).count() == 2

    def test_p7_who_comes_back_after_their_lease_settles_nothing(self, board: Board) -> None:
        alert()
        late = deliveries.claim_next(at=timezone.now())
        assert late is not None
        # Also for whoever's clock is far ahead of the server's.
        assert deliveries.claim_next(at=timezone.now() + dt.timedelta(hours=1)) is None
        assert deliveries.claim_next(at=timezone.now() + dt.timedelta(hours=1), only=late.id) is None
        AlertDelivery.objects.update(lease_until=Now() - dt.timedelta(seconds=1), next_attempt_at=Now())
        again = deliveries.claim_next(at=timezone.now())
        assert again is not None
        board.manner = "refuse"
        deliveries.send(late)
        assert (the().state, the().trouble, the().lease_until is None) == (AlertState.WAITING, "unanswered", False)
        board.manner = "take"
        deliveries.send(again)
        assert the().state == AlertState.SENT

    def test_what_is_over_while_it_is_sent_is_not_called_sent_and_not_sent_again(self, board: Board) -> None:
        alert()
        claim = deliveries.claim_next(at=timezone.now())
        assert claim is not None
        AlertDelivery.objects.update(state=AlertState.DROPPED)
        deliveries.send(claim)
        assert the().state == AlertState.DROPPED
        assert deliveries.send_due() == 0

    def test_no_message_is_sent_inside_a_transaction(self, board: Board) -> None:
        with pytest.raises(RuntimeError, match="inside a transaction"), transaction.atomic():
            channels.send(Channel("json", board.url), Message("title", "text"))
        assert board.taken == []


class TestTheEnvironment:
    def settings(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        look = "from config import settings as s; print(s.EMAIL_HOST, s.EMAIL_PORT, s.EMAIL_USE_TLS, s.ALERT_URLS_PAGE, s.DIGEST_ZONE)"
        return subprocess.run(
            [sys.executable, "-c", look], env=os.environ | environment, capture_output=True, text=True, check=False
        )

    def test_names_channels_the_mail_server_and_the_zone(self) -> None:
        said = self.settings(
            EMAIL_URL="smtp+tls://me:secret@mail.example:587", ALERT_URLS_PAGE="json://a/?x=1%2C2, slack://b",
            DIGEST_ZONE="Europe/Berlin",
        )  # fmt: skip
        assert said.stdout == "mail.example 587 True ['json://a/?x=1%2C2', 'slack://b'] Europe/Berlin\n", said.stderr

    @pytest.mark.parametrize(("name", "value"), [("EMAIL_URL", "mail.example:secret"), ("DIGEST_ZONE", "Mars/Olympus")])
    def test_that_cannot_be_read_stops_the_start(self, name: str, value: str) -> None:
        said = self.settings(**{name: value})
        assert (said.returncode, f"ImproperlyConfigured: {name}=" in said.stderr) == (1, True)
        assert "secret" not in said.stderr

    def test_that_are_no_addresses_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Without a kind before it, the whole of an address would be taken for its kind, and shown.
        for read, value in [
            ("channels", "json://a, hooks.example/services/secret"), ("channels", "://secret"),
            ("mail_addresses", "ops@example.org,ops"), ("mail_addresses", "Ops <ops@example.org>"),
        ]:  # fmt: skip
            monkeypatch.setenv("READ_HERE", value)
            with pytest.raises(ImproperlyConfigured, match=r"^READ_HERE=") as refused:
                getattr(Environment(), read)("READ_HERE", "What it is.")
            assert "secret" not in str(refused.value)
        monkeypatch.setenv("READ_HERE", "keepwell.example")
        with pytest.raises(ImproperlyConfigured, match=r"^READ_HERE=.keepwell.example."):
            Environment().address("READ_HERE", "", "What it is.")
