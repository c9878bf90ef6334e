"""Transactions that meet in the one order that breaks a simpler net: nothing deadlocks, waits or is silently behind."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from interventions.models import Intervention
from sync import delivery
from sync.models import Debt
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

Open = Callable[..., fakes.Connection]
pytestmark = pytest.mark.usefixtures("database_alone")
USERS = "UPDATE users SET avatar_url = %s WHERE id = %s"
ENROLLMENTS = "UPDATE therapist_enrollments SET profile_image_url = %s WHERE user_id = %s"
PROFILES = "UPDATE therapist_profiles SET profile_image_url = %s WHERE user_id = %s"
BIO = "UPDATE therapist_enrollments SET bio = %s WHERE user_id = %s"
# Far above what a write takes, far below what a lock that is waited for costs here.
AT_ONCE_MS = 500


class TestAvatar:
    def test_p2_i1b_the_older_write_commits_last_and_stays_the_older(self, ada: User, second_connection: Open) -> None:
        a, b = second_connection(), second_connection()
        a.execute("BEGIN")
        a.execute(USERS, ["/a", ada.pk])
        b.execute(ENROLLMENTS, ["/b", ada.pk])
        assert fakes.silently_behind() == set()
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.avatars(ada) == {"/b"}

    def test_p2_out_of_order_commits_of_all_three_writers_converge_on_the_newest(
        self, ada: User, second_connection: Open
    ) -> None:
        writers = [second_connection() for _ in range(3)]
        for number, (writer, statement) in enumerate(zip(writers, (PROFILES, USERS, ENROLLMENTS), strict=True)):
            writer.execute("BEGIN")
            writer.execute(statement, [f"/{number}", ada.pk])
        for writer in (writers[2], writers[0], writers[1]):
            writer.execute("COMMIT")
            assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.avatars(ada) == {"/2"}

    def test_p2_i4_a_stale_full_row_save_in_the_same_transaction_keeps_the_new_avatar(
        self, ada: User, second_connection: Open
    ) -> None:
        a = second_connection()
        a.execute("BEGIN")
        a.execute(USERS, ["/new", ada.pk])
        a.execute(
            "UPDATE therapist_profiles SET views = 1, profile_image_url = %s WHERE user_id = %s",
            [ada.avatar_url, ada.pk],
        )
        a.execute("COMMIT")
        assert fakes.avatars(ada) == {"/new"}


class TestNobodyWaits:
    def test_p3_i7_disjoint_writers_in_opposite_order_do_not_deadlock(self, second_connection: Open) -> None:
        one, two = therapists(2)
        a, b = second_connection(), second_connection()
        a.execute("BEGIN")
        b.execute("BEGIN")
        took = fakes.milliseconds(
            lambda: (
                a.execute(USERS, ["/a", one.pk]), b.execute(ENROLLMENTS, ["/b", two.pk]),
                a.execute(USERS, ["/a", two.pk]), b.execute(ENROLLMENTS, ["/b", one.pk]),
                a.execute("COMMIT"), b.execute("COMMIT"),
            )
        )  # fmt: skip
        assert took < AT_ONCE_MS
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.behind() == set()
        assert fakes.avatars(one) | fakes.avatars(two) == {"/a", "/b"}

    def test_p3_i13_an_unrelated_edit_of_a_copy_does_not_wait_for_an_open_writer(
        self, ada: User, second_connection: Open
    ) -> None:
        a, b = second_connection(), second_connection()
        a.execute("BEGIN")
        a.execute(USERS, ["/a", ada.pk])
        views = "UPDATE therapist_profiles SET views = views + 1 WHERE user_id = %s"
        assert fakes.milliseconds(lambda: b.execute(views, [ada.pk])) < AT_ONCE_MS
        a.execute("COMMIT")
        assert fakes.avatars(ada) == {"/a"}

    @pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
    def test_p3_i9_a_locked_table_is_not_waited_for(self, ada: User, mode: str) -> None:
        with fakes.locked_table("therapist_profiles", mode):
            assert fakes.milliseconds(lambda: fakes.sql(USERS, "/a", ada.pk)) < AT_ONCE_MS
            assert Debt.objects.filter(person_id=ada.pk, targets=["therapist_profiles"], code="55P03").exists()
        fakes.settled()
        assert fakes.avatars(ada) == {"/a"}

    def test_p3_i8_a_foreign_key_check_on_the_person_is_in_nobodys_way(
        self, ada: User, second_connection: Open
    ) -> None:
        a = second_connection()
        a.execute("BEGIN")
        a.execute("SELECT FROM users WHERE id = %s FOR KEY SHARE", [ada.pk])
        fakes.sql(ENROLLMENTS, "/e", ada.pk)
        assert fakes.avatars(ada) == {"/e"}
        a.execute("ROLLBACK")

    def test_p3_i5_those_who_owe_one_person_do_not_wait_for_each_other(
        self, ada: User, second_connection: Open
    ) -> None:
        a = second_connection()
        with fakes.locked_row("therapist_profiles", ada.pk):
            with fakes.locked_row("therapist_enrollments", ada.pk):
                a.execute("BEGIN")
                a.execute(USERS, ["/a", ada.pk])
                a.execute("SET CONSTRAINTS ALL IMMEDIATE")  # A owes both, holds neither, and stays open
            assert fakes.milliseconds(lambda: fakes.sql(BIO, "B", ada.pk)) < AT_ONCE_MS
            a.execute("UPDATE therapist_enrollments SET status_reason = 'A' WHERE user_id = %s", [ada.pk])
            a.execute("COMMIT")
        fakes.settled()
        assert fakes.behind() == set()


class TestNothingIsLost:
    def test_p1_i3_a_holder_that_rolls_back_leaves_the_copy_owed(self, ada: User) -> None:
        with fakes.locked_row("therapist_profiles", ada.pk):
            fakes.sql(USERS, "/a", ada.pk)
        assert Profile.objects.get(user=ada).profile_image_url != "/a"
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.avatars(ada) == {"/a"}

    def test_p1_i10_a_lower_revision_that_commits_after_a_settled_higher_one_is_owed(
        self, ada: User, second_connection: Open, copying_off: None
    ) -> None:
        a = second_connection()
        a.execute("BEGIN")
        a.execute(BIO, ["A wrote this", ada.pk])
        fakes.sql(USERS, "/b", ada.pk)
        delivery.drain()
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert Profile.objects.get(user=ada).bio == "A wrote this"

    def test_p2_i11_a_worker_beside_a_writer_does_not_put_old_over_new(
        self, ada: User, second_connection: Open
    ) -> None:
        with fakes.locked_row("therapist_profiles", ada.pk):
            fakes.sql(BIO, "old", ada.pk)
        worker = connection.connection.info.backend_pid
        writer, watcher = second_connection(), second_connection()
        writer.execute("BEGIN")
        writer.execute("SELECT FROM therapist_profiles WHERE user_id = %s FOR UPDATE", [ada.pk])
        is_over = threading.Event()

        def write_when_the_worker_waits() -> None:
            waits = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
            fakes.wait_until(
                lambda: is_over.is_set() or watcher.execute(waits, [worker]).rowcount,
                what="the worker waits or is over",
            )
            writer.execute(BIO, ["NEW", ada.pk])
            writer.execute("COMMIT")

        thread = threading.Thread(target=write_when_the_worker_waits)
        thread.start()
        delivery.drain()
        is_over.set()
        thread.join()
        assert Profile.objects.get(user=ada).bio == "NEW"
        fakes.settled()
        assert (Profile.objects.get(user=ada).bio, fakes.behind()) == ("NEW", set())
        assert not Intervention.objects.exists()

    def test_p1_i12_an_insert_beside_an_update_is_owed(self, ada: User, second_connection: Open) -> None:
        fakes.sql("DELETE FROM therapist_profiles WHERE user_id = %s", ada.pk)
        fakes.settled()
        a = second_connection()
        a.execute("BEGIN")
        a.execute(
            "INSERT INTO therapist_profiles (user_id, bio, profile_image_url, updated_at) VALUES (%s, 'x', %s, now())",
            [ada.pk, ada.avatar_url],
        )
        fakes.sql(USERS, "/b", ada.pk)
        fakes.sql(BIO, "b", ada.pk)
        fakes.settled()
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert (fakes.avatars(ada), Profile.objects.get(user=ada).bio) == ({"/b"}, "b")

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_p1_a_caller_that_cannot_see_a_new_row_owes_it(
        self, ada: User, second_connection: Open, level: str
    ) -> None:
        profile = Profile.objects.get(user=ada)
        fakes.sql("DELETE FROM therapist_profiles WHERE user_id = %s", ada.pk)
        fakes.settled()
        a = second_connection()
        a.execute(f"BEGIN ISOLATION LEVEL {level}")
        a.execute("SELECT FROM users")
        # Without an avatar: a newer one would rewrite the user's row, which fails this caller whatever we do.
        profile.pk, profile.profile_image_url = None, None
        profile.save(force_insert=True)
        fakes.settled()
        a.execute(USERS, ["/rr", ada.pk])
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.avatars(ada) == {"/rr"}

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_p3_a_caller_with_an_old_snapshot_may_write_twice(
        self, ada: User, second_connection: Open, level: str
    ) -> None:
        a = second_connection()
        a.execute(f"BEGIN ISOLATION LEVEL {level}")
        a.execute(BIO, ["once", ada.pk])
        a.execute("SET CONSTRAINTS ALL IMMEDIATE")
        a.execute(PROFILES, ["/twice", ada.pk])
        a.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert (fakes.avatars(ada), Profile.objects.get(user=ada).bio) == ({"/twice"}, "once")

    def test_p1_a_rolled_back_savepoint_owes_nothing_and_copies_nothing(
        self, ada: User, second_connection: Open
    ) -> None:
        a = second_connection()
        a.execute("BEGIN")
        a.execute(BIO, ["kept", ada.pk])
        a.execute("SAVEPOINT s")
        a.execute(BIO, ["undone", ada.pk])
        a.execute("ROLLBACK TO s")
        a.execute("COMMIT")
        assert Enrollment.objects.get(user=ada).bio == Profile.objects.get(user=ada).bio == "kept"
