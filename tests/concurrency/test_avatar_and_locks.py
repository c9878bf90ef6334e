"""The interleavings about who waits for whom and which avatar is the newest, whatever clocks and commits say."""

import threading
from collections.abc import Callable
from itertools import permutations

import pytest

from sync.models import Debt
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

Open = Callable[..., fakes.Connection]
pytestmark = pytest.mark.usefixtures("database_alone")
WRITES = {
    "users": "UPDATE users SET avatar_url = %s WHERE id = %s",
    "enrollments": "UPDATE therapist_enrollments SET profile_image_url = %s WHERE user_id = %s",
    "profiles": "UPDATE therapist_profiles SET profile_image_url = %s WHERE user_id = %s",
}
BIO = "UPDATE therapist_enrollments SET bio = %s WHERE user_id = %s"
REASON = "UPDATE therapist_enrollments SET status_reason = %s WHERE user_id = %s"
AT_ONCE_MS = 1000


class TestTheNewestOfThreeWriters:
    @pytest.mark.parametrize(("first", "second"), list(permutations(WRITES, 2)))
    def test_p2_i1_a_write_that_begins_first_and_commits_last(
        self, ada: User, second_connection: Open, first: str, second: str
    ) -> None:
        a, b = second_connection(), second_connection()
        a.execute("BEGIN")
        a.execute(WRITES[first], ["/older", ada.pk])
        b.execute(WRITES[second], ["/newer", ada.pk])
        assert fakes.silently_behind() == set()
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.avatars(ada) == {"/newer"}

    @pytest.mark.parametrize("later", WRITES)
    def test_p2_the_later_write_of_an_older_transaction_wins_whatever_its_clock_says(
        self, ada: User, second_connection: Open, later: str
    ) -> None:
        a = second_connection()
        a.execute("BEGIN")
        (began,) = a.execute("SELECT now()").fetchone() or (None,)
        earlier = "users" if later != "users" else "profiles"
        fakes.sql(WRITES[earlier], "/earlier", ada.pk)
        # A clock that is a year ahead, on the older write: no time decides anything.
        for table in ("therapist_enrollments", "therapist_profiles"):
            fakes.sql(f"UPDATE {table} SET updated_at = now() + interval '1 year' WHERE user_id = %s", ada.pk)
        fakes.settled()
        a.execute(WRITES[later], ["/later", ada.pk])
        a.execute("UPDATE therapist_profiles SET updated_at = %s WHERE user_id = %s", [began, ada.pk])
        a.execute("COMMIT")
        fakes.settled()
        assert fakes.avatars(ada) == {"/later"}

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_p2_i2_a_caller_with_an_old_snapshot_writes_the_newest(
        self, ada: User, second_connection: Open, level: str
    ) -> None:
        a = second_connection()
        a.execute(f"BEGIN ISOLATION LEVEL {level}")
        a.execute("SELECT FROM users")
        fakes.sql(BIO, "another fact", ada.pk)
        a.execute(WRITES["users"], ["/rr", ada.pk])
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        assert Debt.objects.filter(person_id=ada.pk, code="uncopied").exists()
        fakes.settled()
        assert (fakes.avatars(ada), Profile.objects.get(user=ada).bio) == ({"/rr"}, "another fact")

    def test_p2_an_old_snapshots_avatar_does_not_go_over_a_newer_one(self, ada: User, second_connection: Open) -> None:
        a = second_connection()
        a.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        a.execute(WRITES["enrollments"], ["/older", ada.pk])
        fakes.sql(WRITES["users"], "/newer", ada.pk)
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.avatars(ada) == {"/newer"}

    def test_p2_an_older_avatar_of_a_row_that_comes_later_does_not_win(self, ada: User) -> None:
        fakes.sql("DELETE FROM therapist_profiles WHERE user_id = %s", ada.pk)
        fakes.sql(WRITES["users"], "/newer", ada.pk)
        fakes.settled()
        fakes.sql("INSERT INTO therapist_profiles (user_id, updated_at) VALUES (%s, now())", ada.pk)
        fakes.settled()
        assert fakes.avatars(ada) == {"/newer"}


class TestNobodyIsAborted:
    def test_p3_i5c_who_owes_and_then_edits_the_others_row_meets_no_deadlock(
        self, ada: User, second_connection: Open
    ) -> None:
        a, b = second_connection(), second_connection()
        with fakes.locked_row("therapist_profiles", ada.pk):
            with fakes.locked_row("therapist_enrollments", ada.pk):
                a.execute("BEGIN")
                a.execute(WRITES["users"], ["/a", ada.pk])
                a.execute("SET CONSTRAINTS ALL IMMEDIATE")
            b.execute("BEGIN")
            b.execute(BIO, ["B", ada.pk])
            edit = threading.Thread(target=lambda: a.execute(REASON, ["A", ada.pk]))
            edit.start()
            fakes.wait_until(lambda: fakes.waits_for_a_lock(a.info.backend_pid), what="A waits for the row of B")
            assert fakes.milliseconds(lambda: b.execute("COMMIT")) < AT_ONCE_MS
            edit.join()
            a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.behind() == set()
        assert Enrollment.objects.values_list("bio", "status_reason").get(user=ada) == ("B", "A")

    def test_p3_i6_two_who_owe_the_same_targets_commit_in_either_order(
        self, ada: User, second_connection: Open
    ) -> None:
        a, b = second_connection(), second_connection()
        with fakes.locked_row("therapist_profiles", ada.pk):
            for own, statement in ((a, WRITES["users"]), (b, BIO)):
                own.execute("BEGIN")
                own.execute(statement, ["x", ada.pk])
            for own in (b, a):
                assert fakes.milliseconds(lambda own=own: own.execute("COMMIT")) < AT_ONCE_MS  # type: ignore[misc]
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.behind() == set()

    @pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
    def test_p3_two_transactions_over_the_same_people_and_tables_in_opposite_orders(
        self, second_connection: Open, level: str
    ) -> None:
        """Each writes what the other's copies are, of both people, the other way round."""
        one, two = therapists(2)
        a, b = second_connection(), second_connection()
        for own in (a, b):
            own.execute(f"BEGIN ISOLATION LEVEL {level}")
        steps = (
            (a, WRITES["users"], one), (b, WRITES["profiles"], two), (a, WRITES["users"], two),
            (b, WRITES["profiles"], one), (a, BIO, one), (b, "UPDATE therapist_profiles SET views = 1, phone = %s WHERE user_id = %s", two),
            (a, BIO, two),
        )  # fmt: skip
        for own, statement, person in steps:
            own.execute(statement, [f"/{own.info.backend_pid}", person.pk])
        b.execute("COMMIT")
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.behind() == set()
