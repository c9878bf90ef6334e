"""The first week's figures: right on NULL, case, duplicates and orphans, and honest about errors."""

import datetime as dt
import json
from collections import Counter
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from interventions import failures
from interventions.middleware import CountFailures
from interventions.models import FailedRequest
from sync.consistency import Consistency
from tests import fakes
from tests.factories import therapists
from therapists import week

pytestmark = pytest.mark.django_db(transaction=True)


def said() -> dict[str, Any]:
    out = StringIO()
    with suppress(CommandError):
        call_command("week_one", "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def share(fact: str) -> tuple[int, int]:
    one = said()["facts"][fact]
    return one["consistent"], one["of"]


class TestConsistency:
    def test_null_on_both_sides_is_consistent_and_null_on_one_is_not(self) -> None:
        people = therapists(4)
        fakes.sql("UPDATE therapist_enrollments SET bio = NULL WHERE user_id = %s", people[0].pk)
        fakes.settled()
        assert share("bio") == (4, 4)
        assert share("avatar") == (4, 4), "none of them has one"
        with fakes.asleep():
            fakes.sql("UPDATE therapist_profiles SET bio = NULL WHERE user_id = %s", people[1].pk)
        assert share("bio") == (3, 4)

    def test_case_of_an_address_neither_loses_nor_doubles_anybody(self) -> None:
        people = therapists(2)
        with fakes.asleep():
            fakes.sql("UPDATE therapist_enrollments SET email = upper(email) WHERE user_id = %s", people[0].pk)
        assert share("bio") == (2, 2), "the founding join by address would have lost one"
        assert share("email") == (1, 2), "the spelling is a fact of its own"

    def test_duplicates_and_orphans_are_no_people(self) -> None:
        people = therapists(2)
        fakes.sql("INSERT INTO therapist_enrollments (email, updated_at) VALUES (%s, now())", people[0].email)
        fakes.sql("INSERT INTO therapist_profiles (updated_at, bio) VALUES (now(), 'Nobody.')")
        fakes.settled()
        assert share("bio") == (2, 2)

    def test_a_profile_that_must_be_there_and_is_not_counts_against_every_fact_of_it(self) -> None:
        people = therapists(2)
        with fakes.asleep():
            fakes.sql("DELETE FROM therapist_profiles WHERE user_id = %s", people[0].pk)
        assert share("bio") == (1, 2)
        assert share("phone") == (1, 2)
        assert share("name") == (2, 2), "no column of a profile repeats it"

    def test_nearly_everybody_is_not_everybody(self) -> None:
        assert Consistency("bio", 999_999, 1_000_000).percent == 99.99
        assert Consistency("bio", 0, 0).percent == 100

    def test_what_cannot_be_read_is_not_called_consistent(self) -> None:
        therapists(1)
        with fakes.renamed("therapist_profiles", "phone"), pytest.raises(CommandError) as caught:
            call_command("week_one", stdout=StringIO())
        assert caught.value.returncode == 2

    def test_is_on_target_when_everything_is(self) -> None:
        therapists(1)
        assert said()["is_on_target"] is True


class TestErrors:
    WHERE = "/api/v1/therapists/me/"

    def answered(self, status: int, counting: CountFailures | None = None) -> None:
        counting = counting or CountFailures(lambda request: HttpResponse(status=status))
        counting.get_response = lambda request: HttpResponse(status=status)
        request = RequestFactory().patch(self.WHERE)
        counting(request)

    def test_counts_an_error_of_ours_and_nothing_else(self) -> None:
        for status in (200, 404, 409, 500, 503):
            self.answered(status)
        assert sum(FailedRequest.objects.values_list("number", flat=True)) == 2

    def test_a_success_asks_the_database_nothing(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            self.answered(200)

    def test_names_the_route_and_shows_the_watched_first(self) -> None:
        hour = timezone.now().replace(minute=0, second=0, microsecond=0)
        failures.count(Counter({(week.WATCHED["Profile edit"], hour): 2, ("GET /elsewhere", hour): 1}))
        failures.count(Counter({(week.WATCHED["Profile edit"], hour - dt.timedelta(days=8)): 5}))
        assert said()["errors"] == {"Avatar upload": 0, "Profile edit": 2, "Therapist approval": 0, "GET /elsewhere": 1}

    def test_the_watched_operations_are_routes(self) -> None:
        for operation in week.WATCHED.values():
            method, _, path = operation.partition(" ")
            client = Client(raise_request_exception=False)
            found = client.generic(method, path.replace("<int:pk>", "1")).resolver_match
            assert found is not None
            assert f"{method} /{found.route}" == operation

    def test_p3_what_cannot_be_counted_now_is_counted_with_the_next(self) -> None:
        counting = CountFailures(lambda request: HttpResponse())
        with fakes.locked_table("failed_request"):
            took = fakes.milliseconds(lambda: self.answered(500, counting))
        assert took < 5_000
        assert not FailedRequest.objects.exists()
        self.answered(500, counting)
        assert FailedRequest.objects.get().number == 2

    def test_survives_the_request_whose_transaction_was_undone(self) -> None:
        def failing(request: object) -> HttpResponse:
            with transaction.atomic():
                connection.set_rollback(True)
            return HttpResponse(status=500)

        CountFailures(failing)(RequestFactory().get("/"))
        assert FailedRequest.objects.count() == 1
