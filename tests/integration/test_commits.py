"""P1: what was rolled back is never answered as saved, however the error was swallowed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models.signals import post_save
from django.http import JsonResponse
from django.test import Client
from django.urls import include, path

from interventions.api.base import ApiView
from interventions.commits import RolledBack
from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment, User

BEFORE, AFTER = "Twelve years with couples.", "Saved, they said."


def by_sql() -> None:
    with suppress(DatabaseError):
        fakes.sql("SELECT nonsense")


def by_update() -> None:
    with suppress(DatabaseError):
        User.objects.update(email="same@example.org")


def by_save() -> None:
    """Fails in the database within `save`, which makes no savepoint."""
    with suppress(DatabaseError):
        User(email="ADA.quist@example.org").save()


def by_python_in_a_save() -> None:
    """Never reaches the database: only Django knows that the transaction is lost."""
    perhaps: Any = "perhaps"
    with suppress(ValidationError):
        User(email="new@example.org", is_staff=perhaps).save()


def by_a_block_without_savepoint() -> None:
    with suppress(ZeroDivisionError), transaction.atomic(savepoint=False):
        raise ZeroDivisionError


def by_a_block_inside() -> None:
    with suppress(RolledBack), transaction.atomic(savepoint=False):
        by_sql()


def by_hanging_up() -> None:
    connection.close()


SWALLOWED: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        by_sql, by_update, by_save, by_python_in_a_save, by_a_block_without_savepoint, by_a_block_inside, by_hanging_up,
    )
}  # fmt: skip


class Careless(ApiView):
    """Says saved whatever became of it."""

    authentication_classes: Any = []
    permission_classes: Any = []

    def post(self, request: Any, how: str) -> JsonResponse:
        with transaction.atomic():
            Enrollment.objects.update(bio=AFTER)
            transaction.on_commit(lambda: TOLD.append(how))
            SWALLOWED[how]()
        return JsonResponse({"success": True})


TOLD: list[str] = []
urlpatterns = [path("api/v1/careless/<str:how>/", Careless.as_view()), path("", include("config.urls"))]


@pytest.fixture
def told() -> Iterator[list[str]]:
    TOLD.clear()
    yield TOLD
    TOLD.clear()


@contextmanager
def receiving(receiver: Callable[..., None]) -> Iterator[None]:
    post_save.connect(receiver, sender=Enrollment, weak=False)
    try:
        yield
    finally:
        post_save.disconnect(receiver, sender=Enrollment)


def bios() -> set[str | None]:
    return set(Enrollment.objects.values_list("bio", flat=True))


@pytest.mark.urls("tests.integration.test_commits")
def test_p1_what_was_rolled_back_in_silence_is_no_2xx(cast: Cast, client: Client, told: list[str]) -> None:
    before = bios()
    for how in SWALLOWED:
        answer = client.post(f"/api/v1/careless/{how}/")
        assert (how, answer.status_code, answer["Content-Type"]) == (how, 500, "application/problem+json")
        assert "nonsense" not in answer.text
        assert bios() == before
        assert told == [], "nothing that waits for a commit may run without one"


def test_p1_a_receiver_that_swallows_an_error_does_not_lose_an_edit_in_silence(cast: Cast, client: Client) -> None:
    client.force_login(cast.ada)
    with receiving(lambda **_: by_sql()):
        answer = client.patch("/api/v1/therapists/me/", {"bio": AFTER}, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert Enrollment.objects.get(user=cast.ada).bio == BEFORE
    # One with a savepoint costs nobody anything.
    with receiving(in_a_savepoint):
        assert client.patch("/api/v1/therapists/me/", {"bio": AFTER}, "application/json").status_code == 200
    assert Enrollment.objects.get(user=cast.ada).bio == AFTER


def in_a_savepoint(**_: object) -> None:
    with suppress(DatabaseError), transaction.atomic():
        fakes.sql("SELECT nonsense")


@pytest.mark.usefixtures("cast")
class TestABlock:
    def test_p1_inside_another_says_so_and_the_outer_one_may_go_on(self) -> None:
        with transaction.atomic():
            Enrollment.objects.update(bio=AFTER)
            with pytest.raises(RolledBack), transaction.atomic():
                Enrollment.objects.update(bio="Lost.")
                by_save()
        assert bios() == {AFTER}

    def test_that_is_undone_on_purpose_is_no_error(self) -> None:
        with transaction.atomic():
            Enrollment.objects.update(bio=AFTER)
            in_a_savepoint()
            transaction.set_rollback(True)
        assert AFTER not in bios()

    def test_that_was_mended_by_a_savepoint_of_its_own_is_kept(self) -> None:
        with transaction.atomic():
            Enrollment.objects.update(bio=AFTER)
            place = transaction.savepoint()
            by_sql()
            transaction.savepoint_rollback(place)
        assert bios() == {AFTER}

    def test_that_raises_tells_its_own_error_and_the_next_one_is_unharmed(self) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            by_save()
            raise ZeroDivisionError
        with transaction.atomic():
            Enrollment.objects.update(bio=AFTER)
        assert bios() == {AFTER}
