"""P10: the page where people sign in keeps the rules of every other door."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from tests.appointments import clients
from tests.factories import PASSWORD, Cast
from tests.forms import said, sent, text
from tests.integration.test_second_factor import Clock
from tests.integration.test_sign_in import code_in, letter
from therapists.accounts import factors, letters
from therapists.models import OpenSession, User

ME, SIGN_IN, CODE, ADDRESS = "/me/", "/me/sign-in/", "/me/sign-in/code/", "/me/sign-in/address/"
FORGOTTEN, NEW, ACCOUNT = "/me/password/", "/me/password/new/", "/me/account/"
NEW_PASSWORD = "a brand new long word"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _letters_are_posted() -> Iterator[None]:
    yield
    letters.box.wait()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def tried(client: Client, person: User, password: str = PASSWORD, back: str = "") -> Any:
    return sent(client, f"{SIGN_IN}?next={back}" if back else SIGN_IN, email=person.email, password=password)


def test_leads_everybody_to_where_they_belong(cast: Cast, client: Client) -> None:
    assert client.get("/")["Location"] == SIGN_IN
    wrong = tried(client, cast.ada, "not my word")
    assert (wrong.status_code, cast.ada.email in wrong.content.decode()) == (400, True)
    assert "not my word" not in wrong.content.decode()
    answer = tried(client, cast.ada, back=ACCOUNT)
    assert (answer.status_code, answer["Location"], client.get(ACCOUNT).status_code) == (303, ACCOUNT, 200)
    assert client.get(SIGN_IN).status_code == 303
    assert "You are signed out." in said(client, sent(client, ME, "/me/sign-out/"))
    assert client.get(ME).status_code == 303
    for elsewhere in ("https://elsewhere.example/me/", "//elsewhere.example/me/", "/admin/"):
        assert tried(Client(), cast.ada, back=elsewhere)["Location"] == "/"
    staff = Client()
    tried(staff, cast.sam)
    assert staff.get("/")["Location"] == "/admin/"
    booker, (person,) = Client(), clients(1)
    booker.force_login(person)
    assert (client.get("/").status_code, booker.get("/")["Location"]) == (303, "/me/bookings/")


def test_whoever_guesses_waits_here_too(cast: Cast, client: Client, settings: Any) -> None:
    answers = [tried(client, cast.ada, f"guess {n}") for n in range(settings.AXES_FAILURE_LIMIT)]
    assert {one.status_code for one in answers[:-1]} == {400}
    right = tried(client, cast.ada)
    assert (right.status_code, client.get(ME).status_code) == (429, 303)
    assert "Retry-After" in right
    # Neither does the password's own form let anybody guess on.
    ben = Client()
    ben.force_login(cast.ben)
    for n in range(settings.AXES_FAILURE_LIMIT):
        sent(ben, "/me/account/leave/", password=f"guess {n}")
    assert ben.post("/me/account/leave/", {"password": PASSWORD}).status_code == 429
    assert User.objects.filter(pk=cast.ben.pk).exists()


def test_p10_a_password_alone_opens_nothing_where_a_second_factor_is_set_up(
    cast: Cast, client: Client, clock: Clock
) -> None:
    clock.code(cast.ada)
    assert tried(client, cast.ada, back=ACCOUNT)["Location"].startswith(CODE)
    for address in (ME, ACCOUNT, "/me/bookings/", "/me/account/leave/"):
        answer = client.get(address)
        assert (answer.status_code, answer["Location"].startswith(CODE)) == (303, True)
    assert client.post("/me/account/sessions/").status_code == 303
    assert OpenSession.objects.filter(person_id=cast.ada.pk).exists(), "half a session ends nobody's others"
    assert sent(client, CODE, code="000000").status_code == 400
    assert sent(client, f"{CODE}?next={ACCOUNT}", code=clock.code(cast.ada))["Location"] == ACCOUNT
    assert client.get(ME).status_code == 200
    # Leaving takes it once more when it was shown too long ago.
    clock.now += factors.FRESH_SECONDS + 60
    assert sent(client, "/me/account/leave/", password=PASSWORD, code="000000").status_code == 400
    assert User.objects.filter(pk=cast.ada.pk).exists()
    left = sent(client, "/me/account/leave/", password=PASSWORD, code=clock.code(cast.ada))
    assert "You are deleted here." in said(client, left)


def test_p10_an_address_that_somebody_gave_themselves_is_proven_at_the_next_sign_in(cast: Cast) -> None:
    first, client = Client(), Client()
    first.force_login(cast.ada)
    told = said(first, sent(first, ME, ME, email="ada@new.example.org"))
    assert "we mail a code to your new address" in told
    letters.box.wait()
    assert [one.to for one in mail.outbox] == [[cast.ada.email]], "the address given up is told"
    cast.ada.refresh_from_db()
    assert tried(client, cast.ada)["Location"] == ADDRESS
    assert client.get(ME).status_code == 303
    code = code_in(letter("ada@new.example.org"))
    assert sent(client, ADDRESS, code="WRONG").status_code == 400
    assert sent(client, ADDRESS, code=code)["Location"] == "/"
    assert client.get(ME).status_code == 200
    assert tried(Client(), cast.ada)["Location"] == "/"
    # Nothing is asked of whoever has shown no password.
    assert Client().get(ADDRESS)["Location"] == SIGN_IN


def test_a_lost_password_is_replaced_by_a_code_and_tells_nobody_who_is_here(cast: Cast) -> None:
    open_before, client, stranger = Client(), Client(), Client()
    open_before.force_login(cast.ada)
    known, unknown = sent(client, FORGOTTEN, email=cast.ada.email), sent(stranger, FORGOTTEN, email="no@example.org")
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"]) == (303, NEW)
    code = code_in(letter(cast.ada.email))
    assert sent(stranger, NEW, code=code, new_password=NEW_PASSWORD).status_code == 400
    assert sent(client, NEW, code="WRONG", new_password=NEW_PASSWORD).status_code == 400
    short = sent(client, NEW, code=code, new_password="short")
    assert (short.status_code, "short" in text(short)) == (400, True)
    assert "Your new password holds." in said(client, sent(client, NEW, code=code, new_password=NEW_PASSWORD))
    assert open_before.get(ME).status_code == 303
    assert tried(client, cast.ada, NEW_PASSWORD)["Location"] == "/"
    late = Client()
    assert "holds no longer" in said(late, late.get(NEW))
