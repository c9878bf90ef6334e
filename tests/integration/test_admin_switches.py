"""The desk's switches: who may press them, what they say, and what the front page shows of breakers and pauses."""

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from interventions.models import History, Intervention
from sync.stops import Breaker, Pause
from tests.factories import Cast, UserFactory, parked_target
from therapists.models import User, UserType
from therapists.roles import LEAD, OPERATOR

TARGET = "therapist_profiles"


def staff(role: str) -> User:
    user: User = UserFactory.create(user_type=UserType.STAFF, is_staff=True, full_name=f"The {role}")
    user.groups.add(Group.objects.get(name=role))
    return user


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def lead(cast: Cast) -> User:
    return staff(LEAD)


def press(client: Client, scope: str, key: object, action: str, **more: str) -> str:
    """Press a switch and give the page that follows."""
    words = {"scope": scope, "key": str(key), "action": action} | more
    return client.post(reverse("switch"), words, follow=True).content.decode()


def front(client: Client) -> str:
    return client.get(reverse("admin:index")).content.decode()


class TestTheFrontPage:
    def test_says_that_a_target_works(self, lead: User) -> None:
        text = front(client_of(lead))
        assert text.count('<span class="kw-state kw-resolved">working</span>') == 3
        assert "Try now: therapist_profiles" not in text

    def test_says_why_a_target_is_left_alone_and_when_it_is_tried(self, lead: User) -> None:
        parked_target()
        text = front(client_of(lead))
        assert "because its row or table is locked by somebody else since" in text
        assert "tried next in" in text
        assert "Try now: therapist_profiles" in text

    def test_says_who_switched_what_off_and_why(self, lead: User) -> None:
        client = client_of(lead)
        text = press(client, "target", TARGET, "pause", note="Moving the table.")
        assert "Paused. What is owed there waits" in text
        assert "by The Lead since" in text
        assert "“Moving the table.”" in text
        assert "Switch on: therapist_profiles" in text

    def test_shows_no_button_to_who_may_not_switch(self, cast: Cast) -> None:
        text = front(client_of(staff(OPERATOR)))
        assert "working" in text
        assert "Switch off" not in text


class TestPressing:
    @pytest.mark.parametrize(("scope", "key"), [("target", TARGET), ("operation", "audit"), ("person", None)])
    def test_p10_only_leads_switch(self, cast: Cast, scope: str, key: str | None) -> None:
        name = str(cast.ada.pk) if key is None else key
        words = {"scope": scope, "key": name, "action": "pause"}
        for user in (cast.vic, cast.sam, staff(OPERATOR)):
            assert client_of(user).post(reverse("switch"), words).status_code == 403
        assert client_of(cast.ada).post(reverse("switch"), words).status_code == 302
        assert not Pause.objects.exists()
        press(client_of(staff(LEAD)), scope, name, "pause")
        assert Pause.objects.get().key == name

    def test_is_a_post_with_a_token(self, lead: User) -> None:
        assert client_of(lead).get(reverse("switch")).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(lead)
        words = {"scope": "target", "key": TARGET, "action": "pause"}
        assert strict.post(reverse("switch"), words).status_code == 403

    def test_twice_tells_the_second_person(self, lead: User) -> None:
        client = client_of(lead)
        press(client, "operation", "sync", "pause")
        assert "paused already" in press(client, "operation", "sync", "pause")
        assert "Switched on again" in press(client, "operation", "sync", "resume")
        assert "on already" in press(client, "operation", "sync", "resume")
        assert list(History.objects.order_by("id").values_list("action", flat=True)) == ["paused", "resumed"]

    def test_a_reset_makes_the_probe_due(self, lead: User) -> None:
        parked_target()
        assert "One row is tried now" in press(client_of(lead), "target", TARGET, "reset")
        row = Breaker.objects.get()
        assert (row.word, row.probe_seconds) == ("open", 60)
        assert row.probe_at is not None
        assert row.probe_at <= timezone.now()
        line = History.objects.get()
        assert (line.actor, line.action, line.object_id) == (f"user:{lead.pk}", "breaker_reset", TARGET)

    @pytest.mark.parametrize(
        ("scope", "key", "action"),
        [
            ("", "", ""),
            ("target", "nowhere", "pause"),
            ("person", "1", "reset"),
            ("person", "07", "pause"),
            ("target", TARGET, "explode"),
        ],
    )
    def test_nonsense_changes_nothing(self, lead: User, scope: str, key: str, action: str) -> None:
        text = press(client_of(lead), scope, key, action)
        assert "nothing was changed" in text
        assert not Pause.objects.exists()
        assert not Breaker.objects.exists()

    def test_goes_back_to_the_desk_and_nowhere_else(self, lead: User) -> None:
        words = {"scope": "target", "key": TARGET, "action": "pause", "next": "https://elsewhere.example/"}
        assert client_of(lead).post(reverse("switch"), words)["Location"] == reverse("admin:index")


class TestAPersonsPage:
    def test_switches_the_work_on_their_copies_off_and_on(self, cast: Cast, lead: User) -> None:
        client, page = client_of(lead), reverse("admin:therapists_user_change", args=[cast.ada.pk])
        assert "Switch the work on these copies off…" in client.get(page).content.decode()
        text = press(client, "person", cast.ada.pk, "pause", note="A court order.", next=page)
        assert "“A court order.”" in text
        assert "switched off" in text
        assert "Switch the work on these copies off…" in press(client, "person", cast.ada.pk, "resume", next=page)

    def test_offers_no_switch_to_who_may_not(self, cast: Cast) -> None:
        page = reverse("admin:therapists_user_change", args=[cast.ada.pk])
        assert "Switch the work" not in client_of(staff(OPERATOR)).get(page).content.decode()


def test_the_item_of_a_target_can_be_read(cast: Cast, lead: User) -> None:
    item = Intervention.objects.create(
        operation="sync", entity_id=TARGET, target=TARGET, code="55P03", error=f"{TARGET}: transient 55P03",
        cause=f"v1:{TARGET}:sync:transient:55P03:{TARGET}", attempts=6,
    )  # fmt: skip
    client = client_of(lead)
    text = client.get(reverse("admin:interventions_intervention_change", args=[item.pk])).content.decode()
    assert "therapist_profiles could not be brought in line because its row or table is locked" in text
    inbox = client.get(reverse("admin:interventions_intervention_changelist")).content.decode()
    assert str(item.pk) in inbox
