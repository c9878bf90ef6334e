"""The pages of bulk retries: from the inbox's own list to a report, for those who may."""

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from interventions import retry_runs
from interventions.admin import item as item_page
from interventions.models import History, Intervention, RetryRun, RetryState
from tests import fakes
from tests.factories import Cast, trouble
from therapists.models import User

pytestmark = pytest.mark.django_db(transaction=True)
INBOX = reverse("admin:interventions_intervention_changelist")
CAUSE = "v1:therapist_profiles:sync:refused:23514:refused_on_purpose"


@pytest.fixture
def broken(cast: Cast) -> Iterator[list[User]]:
    """People with an item each; what was in the way is gone, and nobody has tried again."""
    with trouble(7) as made:
        assert list(Intervention.objects.values_list("cause", flat=True)) == [CAUSE] * 7
        made.lift()
        yield made.people


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(cast: Cast) -> Client:
    names = ("view_intervention", "retry_intervention", "view_retryrun")
    cast.sam.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return client_of(User.objects.get(pk=cast.sam.pk))


def plan(client: Client, query: str) -> RetryRun:
    client.post(reverse("admin:retries_plan"), {"query": query})
    return RetryRun.objects.get()


def test_a_cause_is_planned_started_and_reported_by_buttons(operator: Client, broken: list[User]) -> None:
    listed = operator.get(INBOX, {"cause__exact": CAUSE}).content.decode()
    assert "Retry all 7…" in listed
    run = plan(operator, f"cause__exact={CAUSE}")
    address = reverse("admin:retry_run", args=[run.pk])
    page = operator.get(address).content.decode()
    assert "<b>7</b> interventions need a person now" in page
    assert "Nothing was tried yet" in page
    assert not Intervention.objects.filter(state="retrying").exists()
    operator.post(address, {"action": "start"})
    for _ in range(4):
        retry_runs.advance_all(at=timezone.now())
        fakes.settled()
    page = operator.get(address).content.decode()
    assert "7 of 7 answered" in page
    counted = re.search(r'<th scope="row">Fixed</th><td><a href="([^"]+)">7</a>', page)
    assert counted
    fixed = operator.get(counted[1].replace("&amp;", "&"))
    assert fixed.context["cl"].result_count == 7
    assert f"One bulk retry: {str(run.pk)[:8]}: Fixed." in fixed.content.decode()
    # A few are named at once: their pages are the proof.
    named = re.findall(r'<th scope="row"><a href="([^"]+)">', page)
    assert len(named) == 5
    assert "Resolved by itself: both sides are equal" in operator.get(named[0]).content.decode()
    assert operator.get(INBOX, {"tab": "all", "run": f"{run.pk}.failed"}).context["cl"].result_count == 0
    assert operator.get(INBOX, {"tab": "all", "run": "x' OR 1=1"}).context["cl"].result_count == 0
    assert "Bulk retry planned, by Sam Reyes" in page
    assert "Run started, by Sam Reyes" in page
    report = b"".join(operator.get(reverse("admin:retry_run_report", args=[run.pk]))).decode()
    assert report.count("Fixed") == 7
    assert run.title == "therapist_profiles: The place refuses the value by a CHECK constraint (refused_on_purpose)."


def test_what_a_cancelled_run_left_is_not_called_answered(operator: Client, broken: list[User]) -> None:
    run = plan(operator, f"cause__exact={CAUSE}")
    retry_runs.switch(run_id=run.pk, action="start", by="user:1", at=timezone.now())
    run.retryrunitem_set.filter(person_id__in=[person.pk for person in broken[:2]]).update(outcome="fixed")
    retry_runs.switch(run_id=run.pk, action="cancel", by="user:1", at=timezone.now())
    page = operator.get(reverse("admin:retry_run", args=[run.pk])).content.decode()
    assert "2 of 7 answered, 5 left" in page
    assert '<progress max="100" value="28"' in page


def test_a_run_that_left_something_broken_is_not_called_done_and_nothing_else(
    operator: Client, broken: list[User]
) -> None:
    run = plan(operator, f"cause__exact={CAUSE}")
    run.retryrunitem_set.update(outcome="fixed")
    run.state, run.started_at = "done", timezone.now()
    run.save()
    pages = [reverse("admin:retry_run", args=[run.pk]), reverse("admin:retries")]
    for address in pages:
        assert '<span class="kw-state kw-resolved">Done</span>' in operator.get(address).content.decode()
    run.retryrunitem_set.filter(person_id=broken[0].pk).update(outcome="failed")
    for address in pages:
        assert '<span class="kw-state kw-open">Done: some failed again</span>' in operator.get(address).content.decode()


def test_a_run_is_listed_in_its_own_order_each_item_once(operator: Client, broken: list[User]) -> None:
    made = [retry_runs.plan(items=Intervention.objects.all(), title="", by="user:1", at=timezone.now()) for _ in "ab"]
    ids = list(made[1].retryrunitem_set.order_by("pk").values_list("item_id", flat=True))
    # As if what came last had been tried first.
    made[1].retryrunitem_set.all().delete()
    for pk in reversed(ids):
        made[1].retryrunitem_set.create(item_id=pk, person_id=1, target="therapist_profiles")
    for tab in ("", "all"):
        listed = operator.get(INBOX, {"tab": tab, "run": str(made[1].pk)}).context["cl"]
        assert [row.pk for row in listed.result_list] == ids[::-1]
        assert listed.result_count == 7
    found = operator.get(INBOX, {"tab": "all", "run": str(made[1].pk), "q": broken[2].email}).context["cl"]
    assert [row.person_id for row in found.result_list] == [broken[2].pk]


def test_a_search_is_planned_as_the_inbox_lists_it_and_its_words_are_not_kept(
    operator: Client, broken: list[User]
) -> None:
    run = plan(operator, f"q={broken[2].email}")
    assert list(run.retryrunitem_set.values_list("person_id", flat=True)) == [broken[2].pk]
    assert run.title == "a search"


def test_more_than_a_request_can_answer_for_become_a_bulk_retry(
    operator: Client, broken: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_page, "MOST_RETRIED", 3)
    ids = [str(pk) for pk in Intervention.objects.values_list("pk", flat=True)[:4]]
    answer = operator.post(INBOX, {"action": "retry_selected", "_selected_action": ids})
    run = RetryRun.objects.get()
    assert answer.headers["Location"] == reverse("admin:retry_run", args=[run.pk])
    assert run.retryrunitem_set.count() == 4


def test_nothing_to_retry_says_so(operator: Client) -> None:
    answer = operator.post(reverse("admin:retries_plan"), {"query": ""}, follow=True)
    assert "there is nothing to retry" in answer.content.decode()
    assert not RetryRun.objects.exists()


def test_who_only_looks_sees_no_button_and_can_press_none(cast: Cast, operator: Client, broken: list[User]) -> None:
    run = plan(operator, "")
    address = reverse("admin:retry_run", args=[run.pk])
    looking = client_of(cast.vic)
    assert "Retry all" not in looking.get(INBOX, {"cause__exact": CAUSE}).content.decode()
    assert "Retry 7" not in looking.get(address).content.decode()
    assert looking.post(address, {"action": "start"}).status_code == 403
    assert looking.post(reverse("admin:retries_plan"), {"query": ""}).status_code == 403
    run.refresh_from_db()
    assert run.state == RetryState.PLANNED


@pytest.mark.parametrize("name", ["retries", "retry_run", "retry_run_report"])
def test_nobody_else_sees_a_run(cast: Cast, operator: Client, broken: list[User], name: str) -> None:
    run = plan(operator, "")
    address = reverse(f"admin:{name}", args=[] if name == "retries" else [run.pk])
    assert client_of(cast.ada).get(address).status_code in {302, 403}
    assert Client().get(address).status_code == 302


def test_planning_is_no_matter_of_a_link(operator: Client, broken: list[User]) -> None:
    assert operator.get(reverse("admin:retries_plan")).status_code == 405
    assert not RetryRun.objects.exists()


def test_the_page_of_a_run_shows_what_was_done_last(operator: Client) -> None:
    run = RetryRun.objects.create(title="All", state="cancelled", asked_by="user:1", asked_at=timezone.now())
    done = [*["run_pause", "run_resume"] * 15, "run_cancel"]
    History.objects.bulk_create(
        History(actor="user:1", action=action, object_type="retry_run", object_id=str(run.pk)) for action in done
    )
    assert "Run cancelled" in operator.get(reverse("admin:retry_run", args=[run.pk])).text
