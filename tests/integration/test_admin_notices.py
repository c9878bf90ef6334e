"""Notices in the admin: whom nobody could reach still sees them here, each person reads for themselves."""

import datetime as dt
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from interventions import alerts, causes, checks, deliveries, digest, items
from interventions.admin import notices
from interventions.models import Alert, AlertDelivery, AlertReading, AlertState, Digest, History
from tests import channels as servers
from tests import fakes
from tests.channels import Board
from tests.factories import Cast
from therapists.models import User
from therapists.roles import LEAD, OPERATOR, READ_ONLY, sync_groups

PAGE = "/admin/notices/"


def signed_in(user: User, role: str = READ_ONLY, **words: Any) -> Client:
    sync_groups()
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=False)
    user.user_permissions.clear()
    user.groups.set([Group.objects.get(name=role)])
    client = Client(**words)
    client.force_login(User.objects.get(pk=user.pk))
    return client


@pytest.fixture
def board(settings: Any, transactional_db: None) -> Iterator[Board]:
    with servers.http_board() as board:
        settings.ALERT_URLS_STAFF = [board.url]
        yield board


def alert() -> Alert:
    at = timezone.now() - dt.timedelta(seconds=1)
    failure = items.Failure(
        target="therapist_profiles", code="23514", failure_class="refused", detail="bio_is_short", attempts=1, person_id=7
    )  # fmt: skip
    items.open_items(failures=[failure], at=at)
    causes.follow(at=at)
    alerts.look(at=at)
    return Alert.objects.get()


def shown(client: Client, address: str = PAGE) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


class TestThePage:
    def test_says_that_nothing_is_the_matter_and_that_no_channel_is_set_up(self, cast: Cast) -> None:
        page = shown(signed_in(cast.vic))
        assert "Nothing needs your attention." in page
        assert "No channel is set up:" in page

    def test_shows_an_alert_to_each_until_they_read_it(self, cast: Cast) -> None:
        one = alert()
        vic, sam = signed_in(cast.vic), signed_in(cast.sam, OPERATOR)
        for client in (vic, sam):
            assert "1 new" in shown(client, "/admin/")
            assert "Mark read" in shown(client)
        assert vic.post(PAGE, {"alert": [one.pk]}).status_code == 302
        assert "1 new" not in shown(vic, "/admin/")
        assert "Mark read" not in shown(vic)
        assert one.says in shown(vic)
        assert "1 new" in shown(sam, "/admin/")

    def test_tells_of_each_subject_once_whoever_was_told(self, cast: Cast) -> None:
        alert()
        alerts.look(at=timezone.now() + dt.timedelta(hours=2))
        assert Alert.objects.count() == 2
        client = signed_in(cast.vic)
        page = shown(client)
        assert (page.count("kw-card"), "1 new" in page, "Mark all 1 read" in page) == (1, True, True)
        client.post(PAGE, {"alert": [*Alert.objects.values_list("pk", flat=True)]})
        assert "Mark read" not in shown(client)

    def test_lists_no_more_than_a_form_may_name(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notices, "MOST_LIVE", 1)
        alert()
        urgent = Alert.objects.create(
            subject="owed:users", level=3, kind="raised", says="users is owed.", path="/admin/", since=timezone.now(),
            raised_at=timezone.now(), told_at=timezone.now(),
        )  # fmt: skip
        client = signed_in(cast.vic)
        page = shown(client)
        assert "The 1 most urgent are shown" in page
        assert re.findall(r'name="alert" value="(\d+)"', page) == [str(urgent.pk)] * 2

    def test_leads_to_exactly_what_it_speaks_of(self, cast: Cast) -> None:
        items.open_items(
            failures=[
                items.Failure(target="users", code=c, failure_class="refused", detail="d", attempts=1, person_id=p)
                for c, p in (("22001", 8), ("22001", 9), ("23514", 8000))
            ],
            at=timezone.now(),
        )
        causes.follow(at=timezone.now())
        alerts.look(at=timezone.now())
        client = signed_in(cast.vic)
        for one in Alert.objects.all():
            answer = client.get(one.path)
            assert len(answer.context["cl"].result_list) == one.items
            assert {item.cause for item in answer.context["cl"].result_list} == {
                one.path.partition("exact=")[2].replace("%3A", ":")
            }

    def test_reading_is_a_post_with_a_token_for_staff_alone(self, cast: Cast) -> None:
        one = alert()
        strict = signed_in(cast.vic, enforce_csrf_checks=True)
        assert strict.post(PAGE, {"alert": [one.pk]}).status_code == 403
        assert strict.get(f"{PAGE}?alert={one.pk}").status_code == 200
        assert Client().post(PAGE, {"alert": [one.pk]}).status_code == 302
        assert not AlertReading.objects.exists()

    def test_is_closed_to_who_may_not_look(self, cast: Cast) -> None:
        alert()
        client = signed_in(cast.vic)
        cast.vic.groups.clear()
        made = digest.make_due(at=timezone.now())
        assert made is not None
        assert [client.get(a).status_code for a in (PAGE, f"{PAGE}{made.day}/")] == [403, 403]
        assert "Notices" not in shown(client, "/admin/")

    def test_says_what_was_sent_and_never_that_something_was_that_was_not(self, cast: Cast, board: Board) -> None:
        alert()
        board.manner = "refuse"
        deliveries.send_due()
        client = signed_in(cast.vic)
        page = shown(client)
        assert "1 message could not be delivered." in page
        assert "not delivered yet, tried once: http 503" in page
        assert "Sent: " not in page
        assert "hidden-token" not in page
        board.manner = "take"
        AlertDelivery.objects.update(next_attempt_at=timezone.now())
        deliveries.send_due()
        page = shown(client)
        assert "Sent: 1 message" in page
        assert "could not be delivered" not in page

    def test_asks_the_database_no_more_for_many_alerts(self, cast: Cast, django_assert_max_num_queries: Any) -> None:
        client = signed_in(cast.vic)
        alert()
        shown(client)
        at = timezone.now()
        Alert.objects.bulk_create(
            Alert(subject=f"owed:{n}", level=2, kind="raised", says="x", path="/", since=at, raised_at=at, told_at=at)
            for n in range(60)
        )
        with django_assert_max_num_queries(16):
            assert "Mark all 61 read" in shown(client)


class TestATest:
    def test_is_sent_to_every_channel_and_shown(self, cast: Cast, board: Board) -> None:
        lena = signed_in(cast.sam, LEAD)
        assert lena.post(f"{PAGE}test/").status_code == 302
        deliveries.send_due()
        assert board.taken[0]["message"].startswith("This is a test of this channel.")
        assert ": sent" in shown(lena).partition("Test the channels")[2]
        assert History.objects.filter(action="alerts_tested", actor=f"user:{cast.sam.pk}").count() == 1

    def test_is_for_leads_and_a_post(self, cast: Cast, board: Board) -> None:
        sam = signed_in(cast.sam, OPERATOR)
        assert (sam.post(f"{PAGE}test/").status_code, sam.get(f"{PAGE}test/").status_code) == (403, 405)
        assert "Send a test alert" not in shown(sam)
        assert not AlertDelivery.objects.exists()

    def test_by_command_tells_of_each_channel(self, board: Board, settings: Any) -> None:
        settings.ALERT_URLS_PAGE = ["json://127.0.0.1:1/"]
        out = StringIO()
        with pytest.raises(CommandError, match="1 of 2 channels did not take it") as raised:
            call_command("alert_test", stdout=out)
        assert raised.value.returncode == 1
        assert sorted(line.partition(": ")[2] for line in out.getvalue().splitlines()) == [
            "not taken (unreachable)",
            "taken",
        ]
        assert len(board.taken) == 1

    def test_by_command_without_a_channel_is_no_success(self, transactional_db: None) -> None:
        with pytest.raises(CommandError, match="No channel is set up"):
            call_command("alert_test")


class TestTheDigest:
    def test_is_a_page_and_a_mail(self, cast: Cast, settings: Any) -> None:
        alert()
        with servers.post_office() as post:
            settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
            settings.EMAIL_HOST, settings.EMAIL_PORT, settings.DIGEST_MAIL = (
                "127.0.0.1",
                post.port,
                ["lead@example.org"],
            )
            made = digest.make_due(at=timezone.now())
            assert made is not None
            deliveries.send_due()
            (mail,) = post.taken
        assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
        assert AlertDelivery.objects.get(kind="digest").state == AlertState.SENT
        client = signed_in(cast.vic)
        assert f'href="{PAGE}{made.day}/"' in shown(client)
        page = shown(client, f"{PAGE}{made.day}/")
        assert "bio_is_short" in page
        assert ": sent" in page
        assert client.get(f"{PAGE}2020-01-01/").status_code == 404
        assert client.get(f"{PAGE}2020-13-01/").status_code == 404

    def test_of_long_ago_goes(self, transactional_db: None) -> None:
        digest.make_due(at=timezone.now())
        alerts.prune(at=timezone.now() + dt.timedelta(days=89))
        assert Digest.objects.count() == 1
        alerts.prune(at=timezone.now() + dt.timedelta(days=91))
        assert Digest.objects.count() == 0
        assert fakes.sql("SELECT FROM intervention_alert_delivery") == []


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ({}, ["interventions.W003"]),
        ({"ALERT_URLS_LEAD": ["json://x"]}, ["interventions.W004"]),
        ({"ALERT_URLS_LEAD": ["json://x"], "BASE_URL": "https://keepwell.example"}, []),
        ({"DIGEST_MAIL": ["a@example.org"], "BASE_URL": "https://keepwell.example"}, ["interventions.E002"]),
        ({"DIGEST_MAIL": ["a@example.org"], "BASE_URL": "https://k.example", "EMAIL_URL": "smtp://x"}, []),
    ],
)
def test_a_deployment_is_told_where_nobody_would_hear(settings: Any, words: dict[str, Any], ids: list[str]) -> None:
    for name, value in words.items():
        setattr(settings, name, value)
    assert [message.id for message in checks.check_channels(None)] == ids
