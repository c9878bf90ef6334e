"""What a save over the API asks of PostgreSQL: each round trip that comes back makes every save slower."""

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from interventions import idempotency
from interventions.idempotency import Asked
from interventions.patience import looking
from sync import net, queries
from sync.mirrors import declaration
from tests import fakes
from tests.factories import Cast
from therapists.api.serializers import profile_of
from therapists.models import Enrollment
from therapists.queries import profile
from therapists.versions import number_of

ME = "/api/v1/therapists/me/"
# Who calls (2), the transaction and its limits (3), the row locked and written (2), its last limits (1), and the profile
# with its places as they are then (1).
SAVED = 9
# The answer kept: the key goes along with the limits, its outcome with the last ones.
KEY = 1
# Who calls (2), a transaction that finds the key taken (4), and what is kept (1).
AGAIN = 7


@pytest.fixture
def ada(client: Client, cast: Cast) -> Client:
    client.force_login(cast.ada)
    patched(client, "warm")
    return client


def patched(client: Client, bio: str, key: str = "") -> list[str]:
    """Save and give the statements that it took."""
    headers = {"Idempotency-Key": key} if key else {}
    with CaptureQueriesContext(connection) as asked:
        assert client.patch(ME, {"bio": bio}, "application/json", headers=headers).status_code == 200
    return [query["sql"][:90] for query in asked.captured_queries]


class TestASave:
    def test_takes_few_statements(self, ada: Client) -> None:
        assert len(patched(ada, "counted")) <= SAVED, patched(ada, "shown")

    def test_with_a_key_takes_one_more(self, ada: Client) -> None:
        assert len(patched(ada, "counted", "first")) <= SAVED + KEY, patched(ada, "shown", "second")

    def test_that_was_made_before_takes_fewer(self, ada: Client) -> None:
        patched(ada, "once", "again")
        assert len(patched(ada, "once", "again")) <= AGAIN

    def test_reads_all_that_is_shown_of_a_profile_and_no_more(self, cast: Cast, django_assert_num_queries: Any) -> None:
        row, _ = profile("user_id", cast.ada.pk)
        with django_assert_num_queries(0):
            assert profile_of(row)["full_name"] == cast.ada.full_name
        assert row.get_deferred_fields()
        assert row.user is not None
        assert row.user.get_deferred_fields()


def test_p1_a_number_that_no_column_holds_is_none_and_fails_no_write(cast: Cast) -> None:
    row = Enrollment.objects.get(user=cast.ada)
    asked = Asked(cast.ada.pk, "key", "PATCH", "/there/", "digest")

    def told() -> list[tuple[Any, ...]]:
        with idempotency.asking(asked), transaction.atomic(), idempotency.keyed():
            idempotency.remember(number=number_of(row.pk, person_id=cast.ada.pk))
        found = fakes.sql("SELECT revision FROM keyed_request WHERE id = %s", asked.id)
        fakes.sql("DELETE FROM keyed_request")
        return found

    newest = fakes.sql(
        "SELECT greatest(e.revision, u.revision) FROM therapist_enrollments e JOIN users u ON u.id = user_id WHERE u.id = %s",
        cast.ada.pk,
    )
    assert told() == newest != [(None,)]
    with transaction.atomic():
        for table in ("users", "therapist_enrollments"):
            fakes.sql(f"ALTER TABLE {table} RENAME COLUMN revision TO elsewhere")
        assert told() == [(None,)]
        transaction.set_rollback(True)


class TestALook:
    def test_is_bounded_at_no_round_trip_of_its_own(
        self, transactional_db: None, django_assert_num_queries: Any
    ) -> None:
        before = fakes.sql("SHOW lock_timeout"), fakes.sql("SHOW statement_timeout")
        with looking(), django_assert_num_queries(2):
            assert fakes.sql("SHOW lock_timeout") == [("20ms",)]
            assert fakes.sql("SHOW statement_timeout") == [("300ms",)]
        assert (fakes.sql("SHOW lock_timeout"), fakes.sql("SHOW statement_timeout")) == before

    def test_ends_in_time(self, transactional_db: None) -> None:
        with pytest.raises(DatabaseError), looking(statement_ms=50):
            fakes.sql("SELECT pg_sleep(60)")

    def test_that_fails_harms_nothing_that_was_done_before(self, cast: Cast) -> None:
        with transaction.atomic():
            cast.ada.full_name = "Ada the First"
            cast.ada.save(update_fields=["full_name"])
            with pytest.raises(DatabaseError), looking():
                fakes.sql("SELECT no_such_column")
        cast.ada.refresh_from_db()
        assert cast.ada.full_name == "Ada the First"


def test_states_are_read_as_the_view_tells_them(cast: Cast) -> None:
    with fakes.refusing("therapist_profiles", "bio <> 'refused'"):
        fakes.sql("UPDATE therapist_enrollments SET bio = 'refused' WHERE user_id = %s", cast.ada.pk)
        fakes.settled()
    fakes.sql("DELETE FROM users WHERE id = %s", cast.ben.pk)
    people = [cast.ada.pk, cast.ben.pk, cast.cleo.pk, cast.vic.pk]
    told = fakes.sql(
        f"SELECT {', '.join(net.STATE)} FROM contract_sync_state WHERE person_id = ANY(%s) ORDER BY person_id, target",
        people,
    )
    assert len({row[2] for row in told}) > 2
    assert len(told) >= 3 * len(declaration().targets)
    assert fakes.sql(f"SELECT {', '.join(net.STATE)} FROM keepwell_states(%s)", people) == told
    for person in people:
        (value,) = fakes.sql(f"SELECT {queries.states_beside('%s::bigint')}", person)[0]
        assert queries.told_beside(value) == queries.sync_states([person])
