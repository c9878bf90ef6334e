"""P9: a place that is set up wrongly is one cause, whoever is behind; nobody's debt is given up, and all of it follows."""

from django.utils import timezone

from interventions import causes
from interventions.models import Intervention
from sync.models import Ledger
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile

TARGET, MANY = "therapist_profiles", 30


def test_p9_a_place_that_is_set_up_wrongly_is_one_cause_for_everybody(
    transactional_db: None, copying_off: None, database_alone: None
) -> None:
    people = therapists(MANY)
    with fakes.renamed(TARGET, "bio"):
        Enrollment.objects.update(bio="new")
        fakes.settled()
        assert [(cause.target, cause.code, cause.items) for cause in causes.standing(at=timezone.now(), limit=5)] == [
            (TARGET, "42703", MANY)
        ]
        assert {fakes.states(person.pk)[TARGET] for person in people} == {"blocked"}
        assert Ledger.objects.filter(target=TARGET, owed_since__isnull=False).count() == MANY, "all of it is kept"
    fakes.settled()
    assert Profile.objects.filter(bio="new").count() == MANY
    assert not Intervention.objects.filter(resolved=False).exists()
