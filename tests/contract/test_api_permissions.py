"""P10: who reaches what over the API, by the one table; every address stands in it."""

import json
import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from interventions import causes
from interventions.models import Cause, Intervention, KeyedRequest, RetryRun
from tests import appointments, fakes
from tests.authorization import API, ELSEWHERE, ME, PAGE, WHO, page
from tests.factories import Cast, UserFactory
from therapists.models import Booking, Enrollment, Status, User, UserType
from therapists.roles import LEAD, OPERATOR, READ_ONLY


def caller(who: str, cast: Cast) -> User | None:
    if who == "anonymous":
        return None
    if who.endswith("therapist"):
        return cast.ada if who == "therapist" else cast.ben
    if who == "client":
        return UserFactory.create(user_type=UserType.CLIENT)
    person = UserFactory.create(user_type=UserType.STAFF, is_staff=True, is_superuser=who == "superuser")
    if who == "superuser":
        return person
    person.groups.add(Group.objects.get(name={"read-only": READ_ONLY, "operator": OPERATOR, "lead": LEAD}[who]))
    return person


def ask(client: Client, method: str, address: str, body: object, *, key: str = "") -> Any:
    sent, headers = "" if body is None else json.dumps(body), {"Idempotency-Key": key} if key else {}
    return client.generic(method, address, sent, "application/json", headers=headers)


@pytest.mark.parametrize(("method", "address", "body", "statuses"), API, ids=lambda v: v if isinstance(v, str) else "")
def test_each_reaches_what_is_theirs_and_nothing_else(
    method: str, address: str, body: object, statuses: tuple[int, ...], cast: Cast
) -> None:
    for who, status in zip(WHO, statuses, strict=True):
        expect(status, who, method, address, body, cast)
        with fakes.asleep():
            Booking.objects.all().delete()
            Intervention.objects.all().delete()
            Cause.objects.all().delete()
            KeyedRequest.objects.all().delete()


@pytest.mark.parametrize(("address", "sent", "statuses"), ME, ids=lambda v: v if isinstance(v, str) else "")
def test_each_reaches_their_own_pages_and_nobody_elses(
    address: str, sent: dict[str, str] | None, statuses: tuple[int, ...], cast: Cast
) -> None:
    for who, status in zip(WHO, statuses, strict=True):
        named = address.format(booking=booked(cast).pk if "{booking}" in address else 0)
        client = Client()
        if (person := caller(who, cast)) is not None:
            client.force_login(person)
        key = str(uuid.uuid4())
        form = None if sent is None else {name: value.format(key=key) for name, value in sent.items()}
        answer = client.get(named) if form is None else client.post(named, form)
        assert answer.status_code == status, f"{who}: {answer.status_code}"
        if who == "anonymous" and "/sign-in/" in answer.get("Location", ""):
            assert answer.content == b""
        with fakes.asleep():
            Booking.objects.all().delete()


def test_every_page_of_people_stands_in_the_table() -> None:
    found = {
        re.sub(r"<[^>]+>", "{booking}", f"/{pattern.pattern}" + str(inner.pattern))
        for pattern in get_resolver().url_patterns
        if isinstance(pattern, URLResolver) and str(pattern.pattern) == "me/"
        for inner in pattern.url_patterns
    }
    assert found == {address for address, _, _ in ME if address.startswith("/me/")}


def expect(status: int, who: str, method: str, address: str, body: object, cast: Cast) -> None:
    item = Intervention.objects.create(
        operation="sync", entity_id=str(cast.ada.pk), person_id=cast.ada.pk, target="therapist_profiles", error="x"
    )
    enrollment = Enrollment.objects.get(user=cast.ada)
    client = Client()
    if (person := caller(who, cast)) is not None:
        client.force_login(person)
    run = RetryRun.objects.create(title="x", state="running", asked_by="system", asked_at=item.timestamp)
    cause = causes.ensure(fingerprint=item.cause, at=timezone.now())
    assert cause is not None
    if "{key}" in address:
        KeyedRequest.objects.create(
            id=uuid.uuid4(), person_id=cast.ada.pk, key="adas", method="PATCH", route="/", digest=""
        )
    named = address.format(
        item=item.pk, enrollment=enrollment.pk, run=run.pk, cause=cause.pk, ada=cast.ada.pk, key="adas",
        booking=booked(cast).pk if "{booking}" in address else 0,
    )  # fmt: skip
    answer = ask(client, method, named, body, key="" if method == "GET" else str(uuid.uuid4()))
    assert answer.status_code == status, f"{who}: {answer.content!r}"
    if answer.status_code >= 400:
        assert answer["Content-Type"] == "application/problem+json"
        assert ("WWW-Authenticate" in answer) is (answer.status_code == 401)
    if answer.status_code in {401, 403}:
        enrollment.refresh_from_db()
        item.refresh_from_db()
        assert (enrollment.status, enrollment.bio, item.state) == (
            Status.APPROVED,
            "Twelve years with couples.",
            "open",
        )


def booked(cast: Cast) -> Booking:
    (client,) = appointments.clients(1)
    appointments.granted(client, 1)
    return appointments.requested(client, cast.ada)


def test_a_therapist_sees_and_writes_their_own_data_whatever_they_send(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.ada)
    for field in ("id", "user_id", "person_id", "status", "email", "is_staff"):
        answer = client.patch("/api/v1/therapists/me/", {"bio": "x", field: cast.ben.pk}, "application/json")
        assert answer.status_code == 400
    assert client.get("/api/v1/therapists/me/").json()["id"] == cast.ada.pk
    client.patch("/api/v1/therapists/me/", {"bio": "Ada's alone."}, "application/json")
    assert set(Enrollment.objects.filter(bio="Ada's alone.").values_list("user", flat=True)) == {cast.ada.pk}


def test_staff_without_the_flag_are_no_staff(cast: Cast) -> None:
    """A permission given to a therapist by mistake opens nothing."""
    cast.ada.groups.add(Group.objects.get(name=LEAD))
    client = Client()
    client.force_login(cast.ada)
    assert client.get("/api/v1/enrollments/").status_code == 403


def test_permission_is_read_from_the_source_at_every_request(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.vic)
    assert client.get("/api/v1/interventions/").status_code == 200
    cast.vic.user_permissions.clear()
    assert client.get("/api/v1/interventions/").status_code == 403
    User.objects.filter(pk=cast.vic.pk).update(is_active=False)
    assert client.get("/api/v1/interventions/").status_code == 401


def test_the_page_shows_the_table_as_it_is() -> None:
    assert PAGE.read_text() == page(), "python -m tests.authorization writes it anew"


def test_every_address_of_the_api_stands_in_the_table() -> None:
    told = {f"{method} {address}" for method, address, *_ in API} | ELSEWHERE
    shapes = {re.sub(r"\{\w+\}", "*", line) for line in told}
    assert set(_addresses()) - shapes == set()


def views() -> list[tuple[str, type[Any]]]:
    """Give every route under /api/v1/, with a star for each name in it, and its view."""
    found: list[tuple[str, type[Any]]] = []
    for resolver in get_resolver().url_patterns:
        if isinstance(resolver, URLResolver) and str(resolver.pattern) == "api/v1/":
            for entry in resolver.url_patterns:
                assert isinstance(entry, URLPattern)
                view = getattr(entry.callback, "view_class")  # noqa: B009 - the framework sets it
                found.append((re.sub(r"<\w+:\w+>", "*", str(entry.pattern)), view))
    assert len(found) > 10
    return found


def _addresses() -> list[str]:
    methods = ("get", "post", "put", "patch", "delete")
    return [f"{m.upper()} /api/v1/{route}" for route, view in views() for m in methods if hasattr(view, m)]
