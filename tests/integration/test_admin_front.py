"""The front page: true numbers, or the word that there are none; and the policy under which the desk runs."""

import datetime as dt
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from interventions import attention, causes
from interventions.models import Cause, History, Intervention
from sync import pulse, repair, triggers
from sync.admin import bars, readings
from sync.models import Gap
from sync.pulse import Pulse
from tests import fakes
from tests.factories import Cast, UserFactory, therapists
from therapists.models import Enrollment, UserType

NOW = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)


@pytest.fixture
def desk(cast: Cast) -> Client:
    """Vic, who may look at everything."""
    client = Client()
    client.force_login(cast.vic)
    return client


def page(client: Client) -> str:
    answer = client.get(reverse("admin:index"))
    assert answer.status_code == 200
    return answer.content.decode()


def cards(client: Client) -> dict[str, Any]:
    found = client.get(reverse("admin:index")).context
    return {card.title: card for card in [*found["cards"], *found["parts"]]}


def blocked(count: int) -> None:
    """Make so many people whose profile refuses their new bio; the refusal ends with this call."""
    people = therapists(count)
    with fakes.refusing("therapist_profiles", "bio IS DISTINCT FROM 'Refused there.'"):
        Enrollment.objects.filter(user__in=people).update(bio="Refused there.")
        fakes.sweep()


class TestNumbers:
    def test_are_counted_from_what_is_owed_and_open(self, desk: Client) -> None:
        blocked(6)
        found = cards(desk)
        assert (found["Needs a person"].number, found["Needs a person"].verdict) == ("6", "too many")
        assert found["Oldest owed"].number.endswith("seconds")
        assert found["Safety net"].number == "whole"

    def test_tell_what_follows_by_itself_from_what_is_blocked(self, desk: Client) -> None:
        # Cleo's debt has been seen by no worker yet.
        assert cards(desk)["Retrying by itself"].number == "1"
        blocked(2)
        lines = {line.target: line for line in desk.get(reverse("admin:index")).context["targets"].value}
        assert (lines["therapist_profiles"].blocked, lines["users"].owed) == (2, 0)

    def test_count_a_person_once_who_owes_twice(self, desk: Client, cast: Cast) -> None:
        with fakes.asleep():
            fakes.sql(
                "INSERT INTO sync_debt (person_id, targets, revision)"
                " SELECT person_id, targets, revision FROM sync_debt"
            )
        assert cards(desk)["Retrying by itself"].number == "1"

    def test_put_ledger_and_debt_together_and_call_a_bound_a_bound(
        self, desk: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fakes.sql("DELETE FROM sync_debt")
        for person, settled, accepted in (
            (1, 0, None),
            (2, 0, None),
            (3, 0, "accepted"),
            (4, 0, "accepted"),
            (5, 1, None),
        ):
            fakes.sql(
                "INSERT INTO sync_ledger (person_id, target, desired_revision, applied_revision, verified_revision,"
                " owed_since, attempts, crashes, is_paused, excluded_reason)"
                " VALUES (%s, 'users', 1, %s, 0, CASE WHEN %s = 0 THEN now() END, 0, 0, false, %s)",
                person, settled, settled, accepted,
            )  # fmt: skip
        # Blocked, and changed since; accepted, and changed since; settled, and changed since; and never failed.
        for person in (2, 4, 5, 6):
            fakes.sql("INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY['users'], 1)", person)
        line = readings.targets(timezone.now(), names=["users"])[0]
        assert (line.owed, line.blocked, line.retrying, line.is_cut) == (5, 1, 4, False)

        monkeypatch.setattr(readings, "_OWED", readings._OWED.replace(f"LIMIT {readings.MOST_COUNTED}", "LIMIT 1"))
        monkeypatch.setattr(readings, "MOST_COUNTED", 1)
        assert readings.targets(timezone.now(), names=["users"])[0].owed == 1
        assert "<b>1+</b> owed" in page(desk)
        assert cards(desk)["Retrying by itself"].number.endswith("+")

    def test_are_good_when_nothing_is_owed(self, desk: Client) -> None:
        fakes.settled()
        found = cards(desk)
        assert [(c.number, c.verdict) for c in found.values()][:2] == [
            ("0", "on target"),
            ("nothing owed", "on target"),
        ]
        assert "Nothing is open." in page(desk)

    def test_cost_few_queries(self, desk: Client) -> None:
        blocked(3)
        page(desk)
        with CaptureQueriesContext(connection) as queries:
            page(desk)
        few = len(queries)
        blocked(12)
        with CaptureQueriesContext(connection) as queries:
            page(desk)
        assert len(queries) == few <= 55


class TestUnreadable:
    @pytest.mark.parametrize(
        ("table", "unknown"),
        [
            ("manual_intervention_log", {"Needs a person"}),
            ("sync_ledger", {"Oldest owed", "Retrying by itself"}),
            ("sync_gap", {"Safety net"}),
            ("sync_audit", {"Consistency"}),
            ("sync_pulse", {"Workers", "Beat"}),
        ],
    )
    def test_says_so_and_spoils_nothing_else(self, table: str, unknown: set[str], desk: Client) -> None:
        with fakes.locked_table(table):
            found = cards(desk)
        assert {title for title, card in found.items() if card.number == "cannot be read"} == unknown
        assert all(found[title].verdict == "unknown" for title in unknown)

    @pytest.mark.parametrize("table", ["intervention_history", "sync_attempt"])
    def test_shows_no_empty_chart(self, desk: Client, table: str) -> None:
        with fakes.locked_table(table):
            text = page(desk)
        assert text.count("<figure") == 2
        assert "cannot be read" in text

    def test_causes_are_not_called_none(self, desk: Client) -> None:
        with fakes.locked_table("manual_intervention_log"):
            text = page(desk)
        assert "Nothing is open." not in text


class TestNet:
    def test_without_debt_is_not_whole(self, desk: Client) -> None:
        triggers.uninstall()
        try:
            card = cards(desk)["Safety net"]
        finally:
            triggers.install()
        assert (card.number, card.verdict) == ("not whole", "writes go unseen")

    def test_without_copying_is_debt_alone(self, desk: Client, copying_off: None) -> None:
        card = cards(desk)["Safety net"]
        assert (card.number, card.note) == ("debt alone", "debt on, copying off, no gap")

    def test_with_a_gap_waits_for_an_audit(self, desk: Client) -> None:
        Gap.objects.create(closed_at=timezone.now())
        assert cards(desk)["Safety net"].verdict == "not audited since"


class TestConsistency:
    def test_is_what_the_last_full_audit_found_and_says_when(self, desk: Client, cast: Cast) -> None:
        fakes.settled()
        card = cards(desk)["Consistency"]
        assert (card.number, card.verdict) == ("not known yet", "unknown")
        repair.audit(owe=True)
        card = cards(desk)["Consistency"]
        assert card.verdict == "behind", "Ben's bio differs"
        assert card.note == "23 of 24 facts equal everywhere,"
        assert card.number == "95.83 %"
        assert timezone.now() - card.at < dt.timedelta(minutes=1)
        fakes.settled()
        repair.audit(owe=True)
        assert (cards(desk)["Consistency"].number, cards(desk)["Consistency"].verdict) == ("100 %", "on target")

    def test_compares_nobody_while_a_page_waits(self, desk: Client) -> None:
        repair.audit(owe=True)
        for address in (reverse("admin:index"), reverse("week")):
            with CaptureQueriesContext(connection) as queries:
                desk.get(address)
            assert not [q["sql"] for q in queries if "JOIN therapist_" in q["sql"]]


class TestWhatRuns:
    def test_is_unknown_before_the_first_sign(self, desk: Client) -> None:
        found = cards(desk)
        assert [(found[name].number, found[name].look) for name in ("Workers", "Beat")] == [
            ("no sign of life", "kw-open")
        ] * 2

    def test_is_at_work_after_a_sign_and_silent_after_none(self, desk: Client) -> None:
        Pulse().give(pulse.WORKER, "worker-1@here")
        Pulse().give(pulse.WORKER, "worker-2@here")
        Pulse().give(pulse.BEAT, "here")
        found = cards(desk)
        assert (found["Workers"].number, found["Workers"].verdict) == ("2 at work", "on target")
        assert (found["Beat"].number, found["Beat"].verdict) == ("ticking", "on target")
        fakes.sql("UPDATE sync_pulse SET at = at - interval '5 minutes' WHERE name <> 'worker-2@here'")
        found = cards(desk)
        assert (found["Workers"].number, found["Workers"].note) == ("1 at work", "silent: worker-1@here")
        assert (found["Beat"].number, found["Beat"].look) == ("silent for 5\xa0minutes", "kw-open")


class TestPutOff:
    def test_is_no_part_of_the_number_and_said_beside_it(self, desk: Client, cast: Cast) -> None:
        blocked(2)
        now = timezone.now()
        causes.follow(at=now)
        cause = Cause.objects.get()
        attention.ignore(cause_id=cause.pk, until=now + dt.timedelta(days=1), reason="Known.", by="user:1", at=now)
        card = cards(desk)["Needs a person"]
        assert (card.number, card.besides) == ("0", "2 besides, snoozed or ignored")
        assert desk.get(card.link).context["cl"].result_count == 0
        assert desk.get(card.besides_link).context["cl"].result_count == 2
        # What is owed, and what is open for which reason, knows of no ignoring.
        text = page(desk)
        assert re.search(r"<b>2</b> owed", text)
        assert re.search(r"<b>2</b> <span><b>therapist_profiles</b>.*?ignored · for", text, re.DOTALL)
        assert (
            "2 besides, snoozed or ignored" in desk.get(reverse("target", args=["therapist_profiles"])).content.decode()
        )


class TestCauses:
    def test_lead_to_their_pages_once_they_have_one(self, desk: Client) -> None:
        blocked(2)
        causes.follow(at=timezone.now())
        assert f'href="{reverse("admin:cause", args=[Cause.objects.get().pk])}"' in page(desk)

    def test_lead_into_the_inbox_narrowed_to_them(self, desk: Client) -> None:
        blocked(2)
        cause = Intervention.objects.values_list("cause", flat=True).distinct().get()
        address = f"{reverse('admin:interventions_intervention_changelist')}?{urlencode({'cause__exact': cause})}"
        assert address.replace("&", "&amp;") in page(desk)
        assert desk.get(address).context["cl"].result_count == 2


class TestHours:
    def test_count_what_opened_and_what_was_resolved(self, transactional_db: None) -> None:
        lines = [("opened", None, "open", 0), ("reopened", "resolved", "reopened", 2), ("retry_failed", "retrying", "open", 2),
                 ("resolved:auto", "open", "resolved", 23), ("opened", None, "open", 24)]  # fmt: skip
        for action, before, after, hours in lines:
            History.objects.create(
                actor="system", action=action, object_type="intervention", object_id="1", from_state=before,
                to_state=after, at=NOW - dt.timedelta(hours=hours),
            )  # fmt: skip
        History.objects.create(
            actor="user:1", action="approve", object_type="enrollment", object_id="1", to_state="approved", at=NOW
        )
        found = readings.hours(NOW)
        assert len(found) == readings.HOURS
        assert [hour.opened for hour in found][-3:] == [1, 0, 1]
        assert (sum(hour.opened for hour in found), found[0].resolved) == (2, 1)


class TestBars:
    def test_show_a_one_beside_a_thousand(self) -> None:
        drawn = bars.chart("Opened", "", [(NOW, 1000), (NOW, 1), (NOW, 0)])
        assert [bar.height for bar in drawn.bars] == [bars.HEIGHT, bars.LEAST_SEEN, 0]
        assert drawn.outline.endswith("most in the hour from 12:30, 1000.")

    def test_can_be_read_without_seeing(self, desk: Client) -> None:
        blocked(1)
        text = page(desk)
        assert text.count('role="img"') == text.count("Show as table") == 4
        assert "Interventions opened: 1 in the last 24 hours" in text
        assert "Tries that failed: 1 in the last 24 hours" in text


class TestReaders:
    def test_without_the_permission_see_no_number(self, cast: Cast) -> None:
        client = Client()
        client.force_login(UserFactory.create(is_staff=True, user_type=UserType.STAFF))
        text = page(client)
        assert "kw-numbers" not in text
        assert "Read-only" in text

    def test_are_offered_in_the_sidebar_what_they_may_open(self, desk: Client, cast: Cast, settings: Any) -> None:
        settings.DEBUG = True
        text = page(desk)
        assert reverse("admin:therapists_user_changelist") in text
        assert reverse("drill") not in text
        cast.vic.user_permissions.clear()
        assert reverse("admin:therapists_user_changelist") not in page(desk)
        assert not Group.objects.filter(user=cast.vic).exists()


class TestPolicy:
    def test_allows_eval_in_the_admin_and_nowhere_else(self, desk: Client) -> None:
        def scripts(address: str) -> str:
            policy = desk.get(address)["Content-Security-Policy"]
            return next(part.strip() for part in policy.split(";") if part.strip().startswith("script-src"))

        assert scripts(reverse("admin:index")) == "script-src 'self' 'unsafe-eval'"
        assert scripts(reverse("admin:login")) == "script-src 'self' 'unsafe-eval'"
        for address in (reverse("docs"), reverse("landing"), "/health/live", "/administration/"):
            assert scripts(address) == "script-src 'self'"


class TestErrorPages:
    """Whoever ends up there is told what it means and led back, also where nothing but the page itself works."""

    def test_say_what_it_means(self, desk: Client) -> None:
        gone = desk.get(
            reverse("admin:interventions_intervention_change", args=["00000000-0000-0000-0000-000000000000"])
        )
        assert gone.status_code == 404
        refused = desk.post(reverse("switch"), {"scope": "target", "key": "users", "action": "pause"})
        assert refused.status_code == 403
        strict = Client(enforce_csrf_checks=True).post(reverse("admin:login"))
        pages = [answer.content.decode() for answer in (gone, refused, strict)]
        pages.append(render_to_string("500.html"))
        for page, said in zip(
            pages, ("There is nothing here", "your role does not allow it", "too old", "our side"), strict=True
        ):
            assert said in page
            assert 'href="/"' in page
