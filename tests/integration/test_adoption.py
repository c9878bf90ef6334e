"""What somebody wrote into an owned copy: the source's value comes back, and theirs can be adopted."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from interventions.handlers import NotAdoptable
from interventions.models import History
from interventions.operations import adopt_value
from sync import adoption
from sync.models import LostValue
from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment, Profile, User

pytestmark = pytest.mark.django_db(transaction=True)
PROFILES = "therapist_profiles"
WORDS = "Typed into the wrong table."


@pytest.fixture
def value(cast: Cast) -> LostValue:
    fakes.settled()
    fakes.sql("UPDATE therapist_profiles SET bio = %s WHERE user_id = %s", WORDS, cast.ada.pk)
    fakes.settled()
    assert Profile.objects.get(user=cast.ada).bio != WORDS, "the source's value is back"
    return LostValue.objects.get(person_id=cast.ada.pk)


class TestAdopting:
    def test_writes_the_value_to_its_source_and_so_everywhere(self, cast: Cast, value: LostValue) -> None:
        (shown,) = adoption.replaced([(cast.ada.pk, PROFILES)])
        assert (shown.fact, shown.text, shown.why_not) == ("bio", WORDS, "")
        adopt_value(value_id=value.pk, fact="bio", by=f"user:{cast.sam.pk}")
        fakes.settled()
        assert Enrollment.objects.get(user=cast.ada).bio == WORDS
        assert Profile.objects.get(user=cast.ada).bio == WORDS
        assert not LostValue.objects.exists()
        line = History.objects.get(action="adopted:bio")
        assert (line.actor, line.object_id) == (f"user:{cast.sam.pk}", str(cast.ada.pk))
        assert WORDS not in str(History.objects.values().get(pk=line.pk))

    def test_turns_a_list_into_the_sources_words(self, cast: Cast) -> None:
        fakes.settled()
        Enrollment.objects.filter(user=cast.ada).update(specialization="Grief")
        fakes.settled()
        fakes.sql("UPDATE therapist_profiles SET specialization = '{Trauma,\"a, b\"}' WHERE user_id = %s", cast.ada.pk)
        fakes.settled()
        value = LostValue.objects.get(person_id=cast.ada.pk)
        adopt_value(value_id=value.pk, fact="specialization", by="user:1")
        fakes.settled()
        assert Enrollment.objects.get(user=cast.ada).specialization == 'Trauma, "a, b"'
        assert Profile.objects.get(user=cast.ada).specialization == ["Trauma", "a, b"]

    def test_p10_a_decision_is_never_adopted(self, cast: Cast) -> None:
        fakes.settled()
        Enrollment.objects.filter(user=cast.ada).update(status="rejected")
        fakes.settled()
        fakes.sql("UPDATE therapist_profiles SET verification_status = 'approved' WHERE user_id = %s", cast.ada.pk)
        fakes.settled()
        value = LostValue.objects.get(person_id=cast.ada.pk)
        with pytest.raises(NotAdoptable, match="decided"):
            adopt_value(value_id=value.pk, fact="verification", by="user:1")
        assert Enrollment.objects.get(user=cast.ada).status == "rejected"

    def test_refuses_what_the_source_does_not_allow_and_what_is_gone(self, cast: Cast) -> None:
        fakes.settled()
        fakes.sql("UPDATE therapist_profiles SET experience_years = 900 WHERE user_id = %s", cast.ada.pk)
        fakes.settled()
        value = LostValue.objects.get(person_id=cast.ada.pk)
        with pytest.raises(NotAdoptable, match="does not allow"):
            adopt_value(value_id=value.pk, fact="experience_years", by="user:1")
        assert LostValue.objects.filter(pk=value.pk).exists()
        LostValue.objects.all().delete()
        with pytest.raises(NotAdoptable, match="meanwhile"):
            adopt_value(value_id=value.pk, fact="experience_years", by="user:1")


class TestThePage:
    def test_offers_it_to_those_who_may_and_adopts(self, cast: Cast, value: LostValue) -> None:
        desk, page = Client(), reverse("admin:therapists_user_change", args=[cast.ada.pk])
        desk.force_login(lead(cast))
        assert "Adopt this value" in desk.get(page).content.decode()
        answer = desk.post(
            reverse("admin:interventions_intervention_adopt"),
            {"value": value.pk, "fact": "bio", "next": page},
            follow=True,
        )
        assert "every place follows" in answer.content.decode()
        assert Enrollment.objects.get(user=cast.ada).bio == WORDS

    def test_is_refused_to_others_and_to_get(self, cast: Cast, value: LostValue) -> None:
        desk, where = Client(), reverse("admin:interventions_intervention_adopt")
        desk.force_login(cast.vic)
        page = desk.get(reverse("admin:therapists_user_change", args=[cast.ada.pk])).content.decode()
        assert "Adopt this value" not in page
        assert desk.post(where, {"value": value.pk, "fact": "bio"}).status_code == 403
        desk.force_login(lead(cast))
        assert desk.get(where).status_code == 405
        assert Enrollment.objects.get(user=cast.ada).bio != WORDS


def lead(cast: Cast) -> User:
    cast.sam.user_permissions.add(Permission.objects.get(codename="adopt_value"))
    return User.objects.get(pk=cast.sam.pk)
