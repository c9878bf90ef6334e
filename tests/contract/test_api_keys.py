"""P5 for every unsafe address of the API: sent twice with one key it is one request, also where the answer was lost."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from interventions import causes
from interventions.api.base import ApiView, Key
from interventions.models import Cause, Intervention, KeyedRequest, RetryRun
from tests import appointments, fakes
from tests.authorization import API, WHO
from tests.contract.test_api_permissions import ask, booked, views
from tests.factories import Cast, UserFactory
from therapists.models import Booking, CreditEntry, Enrollment, UserType
from therapists.roles import LEAD

# Sending it twice changes nothing further, or there is nobody yet whose key it could be.
IGNORED = {
    "auth/session/", "auth/sessions/", "applications/", "operations/*/", "second-bests/",
    "therapists/me/bio-suggestion/",
}  # fmt: skip


def test_p5_a_key_is_ignored_nowhere_but_here() -> None:
    ignored = {route for route, view in views() if issubclass(view, ApiView) and view.key is Key.IGNORED}
    assert ignored == IGNORED
    keyless = {(route, method) for route, view in views() for method in getattr(view, "keyless", ())}
    assert keyless == {("therapists/me/", "DELETE")}, "after which nobody is left to ask again"


def test_p5_what_is_exact_needs_a_key(cast: Cast) -> None:
    exact = {route for route, view in views() if issubclass(view, ApiView) and view.key is Key.REQUIRED}
    assert exact == {
        "bookings/", "bookings/*/confirm/", "bookings/*/cancel/", "credits/", "enrollments/*/decision/",
    }  # fmt: skip
    root = Client()
    root.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    for route in exact:
        answer = ask(root, "POST", f"/api/v1/{route.replace('*', '1')}", {})
        assert (answer.status_code, answer.json()["code"]) == (400, "key_required"), route


def test_p5_every_unsafe_address_has_one_effect_and_one_answer(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    lead = UserFactory.create(user_type=UserType.STAFF, is_staff=True)
    lead.groups.add(Group.objects.get(name=LEAD))
    tried = 0
    for number, (method, address, body, statuses) in enumerate(API):
        of = dict(zip(WHO, statuses, strict=True))
        if (
            method == "GET"
            or (of["lead"] >= 300 and of["therapist"] >= 300)
            or address.startswith(("/api/v1/auth/", *(f"/api/v1/{route}" for route in IGNORED)))
        ):
            continue
        tried += 1
        client = Client()
        client.force_login(lead if of["lead"] < 300 else cast.ada)
        named = address.format(**objects(cast), booking=booked(cast).pk if "{booking}" in address else 0)
        line, key = f"{method} {address}", f"k-{number}"
        first, again = (ask(client, method, named, body, key=key) for _ in range(2))
        assert first.status_code < 300, f"{line}: {first.content!r}"
        assert "Idempotent-Replayed" not in first, line
        assert (again.status_code, again.content, again["Idempotent-Replayed"]) == (
            first.status_code, first.content, "true"
        ), line  # fmt: skip
        fakes.sql("UPDATE keyed_request SET status = NULL, headers = NULL, body = NULL, at = at - interval '1 hour'")
        composed, then = (ask(client, method, named, body, key=key) for _ in range(2))
        assert (composed.status_code, shape(composed)) == (first.status_code, shape(first)), line
        assert then.content == composed.content, line
        assert KeyedRequest.objects.filter(key=key).count() == 1, line
        with fakes.asleep():
            Intervention.objects.all().delete()
            Cause.objects.all().delete()
            Booking.objects.all().delete()
        Enrollment.objects.filter(user=cast.ada).update(status="approved", approved_at=timezone.now())
    assert tried > 12
    assert "interventions.key.unclaimed" not in caplog.text


def objects(cast: Cast) -> dict[str, Any]:
    item = Intervention.objects.create(
        operation="sync", entity_id=str(cast.ada.pk), person_id=cast.ada.pk, target="therapist_profiles", error="x"
    )
    run = RetryRun.objects.create(title="x", state="running", asked_by="system", asked_at=item.timestamp)
    cause = causes.ensure(fingerprint=item.cause, at=timezone.now())
    assert cause is not None
    return {
        "item": item.pk, "enrollment": Enrollment.objects.get(user=cast.ada).pk, "run": run.pk, "cause": cause.pk,
        "key": "none",
    }  # fmt: skip


def shape(answer: Any) -> set[str]:
    return set(answer.json()) if answer.content else set()


def test_p5_what_is_exact_is_done_once_also_where_its_answer_was_lost(cast: Cast) -> None:
    lead, (client,) = UserFactory.create(user_type=UserType.STAFF, is_staff=True), appointments.clients(1)
    lead.groups.add(Group.objects.get(name=LEAD))
    asked = [
        (lead, "/api/v1/credits/", {"person_id": client.pk, "amount": 3}),
        (client, "/api/v1/bookings/", {"therapist_id": cast.ada.pk} | appointments.slot()),
    ]
    for person, address, body in asked:
        browser = Client()
        browser.force_login(person)
        first = ask(browser, "POST", address, body, key="k")
        fakes.sql("UPDATE keyed_request SET status = NULL, headers = NULL, body = NULL, at = at - interval '1 hour'")
        composed, again = (ask(browser, "POST", address, body, key="k") for _ in range(2))
        assert (first.status_code, composed.status_code, again.content) == (201, 201, composed.content), first.content
        assert composed.json()["data"] == first.json()["data"]
    assert (CreditEntry.objects.count(), Booking.objects.count()) == (1, 1)
