"""The therapist's own pages, as a browser without script uses them."""

import datetime as dt
import gzip
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.staticfiles import finders
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from interventions.models import KeyedRequest
from sync.mirrors import declaration
from tests import fakes
from tests.appointments import clients, granted, requested, summed
from tests.factories import PASSWORD, Cast
from tests.forms import fields, said, sent, text
from tests.integration.test_api_avatar import picture
from therapists.models import Booking, BookingState, CreditEntry, Enrollment, OpenSession, User
from therapists.pages import places

PROFILE, DATA, BOOKINGS, CREDITS, ACCOUNT = "/me/", "/me/data/", "/me/bookings/", "/me/credits/", "/me/account/"
LEAVE, PICTURE, SIGN_IN = "/me/account/leave/", "/me/picture/", "/me/sign-in/"
QUEUE = "/me/queue/"
PAGES = (PROFILE, DATA, BOOKINGS, CREDITS, ACCOUNT, LEAVE, QUEUE)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def as_person(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


class TestEveryPage:
    def test_is_the_persons_own_and_kept_by_nobody(self, cast: Cast) -> None:
        ada, nobody = as_person(cast.ada), Client()
        for address in PAGES:
            answer, words = ada.get(address), ada.get(address).content.decode()
            assert (answer.status_code, answer["Cache-Control"]) == (200, "private, no-store"), address
            # Nothing inline, nothing from elsewhere.
            assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=", words), address
            assert not re.findall(r'(?:src|href|action)="(?!/|#|\?)[^"]*"', words), address
            led = nobody.get(address)
            assert (led.status_code, led["Location"]) == (303, f"/me/sign-in/?next={address.replace('/', '%2F')}")
            assert nobody.post(address).status_code in {303, 405}
        assert text(ada.get(PROFILE)).count("Ben") == 0

    def test_profile_takes_six_queries_at_most(self, cast: Cast) -> None:
        ada = as_person(cast.ada)
        with CaptureQueriesContext(connection) as made:
            ada.get(PROFILE)
        asked = [one["sql"] for one in made if one["sql"] not in {"BEGIN", "COMMIT"}]
        assert len(asked) <= 6, asked

    def test_script_and_style_are_small(self) -> None:
        names = ("therapists/pages.css", "therapists/pages.js", "sync/elements.css", "sync/elements.js", "sync/idb.js")
        files = [finders.find(name) for name in names]
        assert sum(len(gzip.compress(Path(str(file)).read_bytes())) for file in files) <= 50 * 1024

    def test_writes_need_the_forms_own_token(self, cast: Cast) -> None:
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(cast.ada)
        for address in (PROFILE, DATA, PICTURE, "/me/account/sessions/", LEAVE, "/me/bookings/1/confirm/"):
            assert strict.post(address, {"bio": "From elsewhere."}).status_code == 403, address
        assert said(strict, sent(strict, PROFILE, PROFILE, bio="By the form."))
        assert Enrollment.objects.get(user=cast.ada).bio == "By the form."

    def test_staff_are_told_where_the_desk_is_and_clients_where_their_bookings_are(self, cast: Cast) -> None:
        (client,) = clients(1)
        assert "To the desk" in text(as_person(cast.sam).get(PROFILE))
        assert "To your bookings" in text(as_person(client).get(PROFILE))
        assert "To your bookings" in text(as_person(client).get(DATA))
        assert as_person(client).post(PROFILE, {"bio": "Mine?"}).status_code == 404
        assert [as_person(client).get(page).status_code for page in (BOOKINGS, CREDITS, ACCOUNT)] == [200] * 3

    def test_says_what_to_do_while_postgresql_is_away_and_keeps_what_was_typed(self, cast: Cast) -> None:
        ada = as_person(cast.ada)
        held = fields(ada.get(PROFILE).content.decode(), PROFILE)
        with fakes.away():
            looked = ada.get(PROFILE)
            answer = ada.post(PROFILE, held | {"bio": "Typed <in> vain?\nNo."})
            secret = ada.post(LEAVE, {"password": PASSWORD})
        assert (looked.status_code, looked["Retry-After"], looked["Cache-Control"]) == (503, "5", "private, no-store")
        assert answer.status_code == 503
        assert PASSWORD not in text(secret)
        again = ada.post(PROFILE, fields(answer.content.decode(), PROFILE))
        assert "Saved." in said(ada, again)
        assert Enrollment.objects.get(user=cast.ada).bio == "Typed <in> vain?\nNo."


class TestProfile:
    def test_saves_what_was_changed_and_says_the_truth_about_the_copies(self, cast: Cast) -> None:
        ada = as_person(cast.ada)
        answer = sent(ada, PROFILE, PROFILE, bio="Thirteen years.", experience_years="13", phone="")
        assert "Saved. Everything is up to date." in said(ada, answer)
        row = Enrollment.objects.get(user=cast.ada)
        assert (row.bio, row.experience_years, row.phone, row.full_name) == ("Thirteen years.", 13, None, "Ada Quist")
        with fakes.obstructed("therapist_profiles", "bio NOT LIKE 'Fourteen%'") as lift:
            told = said(ada, sent(ada, PROFILE, PROFILE, bio="Fourteen years."))
            assert "Saved. Everything" not in told
            assert re.search(
                r"Saved\. \w+ of \w+ places (is|are) up to date; one needs our staff, who have been told\.", told
            )
            behind = r"Your public profile .*? Needs our staff Since \d+ \w+ \d{4}, \d\d:\d\d UTC"
            assert re.search(behind, text(ada.get(DATA)))
            lift()
            assert "Checked. Everything is up to date." in said(ada, sent(ada, DATA))
            assert "Since" not in text(ada.get(DATA))
        assert "Saved." not in text(ada.get(PROFILE)), "it is said once"
        assert "so there was nothing to save" in text(sent(ada, PROFILE, PROFILE))

    def test_keeps_what_was_typed_beside_what_is_wrong_with_it(self, cast: Cast) -> None:
        ada = as_person(cast.ada)
        answer = sent(ada, PROFILE, PROFILE, full_name=" ", experience_years="many", bio="Kept <as> typed.")
        assert answer.status_code == 400
        held = fields(answer.content.decode(), PROFILE)
        assert (held["experience_years"], held["bio"]) == ("many", "Kept <as> typed.")
        assert answer.content.decode().count('aria-invalid="true"') == 2
        assert Enrollment.objects.get(user=cast.ada).bio != "Kept <as> typed."
        assert "Saved." in said(ada, ada.post(PROFILE, held | {"full_name": "Ada Quist", "experience_years": "3"}))
        taken = sent(ada, PROFILE, PROFILE, email=cast.ben.email.upper())
        assert (taken.status_code, fields(taken.content.decode(), PROFILE)["email"]) == (409, cast.ben.email.upper())

    def test_shows_both_values_where_somebody_changed_the_same_meanwhile(self, cast: Cast) -> None:
        ada = as_person(cast.ada)
        held = fields(ada.get(PROFILE).content.decode(), PROFILE)
        Enrollment.objects.filter(user=cast.ada).update(bio="By staff.", phone="+44 1")
        answer = ada.post(PROFILE, held | {"bio": "By Ada."})
        assert answer.status_code == 409
        assert "Stored now: By staff." in text(answer)
        now = fields(answer.content.decode(), PROFILE)
        assert (now["bio"], now["phone"]) == ("By Ada.", "+44 1")
        assert Enrollment.objects.get(user=cast.ada).bio == "By staff."
        assert "Saved." in said(ada, ada.post(PROFILE, now))
        row = Enrollment.objects.get(user=cast.ada)
        assert (row.bio, row.phone) == ("By Ada.", "+44 1")

    def test_leaves_alone_what_others_changed_beside(self, cast: Cast) -> None:
        ada = as_person(cast.ada)
        held = fields(ada.get(PROFILE).content.decode(), PROFILE)
        Enrollment.objects.filter(user=cast.ada).update(bio="By staff.")
        refused = ada.post(PROFILE, held | {"phone": "+44 2", "experience_years": "200"})
        assert refused.status_code == 400
        held = fields(refused.content.decode(), PROFILE) | {"experience_years": "20"}
        assert "Saved." in said(ada, ada.post(PROFILE, held))
        row = Enrollment.objects.get(user=cast.ada)
        assert (row.bio, row.phone, row.experience_years) == ("By staff.", "+44 2", 20)
        # The form from before still knows what it was opened with.
        assert ada.post(PROFILE, held | {"bio": "By Ada."}).status_code == 409


class TestPicture:
    def test_is_set_by_a_plain_form_and_removed(self, cast: Cast) -> None:
        ada = as_person(cast.ada)
        file = SimpleUploadedFile("me.png", picture(), "image/png")
        assert "Your picture is saved. Everything is up to date." in said(ada, sent(ada, PROFILE, PICTURE, image=file))
        url = Enrollment.objects.get(user=cast.ada).profile_image_url
        assert url is not None
        assert f'src="{url}"' in ada.get(PROFILE).content.decode()
        assert User.objects.get(pk=cast.ada.pk).avatar_url == url
        assert "is removed" in said(ada, sent(ada, PROFILE, "/me/picture/remove/"))
        assert Enrollment.objects.get(user=cast.ada).profile_image_url is None

    def test_is_refused_with_the_reason(self, cast: Cast) -> None:
        ada, before = as_person(cast.ada), Enrollment.objects.get(user=cast.ada).profile_image_url
        file = SimpleUploadedFile("me.png", b"no picture", "image/png")
        answer = sent(ada, PROFILE, PICTURE, image=file)
        assert answer.status_code == 400
        assert re.search(r'id="image-error" role="alert">[A-Z]', answer.content.decode())
        assert ada.post(PICTURE).status_code == 400
        assert Enrollment.objects.get(user=cast.ada).profile_image_url == before


def test_every_place_has_words_of_its_own() -> None:
    assert set(declaration().targets) - set(places.PLACES) == set()


class TestBookings:
    @pytest.mark.parametrize("own_zone", ["", "Asia/Kolkata"])
    def test_a_time_is_told_by_the_clock_of_whoever_booked(self, cast: Cast, own_zone: str) -> None:
        ada, (client,) = as_person(cast.ada), clients(1)
        booking = requested(client, cast.ada)
        booking.time_zone = "America/New_York"
        booking.save(update_fields=["time_zone"])
        User.objects.filter(pk=cast.ada.pk).update(time_zone=own_zone)
        there = booking.during.lower.astimezone(ZoneInfo("America/New_York"))
        page = text(ada.get(BOOKINGS))
        assert f"{there:%H:%M}\N{EN DASH}{there + dt.timedelta(minutes=50):%H:%M}" in page
        assert "America/New_York, 50 minutes" in page

    def test_a_form_that_is_sent_twice_has_one_effect_and_one_answer(self, cast: Cast) -> None:
        ada, (client,) = as_person(cast.ada), clients(1)
        granted(client, 2)
        booking = requested(client, cast.ada)
        page, where = ada.get(BOOKINGS).content.decode(), f"/me/bookings/{booking.pk}/confirm/"
        assert "Waiting for you" in page
        held = fields(page, where)
        first, second = said(ada, ada.post(where, held)), said(ada, ada.post(where, held))
        assert first == second
        assert "The booking is confirmed." in first
        assert summed(client) == 1
        assert KeyedRequest.objects.get(person_id=cast.ada.pk).body == "The booking is confirmed."
        # Another form for the same thing is another wish.
        other = ada.post(where, {"once": "6a1f7b0e-4a43-4b58-9a34-4f1f36a9c3a1"})
        assert "does not wait to be confirmed any more" in said(ada, other)
        assert "too old" in said(ada, ada.post(where, {"once": "rubbish"}))
        cancel = where.replace("confirm", "cancel")
        assert "What it cost is given back." in said(ada, sent(ada, BOOKINGS, cancel))
        assert (summed(client), Booking.objects.get().state) == (2, BookingState.CANCELLED)
        # The key of one booking's form does nothing to another one.
        another = requested(client, cast.ada, 3)
        assert "too old" in said(ada, ada.post(f"/me/bookings/{another.pk}/confirm/", held))

    def test_are_not_there_for_others(self, cast: Cast) -> None:
        ada, ben, (client,) = as_person(cast.ada), as_person(cast.ben), clients(1)
        booking = requested(client, cast.ada)
        for act in ("confirm", "cancel"):
            answer = ben.post(f"/me/bookings/{booking.pk}/{act}/", {"once": "6a1f7b0e-4a43-4b58-9a34-4f1f36a9c3a1"})
            assert answer.status_code == 404
        assert "Nothing is ahead." in text(ben.get(BOOKINGS))
        # Their client may cancel and not confirm, and nobody's empty purse is a server error.
        mine = as_person(client)
        page = mine.get(BOOKINGS).content.decode()
        assert "confirm/" not in page
        held = {"once": "6a1f7b0e-4a43-4b58-9a34-4f1f36a9c3a2"}
        assert "no credits left" in said(ada, ada.post(f"/me/bookings/{booking.pk}/confirm/", held))
        assert "cancelled" in said(mine, sent(mine, BOOKINGS, f"/me/bookings/{booking.pk}/cancel/"))

    def test_credits_show_every_line(self, cast: Cast) -> None:
        (client,) = clients(1)
        granted(client, 3)
        granted(client, -1)
        words = text(as_person(client).get(CREDITS))
        assert "2 credits" in words
        assert re.search(r"Taken back . minus 1 2 .* Granted \+3 3", words)
        assert "Nothing came or went yet." in text(as_person(cast.ada).get(CREDITS))


class TestAccount:
    def test_takes_another_password_from_whoever_knows_the_one_before(self, cast: Cast) -> None:
        ada, elsewhere = as_person(cast.ada), as_person(cast.ada)
        where, new = "/me/account/password/", "a quite new long word"
        assert "In 1 other place" in text(ada.get(ACCOUNT)).replace("and in", "In")
        wrong = sent(ada, ACCOUNT, where, password="not my word", new_password=new)
        short = sent(ada, ACCOUNT, where, password=PASSWORD, new_password="short")
        assert (wrong.status_code, short.status_code) == (400, 400)
        assert "short" in text(short)
        assert "Your new password holds." in said(ada, sent(ada, ACCOUNT, where, password=PASSWORD, new_password=new))
        assert (ada.get(ACCOUNT).status_code, elsewhere.get(ACCOUNT).status_code) == (200, 303)
        assert User.objects.get(pk=cast.ada.pk).check_password(new)

    def test_ends_sessions(self, cast: Cast) -> None:
        ada, elsewhere, ben = as_person(cast.ada), as_person(cast.ada), as_person(cast.ben)
        where = "/me/account/sessions/"
        assert "everywhere else" in said(ada, ada.post(where, {"others": "yes"}))
        assert (ada.get(ACCOUNT).status_code, elsewhere.get(ACCOUNT).status_code) == (200, 303)
        assert "You are signed out everywhere." in said(ada, ada.post(where))
        assert not OpenSession.objects.filter(person_id=cast.ada.pk).exists()
        assert ben.get(ACCOUNT).status_code == 200

    def test_goes_for_good_with_the_password_and_for_staff_not_at_all(self, cast: Cast) -> None:
        ada, sam = as_person(cast.ada), as_person(cast.sam)
        refused = sent(ada, LEAVE, password="not my word")
        assert (refused.status_code, User.objects.filter(pk=cast.ada.pk).exists()) == (400, True)
        assert "You are deleted here." in said(ada, sent(ada, LEAVE, password=PASSWORD))
        assert not User.objects.filter(pk=cast.ada.pk).exists()
        assert sam.post(LEAVE, {"password": PASSWORD}).status_code == 409
        assert User.objects.filter(pk=cast.sam.pk).exists()


def test_times_are_told_in_the_zone_that_the_person_chose() -> None:
    (client,) = clients(1)
    granted(client, 1)
    own = as_person(client)
    assert "There is no zone of this name" in said(own, sent(own, ACCOUNT, "/me/account/zone/", zone="Mars/Crater"))
    assert 'data-local="day"' in own.get(CREDITS).content.decode()
    assert "in Pacific/Kiritimati from now on" in said(
        own, sent(own, ACCOUNT, "/me/account/zone/", zone="Pacific/Kiritimati")
    )
    page = own.get(CREDITS).content.decode()
    line = CreditEntry.objects.get(person_id=client.pk)
    there = line.at.astimezone(ZoneInfo("Pacific/Kiritimati"))
    assert f"{there:%-d %b %Y}</time>" in page
    assert f"{there:%H:%M} +14" in page
    assert "data-local" not in page
