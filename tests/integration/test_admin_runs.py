"""The pages of repairs and of the first week: who may look, who may press what, and what is told."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from interventions.models import History
from sync import repair, runs, tasks
from sync.models import Run, RunState
from tests import fakes
from tests.factories import Cast
from therapists.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lead(cast: Cast) -> Client:
    cast.sam.user_permissions.add(*Permission.objects.filter(codename__in=("repair_run", "undo_run", "view_run")))
    client = Client()
    client.force_login(User.objects.get(pk=cast.sam.pk))
    return client


@pytest.fixture
def looking(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.vic)
    return client


def press(client: Client, run: Run, action: str) -> str:
    return client.post(reverse("run", args=[run.pk]), {"action": action}, follow=True).content.decode()


class TestARepair:
    def test_is_planned_started_and_undone_by_buttons_and_workers(self, cast: Cast, lead: Client) -> None:
        fakes.settled()
        with fakes.asleep():
            fakes.sql("UPDATE therapist_profiles SET phone = 'other' WHERE user_id = %s", cast.ben.pk)
        assert "No repair was ever asked for" in lead.get(reverse("runs")).content.decode()
        lead.post(reverse("runs"))
        run = Run.objects.get()
        page = lead.get(reverse("run", args=[run.pk])).content.decode()
        assert "A worker is counting" in page
        assert "data-waiting" in page
        tasks.advance_runs()
        page = lead.get(reverse("run", args=[run.pk])).content.decode()
        assert "Start the repair" in page
        assert "differs" in page
        assert fakes.behind(), "a plan writes nothing"
        press(lead, run, "start")
        tasks.advance_runs()
        assert fakes.behind() == set()
        page = lead.get(reverse("run", args=[run.pk])).content.decode()
        assert "written" in page
        assert "Run started, by Sam Reyes" in page
        press(lead, run, "undo")
        tasks.advance_runs()
        assert fakes.behind()
        assert {line.actor for line in History.objects.filter(run_id__isnull=False)} == {f"user:{cast.sam.pk}"}

    def test_is_paused_resumed_and_cancelled(self, lead: Client) -> None:
        run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
        assert "Resume" in press(lead, run, "pause")
        assert not repair.advance(run.pk)
        assert "Pause" in press(lead, run, "resume")
        assert "Cancelled" in press(lead, run, "cancel")
        assert "not in a state" in press(lead, run, "resume")
        assert "not in a state" in press(lead, run, "nonsense")

    def test_p10_who_may_only_look_cannot_press(self, looking: Client) -> None:
        run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
        page = looking.get(reverse("run", args=[run.pk])).content.decode()
        assert "Pause" not in page
        for action in ("pause", "undo"):
            assert looking.post(reverse("run", args=[run.pk]), {"action": action}).status_code == 403
        assert looking.post(reverse("runs")).status_code == 403
        run.refresh_from_db()
        assert run.state == RunState.RUNNING

    def test_p10_who_may_not_look_sees_nothing(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.ada)
        assert client.get(reverse("runs")).status_code == 302
        cast.vic.user_permissions.clear()
        client.force_login(User.objects.get(pk=cast.vic.pk))
        assert client.get(reverse("runs")).status_code == 403
        assert client.get(reverse("week")).status_code == 403

    def test_that_cannot_be_changed_now_says_so(self, lead: Client) -> None:
        run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
        with fakes.locked_table("sync_run", "SHARE"):
            fakes.sql("SET lock_timeout = '50ms'")
            try:
                text = press(lead, run, "pause")
            finally:
                fakes.sql("RESET lock_timeout")
        assert "The database did not go along" in text

    def test_s_report_that_cannot_be_read_says_so(self, lead: Client) -> None:
        run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
        for table in ("sync_run_change", "intervention_history"):
            with fakes.locked_table(table):
                assert "cannot be read" in lead.get(reverse("run", args=[run.pk])).content.decode()
        with fakes.locked_table("sync_run"):
            text = lead.get(reverse("runs")).content.decode()
        assert "cannot be read" in text
        assert "No repair was ever asked for" not in text

    def test_that_is_not_there_is_not_found(self, lead: Client) -> None:
        assert lead.get(reverse("run", args=["00000000-0000-0000-0000-000000000001"])).status_code == 404


class TestTheWeek:
    def test_shows_what_the_last_full_audit_found(self, cast: Cast, looking: Client) -> None:
        fakes.settled()
        assert "No full audit has run yet" in looking.get(reverse("week")).content.decode()
        repair.audit(owe=True)
        page = looking.get(reverse("week")).content.decode()
        assert "2 of 3" in page, "Ben's bio differs"
        assert "3 of 3" in page
        assert "Profile edit" in page

    def test_says_so_when_it_cannot_be_read(self, looking: Client) -> None:
        repair.audit(owe=True)
        with fakes.locked_table("sync_audit"):
            assert "cannot be read" in looking.get(reverse("week")).content.decode()
