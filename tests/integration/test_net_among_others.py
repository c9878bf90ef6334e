"""The net beside what others put into the database: triggers, constraints, cascades, COPY, roles; told with reasons."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import IntegrityError, transaction

from sync import repair, triggers
from sync.models import Debt, Gap
from tests import fakes
from tests.factories import therapist, therapists
from therapists.models import Enrollment, Profile, User

Open = Callable[..., fakes.Connection]
pytestmark = pytest.mark.usefixtures("database_alone")
BIO = "UPDATE therapist_enrollments SET bio = %s WHERE user_id = %s"
NOOP = "CREATE FUNCTION foreign_program() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
AT_ONCE_MS = 1000


@pytest.fixture
def ada(transactional_db: None) -> User:
    person = therapist("Ada Quist", specialization="CBT")
    fakes.settled()
    return person


@pytest.fixture
def foreign(transactional_db: None) -> Iterator[Callable[[str, str], None]]:
    """Install a trigger of somebody else: when it fires, and its body."""

    def install(when: str, body: str) -> None:
        fakes.sql(NOOP.format(body=body))
        fakes.sql(f"CREATE {when} EXECUTE FUNCTION foreign_program()")

    yield install
    fakes.sql("DROP FUNCTION foreign_program() CASCADE")


def bio(person: User) -> str | None:
    return Profile.objects.get(user=person).bio


class TestTriggersOfOthers:
    @pytest.mark.parametrize("name", ["aaa", "zzz"])
    def test_p4_what_a_before_trigger_makes_of_a_write_is_what_is_copied(
        self, ada: User, foreign: Callable[[str, str], None], name: str
    ) -> None:
        foreign(
            f"TRIGGER {name} BEFORE UPDATE ON therapist_enrollments FOR EACH ROW",
            "NEW.bio := upper(NEW.bio); NEW.phone := '1'; RETURN NEW;",
        )
        fakes.sql(BIO, "quiet", ada.pk)
        row = Profile.objects.get(user=ada)
        assert (row.bio, row.phone) == ("QUIET", "1")
        assert not Debt.objects.exists()

    def test_p4_a_before_trigger_on_the_copy_that_changes_the_value_is_noticed(
        self, ada: User, foreign: Callable[[str, str], None]
    ) -> None:
        foreign("TRIGGER aaa BEFORE UPDATE ON therapist_profiles FOR EACH ROW", "NEW.bio := 'mine'; RETURN NEW;")
        fakes.sql(BIO, "new", ada.pk)
        assert fakes.silently_behind() == set()
        assert Debt.objects.get().code == "KW001"

    @pytest.mark.parametrize("when", ["BEFORE", "AFTER"])
    def test_p3_a_trigger_on_the_copy_that_fails_costs_the_copy_alone(
        self, ada: User, foreign: Callable[[str, str], None], when: str
    ) -> None:
        foreign(
            f"TRIGGER aaa {when} UPDATE ON therapist_profiles FOR EACH ROW",
            "RAISE 'no' USING ERRCODE = 'check_violation';",
        )
        fakes.sql("UPDATE users SET avatar_url = '/new' WHERE id = %s", ada.pk)
        assert Enrollment.objects.get(user=ada).profile_image_url == "/new"
        assert [(d.targets, d.code) for d in Debt.objects.all()] == [(["therapist_profiles"], "23514")]

    def test_p3_a_trigger_on_the_copy_that_waits_for_a_lock_is_not_waited_for(
        self, ada: User, foreign: Callable[[str, str], None]
    ) -> None:
        other = therapists(1)[0]
        foreign(
            "TRIGGER aaa BEFORE UPDATE ON therapist_profiles FOR EACH ROW",
            f"UPDATE users SET last_login = now() WHERE id = {other.pk}; RETURN NEW;",
        )
        with fakes.locked_row("users", other.pk):
            assert fakes.milliseconds(lambda: fakes.sql(BIO, "new", ada.pk)) < AT_ONCE_MS
        assert Debt.objects.get().code == "55P03"

    def test_p4_a_copy_of_ours_that_makes_somebodys_trigger_write_a_source_counts(
        self, ada: User, foreign: Callable[[str, str], None]
    ) -> None:
        foreign(
            "TRIGGER aaa AFTER UPDATE OF bio ON therapist_profiles FOR EACH ROW",
            "UPDATE therapist_enrollments SET phone = 'from the trigger' WHERE user_id = NEW.user_id; RETURN NULL;",
        )
        fakes.sql(BIO, "new", ada.pk)
        assert Enrollment.objects.get(user=ada).phone == "from the trigger"
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.behind() == set()


class TestConstraintsOfOthers:
    @pytest.mark.parametrize("mode", ["INITIALLY DEFERRED", "INITIALLY IMMEDIATE"])
    def test_p3_a_unique_phone_that_is_checked_at_the_end_does_not_break_the_commit(self, ada: User, mode: str) -> None:
        ben = therapist("Ben Okoro", phone="2")
        fakes.settled()
        fakes.sql(f"ALTER TABLE therapist_profiles ADD CONSTRAINT one_phone UNIQUE (phone) DEFERRABLE {mode}")
        try:
            with transaction.atomic():
                fakes.sql("UPDATE therapist_enrollments SET phone = '2', bio = 'new' WHERE user_id = %s", ada.pk)
                fakes.sql(BIO, "of Ben", ben.pk)
            assert Enrollment.objects.get(user=ada).phone == "2"
            assert bio(ben) == "of Ben"
            assert [(d.person_id, d.code) for d in Debt.objects.all()] == [(ada.pk, "23505")]
        finally:
            fakes.sql("ALTER TABLE therapist_profiles DROP CONSTRAINT one_phone")

    def test_p3_a_constraint_trigger_of_others_on_the_copy_does_not_break_the_commit(
        self, ada: User, foreign: Callable[[str, str], None]
    ) -> None:
        foreign(
            "CONSTRAINT TRIGGER zzzz AFTER UPDATE ON therapist_profiles DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
            "RAISE 'no' USING ERRCODE = 'check_violation';",
        )
        fakes.sql(BIO, "new", ada.pk)
        assert Enrollment.objects.get(user=ada).bio == "new"
        assert Debt.objects.get().code == "23514"

    def test_what_others_refuse_of_the_persons_own_row_still_fails_the_person(
        self, ada: User, foreign: Callable[[str, str], None]
    ) -> None:
        foreign(
            "CONSTRAINT TRIGGER zzzz AFTER UPDATE ON therapist_enrollments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
            "RAISE 'no' USING ERRCODE = 'check_violation';",
        )
        with pytest.raises(IntegrityError):
            fakes.sql(BIO, "new", ada.pk)
        assert (bio(ada), Debt.objects.count()) == (Enrollment.objects.get(user=ada).bio, 0)

    def test_p3_constraints_set_immediate_by_the_caller_copy_at_each_statement(
        self, ada: User, second_connection: Open
    ) -> None:
        a = second_connection()
        a.execute("BEGIN")
        a.execute("SET CONSTRAINTS ALL IMMEDIATE")
        a.execute(BIO, ["once", ada.pk])
        a.execute(BIO, ["twice", ada.pk])
        a.execute("UPDATE therapist_profiles SET profile_image_url = '/p' WHERE user_id = %s", [ada.pk])
        a.execute("SET CONSTRAINTS ALL DEFERRED")
        a.execute("UPDATE therapist_enrollments SET phone = '3' WHERE user_id = %s", [ada.pk])
        a.execute("COMMIT")
        assert (bio(ada), Profile.objects.get(user=ada).phone) == ("twice", "3")
        assert (fakes.behind(), Debt.objects.count()) == (set(), 0)


class TestManyRowsAtOnce:
    def test_p4_a_cascade_of_somebodys_key_is_a_write(self, ada: User) -> None:
        fakes.sql("CREATE TABLE phone_book (phone text PRIMARY KEY)")
        fakes.sql("INSERT INTO phone_book SELECT phone FROM therapist_enrollments")
        try:
            fakes.sql(
                "ALTER TABLE therapist_enrollments ADD CONSTRAINT in_the_book FOREIGN KEY (phone)"
                " REFERENCES phone_book ON UPDATE CASCADE ON DELETE SET NULL"
            )
            fakes.sql("UPDATE phone_book SET phone = '4'")
            assert Profile.objects.get(user=ada).phone == "4"
            fakes.sql("DELETE FROM phone_book")
            assert Profile.objects.get(user=ada).phone is None
            assert fakes.behind() == set()
        finally:
            fakes.sql("ALTER TABLE therapist_enrollments DROP CONSTRAINT in_the_book; DROP TABLE phone_book")

    def test_p4_rows_that_a_cascade_deletes_are_owed(self, ada: User) -> None:
        fakes.sql("CREATE TABLE site (id bigint PRIMARY KEY); INSERT INTO site SELECT user_id FROM therapist_profiles")
        try:
            fakes.sql(
                "ALTER TABLE therapist_profiles ADD CONSTRAINT on_site FOREIGN KEY (user_id) REFERENCES site"
                " ON DELETE CASCADE"
            )
            fakes.sql("DELETE FROM site")
            assert not Profile.objects.exists()
            assert Debt.objects.get().code == "delete"
        finally:
            fakes.sql("ALTER TABLE therapist_profiles DROP CONSTRAINT on_site; DROP TABLE site")

    def test_p4_rows_that_copy_brings_are_owed(self, ada: User, second_connection: Open) -> None:
        own = second_connection()
        fakes.sql("DELETE FROM therapist_profiles")
        fakes.settled()
        with own.cursor().copy("COPY therapist_profiles (user_id, bio, updated_at) FROM STDIN") as copy:
            copy.write_row((ada.pk, "of a file", "2026-01-01"))
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert (bio(ada), fakes.behind()) == (Enrollment.objects.get(user=ada).bio, set())

    def test_p4_one_statement_that_joins_and_returns_counts_row_by_row(self, transactional_db: None) -> None:
        people = therapists(30)
        fakes.sql(
            "WITH done AS (UPDATE therapist_enrollments e SET bio = u.full_name FROM users u WHERE u.id = e.user_id"
            " RETURNING e.user_id) SELECT count(*) FROM done"
        )
        fakes.sql(
            "MERGE INTO therapist_enrollments e USING users u ON u.id = e.user_id WHEN MATCHED THEN UPDATE SET phone = '5'"
        )
        assert Profile.objects.filter(user__in=people, bio__startswith="Person", phone="5").count() == 30
        fakes.sql(
            "INSERT INTO therapist_profiles (user_id, bio, updated_at) VALUES (%s, 'clash', now())"
            " ON CONFLICT (user_id) DO UPDATE SET bio = excluded.bio",
            people[0].pk,
        )
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.behind() == set()

    def test_p4_a_truncate_is_a_gap_until_an_audit_has_run(self, ada: User) -> None:
        assert triggers.status().is_verified
        fakes.sql("TRUNCATE therapist_profiles")
        assert not triggers.status().is_verified
        assert Gap.objects.get().closed_at is not None
        repair.audit(owe=True)
        assert triggers.status().is_verified
        fakes.settled()
        assert fakes.states(ada.pk)["therapist_profiles"] == "blocked"


class TestCallers:
    def test_p4_a_role_without_rights_on_the_copies_still_has_them_made(
        self, ada: User, second_connection: Open
    ) -> None:
        fakes.sql(
            "CREATE ROLE clerk; GRANT USAGE ON SCHEMA public TO clerk; GRANT SELECT, UPDATE ON therapist_enrollments TO clerk"
        )
        try:
            own = second_connection()
            own.execute("SET ROLE clerk")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute("SELECT FROM therapist_profiles")
            own.execute(
                "UPDATE therapist_enrollments SET bio = 'by a clerk', specialization = 'A; B' WHERE user_id = %s",
                [ada.pk],
            )
            own.execute("UPDATE therapist_enrollments SET specialization = '[' WHERE user_id = %s", [ada.pk])
            row = Profile.objects.get(user=ada)
            assert (row.bio, row.specialization) == ("by a clerk", ["A", "B"])
            assert Debt.objects.get().code == "KW003"
        finally:
            own.execute("RESET ROLE")
            fakes.sql("DROP OWNED BY clerk; DROP ROLE clerk")

    def test_p3_a_search_path_of_the_callers_own_leads_nowhere_else(self, ada: User, second_connection: Open) -> None:
        own = second_connection()
        own.execute("CREATE TEMP TABLE therapist_profiles (user_id bigint)")
        own.execute("SET search_path = pg_temp")
        own.execute("UPDATE public.therapist_enrollments SET bio = 'new' WHERE user_id = %s", [ada.pk])
        assert bio(ada) == "new"

    @pytest.mark.parametrize("limit", ["statement_timeout = '400ms'", "lock_timeout = '1ms'"])
    def test_p3_i9b_a_caller_near_their_time_limit_is_saved(
        self, ada: User, second_connection: Open, limit: str
    ) -> None:
        own = second_connection()
        own.execute(f"SET {limit}")
        with fakes.locked_table("therapist_profiles"):
            own.execute(BIO, ["saved", ada.pk])
        assert Enrollment.objects.get(user=ada).bio == "saved"
        fakes.settled()
        assert bio(ada) == "saved"

    def test_p3_a_time_limit_that_strikes_inside_a_copy_costs_the_copy_alone(
        self, ada: User, second_connection: Open, foreign: Callable[[str, str], None]
    ) -> None:
        foreign("TRIGGER aaa BEFORE UPDATE ON therapist_profiles FOR EACH ROW", "PERFORM pg_sleep(5); RETURN NEW;")
        own = second_connection()
        # At a commit PostgreSQL has stopped the caller's clock; whoever sets constraints immediate has it run on.
        own.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SET statement_timeout = '500ms'")
        own.execute(BIO, ["saved", ada.pk])
        own.execute("COMMIT")
        assert (Enrollment.objects.get(user=ada).bio, Debt.objects.get().code) == ("saved", "57014")

    def test_p3_the_net_reads_nothing_for_which_a_serializable_caller_could_fail(
        self, ada: User, second_connection: Open
    ) -> None:
        own = second_connection()
        own.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        own.execute(BIO, ["of their own", ada.pk])
        own.execute("UPDATE therapist_profiles SET phone = '6', profile_image_url = '/p' WHERE user_id = %s", [ada.pk])
        read = (
            "SELECT DISTINCT coalesce(i.indrelid, l.relation)::regclass::text FROM pg_locks l"
            " LEFT JOIN pg_index i ON i.indexrelid = l.relation"
            " WHERE l.mode = 'SIReadLock' AND l.pid = pg_backend_pid()"
        )
        before = set(own.execute(read).fetchall())
        own.execute("SET CONSTRAINTS ALL IMMEDIATE")
        # Which services are configured is written by workers alone, never serializable: nobody can fail for having read it.
        own_rows = {("therapist_enrollments",), ("therapist_profiles",)}
        assert before - {("sync_service",)} == own_rows
        assert set(own.execute(read).fetchall()) - {("sync_service",)} == own_rows
        own.execute("COMMIT")
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert fakes.behind() == set()

    def test_a_replicas_writes_are_unseen_and_found_by_the_audit(self, ada: User) -> None:
        """The one switch that puts every trigger to sleep: no net can see it, so the audit must."""
        with fakes.asleep():
            fakes.sql(BIO, "unseen", ada.pk)
        assert fakes.silently_behind() == {(ada.pk, "therapist_profiles")}
        repair.audit(owe=True)
        fakes.settled()
        assert bio(ada) == "unseen"

    def test_p1_a_prepared_transaction_copies_when_it_is_prepared(self, ada: User, second_connection: Open) -> None:
        if fakes.sql("SHOW max_prepared_transactions") == [("0",)]:
            pytest.skip("The server is set to hold no prepared transaction.")
        own = second_connection()
        own.execute("BEGIN")
        own.execute(BIO, ["prepared", ada.pk])
        own.execute("PREPARE TRANSACTION 'keepwell_test'")
        assert fakes.milliseconds(lambda: fakes.sql("UPDATE users SET avatar_url = '/b' WHERE id = %s", ada.pk)) < 1000
        assert fakes.silently_behind() == set()
        own.execute("COMMIT PREPARED 'keepwell_test'")
        assert bio(ada) == "prepared"
        fakes.settled()
        assert fakes.behind() == set()
