"""History against the role that Keepwell runs as: what the documented grants leave it, and what `check` says of others."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from interventions.models import History, Intervention
from sync import claims, delivery, tasks
from tests import fakes
from tests.factories import Cast, trouble
from therapists import erasure, operations
from therapists.models import Enrollment, Profile

ROOT = Path(__file__).resolve().parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
APP, WORKER, OWNER = "keepwell_app", "keepwell_worker", "keepwell_owner"


@pytest.fixture
def grants(transactional_db: None) -> Iterator[None]:
    """Both roles with the rights that the operator's guide gives them, word by word."""
    (documented,) = re.findall(r"```sql\n(CREATE ROLE keepwell_owner.*?)```", OPERATING, re.DOTALL)
    fakes.sql(documented)
    yield
    fakes.sql("RESET ROLE")
    for role in (WORKER, APP, OWNER):
        fakes.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def app(grants: None) -> Iterator[psycopg.Connection]:
    """A session of the role that owns nothing, with a line of history to change."""
    History.objects.create(actor="user:1", action="retry", object_type="intervention", object_id="1")
    with psycopg.connect(fakes.database_url(), autocommit=True) as own:
        own.execute(f"SET SESSION AUTHORIZATION {APP}")
        yield own


@contextmanager
def as_the_role(role: str = APP) -> Iterator[None]:
    fakes.sql(f"SET ROLE {role}")
    try:
        yield
    finally:
        fakes.sql("RESET ROLE")


@contextmanager
def signed_in_as(role: str) -> Iterator[None]:
    """Let this thread's connection be one that the role itself opened."""
    own = connection.settings_dict["USER"]
    fakes.sql(f"ALTER ROLE {role} PASSWORD '{connection.settings_dict['PASSWORD']}'")
    connection.close()
    connection.settings_dict["USER"] = role
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["USER"] = own


WRITES = (
    "UPDATE intervention_history SET actor = 'nobody'",
    "DELETE FROM intervention_history",
    "TRUNCATE intervention_history",
    "WITH gone AS (DELETE FROM intervention_history RETURNING 1) SELECT count(*) FROM gone",
    "INSERT INTO intervention_history (id, actor, action, object_type, object_id) SELECT id, 'nobody', action, object_type,"
    " object_id FROM intervention_history ON CONFLICT (id) DO UPDATE SET actor = excluded.actor",
    "MERGE INTO intervention_history h USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE",
    "UPDATE contract_history SET actor = 'nobody'",
)
WAYS_ROUND = (
    "ALTER TABLE intervention_history DISABLE TRIGGER ALL",
    "DROP TRIGGER intervention_history_is_final ON intervention_history",
    "CREATE OR REPLACE FUNCTION intervention_history_is_final() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "SET session_replication_role = replica",
    "DROP TABLE intervention_history CASCADE",
    "ALTER TABLE intervention_history RENAME TO another",
    "ALTER TABLE intervention_history OWNER TO keepwell_app",
    "CREATE RULE silent AS ON INSERT TO intervention_history DO INSTEAD NOTHING",
    "CREATE TRIGGER silent BEFORE INSERT ON intervention_history EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "SET ROLE keepwell_owner",
)


class TestTheRole:
    @pytest.mark.parametrize("statement", [*WRITES, *WAYS_ROUND], ids=lambda text: text[:40])
    def test_p7_can_change_no_line_and_find_no_way_round(self, app: psycopg.Connection, statement: str) -> None:
        with pytest.raises(psycopg.Error) as caught:
            app.execute(statement)
        assert caught.value.sqlstate in {"42501", "55000"}
        assert History.objects.get().actor == "user:1"

    @pytest.mark.parametrize("statement", WRITES, ids=lambda text: text[:40])
    def test_p7_is_refused_by_the_table_also_where_every_right_was_granted(
        self, app: psycopg.Connection, statement: str
    ) -> None:
        fakes.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {APP}")
        with pytest.raises(psycopg.Error) as caught:
            app.execute(statement)
        assert caught.value.sqlstate == "55000"
        assert History.objects.get().actor == "user:1"

    def test_can_do_everything_that_keepwell_does(self, grants: None, cast: Cast) -> None:
        fakes.settled()
        client = Client()
        client.force_login(cast.sam)
        with trouble(2) as made:
            fakes.sql(f"GRANT SELECT ON obstacle TO {APP}")
            first, second = (person.pk for person in made.people)
            item = Intervention.objects.get(person_id=first)
            with as_the_role():
                operations.edit_profile(
                    person_id=cast.ada.pk, changes={"bio": "By the role."}, by="user:1", at=timezone.now()
                )
                for task in (tasks.sweep, tasks.audit, tasks.audit_recent, tasks.link, tasks.advance_runs, tasks.prune):
                    task()
                assert client.post(f"/api/v1/interventions/{item.pk}/retry/", {}, "application/json").status_code < 300
                assert client.get(reverse("admin:index")).status_code == 200
                subject = erasure.find(person_id=second)
                erasure.erase(subject=subject, by="user:1", at=timezone.now())
        assert History.objects.filter(actor=f"user:{cast.sam.pk}", action="retry").exists()
        assert not Enrollment.objects.filter(user=second).exists()
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "in_sync"

    def test_p7_of_the_workers_works_and_can_change_no_line_either(self, grants: None, cast: Cast) -> None:
        History.objects.create(actor="user:1", action="retry", object_type="intervention", object_id="1")
        fakes.settled()
        with as_the_role(WORKER):
            for task in (tasks.sweep, tasks.audit, tasks.audit_recent, tasks.link, tasks.advance_runs, tasks.prune):
                task()
        with psycopg.connect(fakes.database_url(), autocommit=True) as own:
            own.execute(f"SET SESSION AUTHORIZATION {WORKER}")
            for statement in (*WRITES, *WAYS_ROUND):
                with pytest.raises(psycopg.Error):
                    own.execute(statement)
        assert History.objects.filter(actor="user:1").count() == 1


class TestTheLogin:
    def test_of_the_workers_drains_sweeps_and_audits(self, grants: None, cast: Cast) -> None:
        fakes.settled()
        Enrollment.objects.filter(user=cast.ada).update(bio="Owed to the worker.")
        with fakes.asleep():
            Profile.objects.filter(user=cast.ben).update(bio="Drifted.")
        with signed_in_as(WORKER):
            assert fakes.sql("SELECT session_user::text, current_user::text") == [(WORKER, WORKER)]
            assert delivery.drain().failed == 0
            for task in (tasks.sweep, tasks.audit, tasks.audit_recent, tasks.link, tasks.advance_runs, tasks.prune):
                task()
            delivery.drain()
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "in_sync"
        assert Profile.objects.get(user=cast.ben).bio == Enrollment.objects.get(user=cast.ben).bio

    def test_of_the_web_takes_no_living_worker_for_a_dead_one(self, grants: None, cast: Cast) -> None:
        """Also where nobody granted it to see when another role's session began."""
        fakes.sql(f"REVOKE pg_read_all_stats FROM {APP}")
        fakes.sql(f"ALTER ROLE {WORKER} PASSWORD '{connection.settings_dict['PASSWORD']}'")
        with psycopg.connect(fakes.database_url_of(WORKER), autocommit=True) as worker:
            worker.execute(
                "INSERT INTO sync_batch (pid, backend_start, server_start, people, deaths) SELECT pid, backend_start,"
                " pg_postmaster_start_time(), %s, 1 FROM pg_stat_activity WHERE pid = pg_backend_pid()",
                [[cast.ada.pk]],
            )
            with signed_in_as(APP):
                assert claims.take_up_abandoned() is None
        with signed_in_as(APP):
            fakes.wait_until(lambda: claims.take_up_abandoned() is not None, what="the session has ended")


class TestTheCheck:
    def said(self) -> list[str]:
        found = run_checks(tags=["database"], include_deployment_checks=True, databases=["default"])
        return [message.msg for message in found if str(message.id).startswith("interventions.")]

    def test_says_by_which_ways_the_role_could_change_history(self, grants: None) -> None:
        (said,) = self.said()
        assert "it owns intervention_history, it may put triggers to sleep" in said

    def test_is_content_with_the_documented_role(self, grants: None) -> None:
        with as_the_role():
            assert self.said() == []
        fakes.sql(f"GRANT UPDATE ON intervention_history TO {APP}")
        with as_the_role():
            assert "has rights that its triggers alone refuse" in self.said()[0]

    def test_says_so_where_it_cannot_be_told(self, transactional_db: None) -> None:
        fakes.sql("ALTER TABLE intervention_history RENAME TO elsewhere")
        try:
            assert "cannot be told" in self.said()[0]
        finally:
            fakes.sql("ALTER TABLE elsewhere RENAME TO intervention_history")

    def test_asks_no_database_unless_told_to(self, transactional_db: None) -> None:
        assert [m for m in run_checks(include_deployment_checks=True) if m.id == "interventions.W001"] == []
