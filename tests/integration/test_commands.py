"""The operators' commands: what they print, what they change, and the exit code that cron sees."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from config.declared import ENV
from interventions.models import Intervention
from sync import queries, triggers
from sync.mirrors import declaration
from sync.models import Debt, Gap
from tests import fakes
from tests.factories import Cast, UserFactory
from therapists.demo.cast import CAST
from therapists.models import Enrollment, Profile, Status, User
from therapists.roles import LEAD, OPERATOR, READ_ONLY, ROLES, sync_groups

ROOT = Path(__file__).resolve().parents[2]
NET = ("debt on, copying on", "debt on, copying off", "debt off, copying off")


def run(*words: str) -> tuple[int, str]:
    """Run a command; give its exit code and what it printed."""
    output = StringIO()
    try:
        call_command(*words, stdout=output, stderr=output)
    except CommandError as error:
        return error.returncode, f"{output.getvalue()}{error}"
    return 0, output.getvalue()


@pytest.fixture
def whole_net(transactional_db: None) -> Iterator[None]:
    yield
    triggers.install()
    triggers.enable()


def open_item(**fields: Any) -> Intervention:
    return Intervention.objects.create(**{"operation": "sync", "entity_id": "7", "error": "refused"} | fields)


@pytest.mark.usefixtures("whole_net")
class TestSafetyNet:
    def test_p4_says_that_everything_is_installed(self) -> None:
        code, said = run("safety_net", "status")
        assert (code, NET[0] in said, "missing" in said) == (0, True, False)

    def test_p4_is_red_while_copying_is_off_and_says_that_debt_is_on(self) -> None:
        assert run("safety_net", "disable")[0] == 0
        code, said = run("safety_net", "status")
        assert (code, NET[1] in said, "disabled" in said) == (1, True, True)
        run("safety_net", "enable")
        assert run("safety_net", "status")[0] == 0

    def test_p4_says_since_when_nothing_is_verified_until_an_audit_owed_what_differs(self) -> None:
        run("safety_net", "uninstall")
        code, said = run("safety_net", "status")
        assert (code, NET[2] in said, "unverified since" in said) == (1, True, True)
        run("safety_net", "install")
        code, said = run("safety_net", "status")
        assert (code, "unverified since" in said) == (0, True)
        run("audit_drift", "--owe")
        assert "unverified" not in run("safety_net", "status")[1]
        assert not Gap.objects.filter(audited_at=None).exists()

    def test_prints_sql_that_can_be_run(self) -> None:
        fakes.sql(run("safety_net", "sql", "--rollback")[1])
        assert NET[1] in run("safety_net", "status")[1]
        fakes.sql(run("safety_net", "sql")[1])
        assert NET[0] in run("safety_net", "status")[1]

    def test_refuses_a_rollback_of_anything_but_sql(self) -> None:
        assert run("safety_net", "status", "--rollback")[0] == 2


class TestAuditDrift:
    def test_counts_and_mends_only_when_told_to(self, cast: Cast) -> None:
        fakes.settled()
        assert json.loads(run("audit_drift", "--json")[1]) == {
            "targets": {"users": 0, "therapist_enrollments": 0, "therapist_profiles": 1},
            "unlinked": 0, "total": 1, "owed": False,
        }  # fmt: skip
        assert not Debt.objects.exists()
        assert "therapist_profiles: 1 differ" in run("audit_drift", "--owe")[1]
        fakes.settled()
        assert json.loads(run("audit_drift", "--json")[1])["total"] == 0

    def test_p9_is_red_when_a_table_cannot_be_read(self, cast: Cast) -> None:
        with fakes.renamed("therapist_profiles", "bio"):
            assert run("audit_drift")[0] == 2

    def test_p9_compares_the_others_when_one_table_cannot_be_read(self, cast: Cast) -> None:
        with fakes.asleep():
            User.objects.filter(pk=cast.ada.pk).update(is_verified=False)
        with fakes.renamed("therapist_profiles", "phone"):
            code, said = run("audit_drift", "--owe")
        assert code == 2
        assert "users: 1 differ" in said
        assert "therapist_profiles: cannot be read" in said
        fakes.settled()
        assert User.objects.get(pk=cast.ada.pk).is_verified


class TestReconcile:
    @pytest.mark.parametrize("by", ["id", "address"])
    def test_brings_one_person_in_line(self, cast: Cast, by: str) -> None:
        code, said = run("reconcile", str(cast.ben.pk) if by == "id" else " BEN.OKORO@example.org")
        assert (code, "therapist_profiles: in_sync" in said) == (0, True)
        assert Profile.objects.get(user=cast.ben).bio == Enrollment.objects.get(user=cast.ben).bio

    def test_p7_is_red_while_something_is_still_owed(self, cast: Cast) -> None:
        with fakes.refusing("therapist_profiles", "bio IS NULL"):
            code, said = run("reconcile", str(cast.ben.pk))
        assert (code, "therapist_profiles: blocked (23514)" in said) == (1, True)
        assert Intervention.objects.filter(person_id=cast.ben.pk, resolved=False).exists()

    @pytest.mark.parametrize("person", ["987654321", "nobody@example.org"])
    def test_knows_no_stranger(self, transactional_db: None, person: str) -> None:
        assert run("reconcile", person)[0] == 2


class TestCheckInterventions:
    def test_is_green_up_to_the_number_allowed(self, transactional_db: None) -> None:
        assert run("check_interventions") == (0, "0 open interventions\n")
        open_item()
        assert [run("check_interventions", "--max", n)[0] for n in ("0", "1")] == [1, 0]

    def test_does_not_count_what_is_resolved(self, transactional_db: None) -> None:
        open_item(resolved=True, state="resolved")
        assert run("check_interventions")[0] == 0

    def test_lists_the_oldest_first_with_what_staff_need(self, transactional_db: None) -> None:
        open_item(entity_id="8", target="users", error="second", timestamp="2026-01-02T00:00:00Z")
        open_item(entity_id="9", target="therapist_profiles", error="first", timestamp="2026-01-01T00:00:00Z")
        code, said = run("check_interventions", "--json")
        answer = json.loads(said[: said.rindex("}") + 1])
        assert (code, answer["open"], answer["max"]) == (1, 2, 0)
        assert [(i["operation"], i["target"], i["error"]) for i in answer["items"]] == [
            ("sync", "therapist_profiles", "first"), ("sync", "users", "second"),
        ]  # fmt: skip
        assert answer["items"][0]["age_seconds"] > answer["items"][1]["age_seconds"] > 0

    @pytest.mark.parametrize("private", ["jane@example.org", "'Jane Doe'", "+44 7700 900123", "https://x.example/jane"])
    def test_p10_repeats_nobodys_data_that_another_program_wrote(self, transactional_db: None, private: str) -> None:
        open_item(entity_id="jane@example.org", error=f"boom: {private} failed", payload={"email": "jane@example.org"})
        said = run("check_interventions")[1] + run("check_interventions", "--json")[1]
        assert "boom" in said
        assert private not in said
        assert "jane" not in said

    def test_p7_says_that_it_does_not_know_when_the_database_is_away(self) -> None:
        environment = os.environ | {"DATABASE_URL": "postgres://nobody:none@127.0.0.1:1/nowhere"}
        command = [sys.executable, "manage.py", "check_interventions", "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)

    def test_p7_says_that_it_does_not_know_when_the_table_cannot_be_read(self, transactional_db: None) -> None:
        with fakes.renamed("manual_intervention_log", "error"):
            assert run("check_interventions")[0] == 2


class TestContract:
    def test_lists_every_pair_of_the_declaration(self) -> None:
        answer = json.loads(run("contract")[1])
        told = {
            (m["fact"], m["source"]["table"], *m["source"]["columns"], c["table"], *c["columns"], c["conversion"])
            for m in answer["mirrors"] for c in m["copies"] if not m["shared"]
        }  # fmt: skip
        assert told == {
            (p.mirror.fact, p.source.table, p.source.column, p.copy.table, p.copy.column, p.conversion.name)
            for p in declaration().pairs if not p.is_shared
        }  # fmt: skip
        shared = [m for m in answer["mirrors"] if m["shared"]]
        assert [(m["fact"], len(m["copies"])) for m in shared] == [("avatar", 2)]

    def test_names_roles_bounds_and_version(self) -> None:
        answer = json.loads(run("contract")[1])
        assert answer["strict_operations"] == ["booking", "credit", "decision", "permission", "sign-in"]
        assert set(answer["roles"]) == {*ROLES, "superuser"}
        assert {"SYNC_LEASE_SECONDS", "SYNC_SWEEP_SECONDS", "AUDIT_INTERVAL_HOURS"} == set(answer["intervals"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", answer["version"])


class TestSettingsTable:
    def test_lists_every_setting_and_masks_secrets(self) -> None:
        rows = {row["name"]: row for row in json.loads(run("settings_table", "--json")[1])}
        assert set(rows) == set(ENV.declared)
        assert rows["DATABASE_URL"]["value"] == "********"
        said = run("settings_table")[1]
        assert all(f"| {name} |" in said for name in rows)
        assert os.environ["DATABASE_URL"] not in said

    def test_is_complete_and_true_in_the_manual(self) -> None:
        manual = (ROOT / "docs" / "operating.md").read_text().partition("## Settings")[2]
        told = {row[1]: row[2] for row in re.finditer(r"^\| `(\w+)` \|.*\| (.+) \|$", manual, flags=re.MULTILINE)}
        assert told == {setting.name: setting.meaning for setting in ENV.declared.values()}


class TestConnections:
    def told(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
        )

    def test_a_command_has_no_pool_that_goes_on_after_it(self) -> None:
        said = self.told(
            "manage.py", "makemigrations", "--check", "--dry-run", DATABASE_URL="postgresql://x@127.0.0.1:1/x"
        )
        assert "pool" not in said.stderr

    def test_the_web_has_one_and_a_watch(self, transactional_db: None) -> None:
        look = (
            "import config.wsgi, threading; from django.db import connection as c; c.ensure_connection();"
            " print(c.pool.max_size, *(t.name for t in threading.enumerate() if t.name == 'watchman')); c.close_pool()"
        )
        said = self.told("-c", look, DATABASE_URL=fakes.database_url(), WEB_THREADS="3")
        assert said.stdout.strip() == "5 watchman"


class TestSeedAcceptance:
    def seeded(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(run("seed_acceptance")[1])
        return answer

    def test_makes_therapists_with_all_three_rows_in_line_and_staff_with_their_role(
        self, transactional_db: None, settings: Any
    ) -> None:
        settings.DEBUG, settings.SYNC_RECEIVERS = True, False
        answer = self.seeded()
        assert set(answer) == {"ada", "ben", "kim", "vic", "sam", "lena", "root"}
        for key in ("ada", "ben"):
            person = answer[key]["id"]
            enrollment = Enrollment.objects.get(user_id=person)
            assert (enrollment.status, enrollment.approved_at is not None) == (Status.APPROVED, True)
            assert Profile.objects.get(user_id=person).bio == enrollment.bio
            assert {state.state for state in queries.sync_states([person])} == {"in_sync"}
        roles = {
            key: list(User.objects.get(pk=answer[key]["id"]).groups.values_list("name", flat=True)) for key in answer
        }
        assert roles == {
            "ada": [],
            "ben": [],
            "kim": [],
            "vic": [READ_ONLY],
            "sam": [OPERATOR],
            "lena": [LEAD],
            "root": [],
        }
        assert User.objects.get(pk=answer["root"]["id"]).is_superuser

    def test_gives_the_same_people_and_working_sessions_twice(self, transactional_db: None, settings: Any) -> None:
        settings.DEBUG = True
        first, second = self.seeded(), self.seeded()
        assert {key: who["id"] for key, who in first.items()} == {key: who["id"] for key, who in second.items()}
        for answer in (first, second):
            headers = answer["sam"]["headers"]
            cookies = dict(pair.split("=") for pair in headers["Cookie"].split("; "))
            client = Client(enforce_csrf_checks=True, headers={"X-CSRFToken": headers["X-CSRFToken"]})
            client.cookies.load(cookies)
            assert client.get("/admin/").status_code == 200
            assert client.post("/admin/logout/").status_code != 403
        assert all(User.objects.get(pk=who["id"]).check_password(who["password"]) for who in second.values())

    def test_mends_what_a_test_broke(self, transactional_db: None, settings: Any) -> None:
        settings.DEBUG = True
        ada = self.seeded()["ada"]["id"]
        Profile.objects.filter(user_id=ada).delete()
        Enrollment.objects.filter(user_id=ada).update(status=Status.REJECTED)
        User.objects.filter(pk=ada).update(is_active=False, password="x")
        assert self.seeded()["ada"]["id"] == ada
        user = User.objects.get(pk=ada)
        assert (user.is_active, user.is_verified, user.profile.verification_status) == (True, True, "approved")

    @pytest.mark.parametrize("command", ["seed_acceptance", "seed_demo"])
    def test_p10_is_refused_when_debug_is_off(self, transactional_db: None, settings: Any, command: str) -> None:
        settings.DEBUG = False
        code, said = run(command)
        assert (code, "DEBUG is off" in said, User.objects.count()) == (1, True, 0)

    def test_p10_prints_sign_ins_only_in_development(self, transactional_db: None, settings: Any) -> None:
        settings.DEBUG = True
        self.seeded()
        assert all(member.email in run("demo_sign_ins")[1] for member in CAST)
        settings.DEBUG = False
        assert "@" not in run("demo_sign_ins")[1]


class TestRoles:
    def test_p10_each_role_may_what_the_table_says_and_no_more(self, transactional_db: None) -> None:
        for role, permissions in ROLES.items():
            person = UserFactory.create(is_staff=True)
            person.groups.add(Group.objects.get(name=role))
            assert person.get_all_permissions() == set(permissions)
        assert not [name for name in ROLES[READ_ONLY] if ".view_" not in name]

    def test_a_group_that_was_changed_is_mended(self, transactional_db: None) -> None:
        Group.objects.get(name=OPERATOR).permissions.clear()
        sync_groups()
        assert Group.objects.get(name=OPERATOR).permissions.count() == len(ROLES[OPERATOR])
