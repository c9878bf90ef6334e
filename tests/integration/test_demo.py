"""The demo's people are as many, as equal and as troubled as was asked for, and read like people."""

import re
from collections import Counter
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.base import CommandError
from PIL import Image

from interventions.models import Intervention, Resolution
from sync import queries
from sync.models import Debt, Ledger
from tests import fakes
from therapists.demo import population
from therapists.demo.population import seed_population
from therapists.demo.troubles import CUT_OFF, EXPORT, PHONE_CONSTRAINT, PIN
from therapists.models import Enrollment, Profile, Status, User, UserType

NUMBER, PERCENT = 400, 5


@pytest.fixture(autouse=True)
def _development(settings: Any, transactional_db: None, tmp_path: Path) -> Any:
    settings.DEBUG, settings.MEDIA_ROOT = True, tmp_path
    yield
    fakes.sql(f"ALTER TABLE therapist_profiles DROP CONSTRAINT IF EXISTS {PHONE_CONSTRAINT}")
    for name in (PIN, EXPORT):
        fakes.sql(f"DROP TRIGGER IF EXISTS {name} ON therapist_profiles")
        fakes.sql(f"DROP FUNCTION IF EXISTS {name}()")


@pytest.fixture(params=["empty", "lived in"])
def seeded(request: pytest.FixtureRequest) -> str:
    """Seed into an empty database, and beside somebody: the two ways of writing must not differ."""
    if request.param == "lived in":
        User.objects.create_user("first@example.org")
    seed_population(therapists=NUMBER, drift_percent=Decimal(PERCENT), seed=7)
    return str(request.param)


def troubles() -> Counter[tuple[str, str | None]]:
    return Counter(Intervention.objects.values_list("code", "resolution"))


@pytest.mark.usefixtures("seeded")
class TestThePopulation:
    def test_is_as_large_as_asked_for(self) -> None:
        assert User.objects.filter(user_type=UserType.THERAPIST).count() == NUMBER

    def test_drifts_in_exactly_the_share_asked_for_and_owes_nothing(self) -> None:
        assert len(fakes.behind()) == len({person for person, _ in fakes.behind()}) == NUMBER * PERCENT // 100
        assert not Debt.objects.exists()
        assert not Ledger.objects.exists()

    def test_drifts_in_every_target(self) -> None:
        assert {target for _, target in fakes.behind()} == {"users", "therapist_enrollments", "therapist_profiles"}

    def test_is_brought_in_line_by_an_audit_and_the_workers(self) -> None:
        call_command("audit_drift", "--owe", stdout=StringIO())
        fakes.settled()
        assert fakes.behind() == set()
        assert not Intervention.objects.exists()

    def test_holds_every_status_applicants_orphans_and_users_without_enrollment(self) -> None:
        statuses = list(Enrollment.objects.values_list("status", flat=True))
        assert set(statuses) == set(Status.values)
        assert statuses.count(Status.APPROVED) > NUMBER // 2
        assert Enrollment.objects.filter(user=None).count() == NUMBER * 20 // 1000
        assert Profile.objects.filter(user=None).count() == NUMBER * 5 // 1000
        assert User.objects.filter(enrollment=None, user_type=UserType.THERAPIST).exists()
        assert not Enrollment.objects.filter(status=Status.APPROVED, user__isnull=False, user__profile=None).exists()

    def test_reads_like_people(self) -> None:
        names = list(User.objects.filter(user_type=UserType.THERAPIST).values_list("full_name", flat=True))
        bios = [bio for bio in Enrollment.objects.values_list("bio", flat=True) if bio]
        assert len(set(names)) > NUMBER * 0.9
        assert len(set(bios)) > len(bios) * 0.8
        assert len(bios) > NUMBER * 0.9
        assert not [bio for bio in bios if re.search(r"[{}%$#]|\s\s|\b[01] years", bio) or not bio.endswith(".")]
        assert {first for bio in bios if (first := re.search(r"\b(I|my|My|me)\b", bio)) is None} == set()
        phones = [phone for phone in Enrollment.objects.values_list("phone", flat=True) if phone]
        assert not [phone for phone in phones if "#" in phone]

    def test_has_addresses_that_are_plain_unique_and_lead_nowhere(self) -> None:
        emails = list(Enrollment.objects.values_list("email", flat=True))
        assert len(set(emails)) == len(emails)
        shape = r"[a-z-]+\.[a-z-]+\d+@(example\.(com|org|net)|(mail|practice)\.example)"
        assert not [email for email in emails if not re.fullmatch(shape, email)]
        for name, email in User.objects.filter(user_type=UserType.THERAPIST).values_list("full_name", "email"):
            # No letter is lost on the way into the address, whatever its accents.
            said = name.removeprefix("Dr ").replace("\u2019", "")
            assert len(said) == len(re.sub(r"\d+@.*", "", email))

    def test_nobody_of_it_can_sign_in(self) -> None:
        assert not any(user.has_usable_password() for user in User.objects.filter(user_type=UserType.THERAPIST)[:20])

    def test_has_some_pictures_that_exist(self) -> None:
        urls = set(User.objects.exclude(avatar_url=None).values_list("avatar_url", flat=True))
        assert 2 < len(urls) <= 12
        for url in urls:
            with default_storage.open(str(url).removeprefix("/media/")) as file, Image.open(file) as image:
                assert (image.format, image.size) == ("WEBP", (256, 256))


class TestSeeding:
    def test_p9_works_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(population, "BATCH", 30)
        told: list[int] = []
        seed_population(therapists=100, drift_percent=Decimal(10), seed=1, told=told.append)
        assert told == [30, 60, 90, 102]
        assert (User.objects.count(), len(fakes.behind())) == (100, 10)

    def test_makes_the_same_people_from_the_same_seed_and_others_from_another(self) -> None:
        names = []
        for seed in (3, 3, 4):
            before = set(User.objects.values_list("pk", flat=True))
            seed_population(therapists=20, drift_percent=Decimal(0), seed=seed)
            made = User.objects.exclude(pk__in=before).order_by("pk")
            names.append(list(made.values_list("full_name", flat=True)))
        assert names[0] == names[1] != names[2]

    def test_p4_leaves_debt_that_was_there(self, settings: Any) -> None:
        settings.SYNC_RECEIVERS = False
        ada = User.objects.create_user("ada@example.org")
        Enrollment.objects.create(user=ada, email=ada.email)
        before = set(Debt.objects.values_list("pk", flat=True))
        seed_population(therapists=20, drift_percent=Decimal(0), seed=1)
        assert before
        assert set(Debt.objects.values_list("pk", flat=True)) == before

    def test_if_empty_leaves_a_database_alone_in_which_somebody_is(self) -> None:
        User.objects.create_user("first@example.org")
        call_command("seed_demo", "--if-empty", stdout=StringIO())
        assert User.objects.count() == 1

    @pytest.mark.parametrize("words", [["--therapists", "-1"], ["--drift", "101"], ["--drift", "-1"]])
    def test_refuses_numbers_that_mean_nothing(self, words: list[str]) -> None:
        with pytest.raises(CommandError):
            call_command("seed_demo", *words)


class TestTheFirstStart:
    @pytest.fixture(autouse=True)
    def _started(self) -> None:
        call_command("seed_demo", "--if-empty", stdout=StringIO())

    def test_shows_a_system_at_work(self) -> None:
        for _ in range(5):
            fakes.settled()
        assert troubles() == {
            ("23514", None): 3, ("P0002", None): 2, ("KW001", None): 1, ("KW003", None): 1, ("55P03", None): 1,
            ("23514", Resolution.ACCEPTED): 1, ("P0002", Resolution.AUTO): 3,
        }  # fmt: skip
        states = [state.state for state in queries.sync_states(User.objects.values_list("pk", flat=True))]
        assert (states.count("blocked"), states.count("backing_off")) == (7, 1)

    def test_p8_each_trouble_can_be_mended_as_the_manual_says(self) -> None:
        refused = Intervention.objects.filter(resolved=False, code="23514").values("person_id")
        Enrollment.objects.filter(user__in=refused).update(phone="+44 7700 900417")
        for item in Intervention.objects.filter(resolved=False, code="P0002"):
            Profile.objects.create(user_id=item.person_id)
        Enrollment.objects.filter(specialization=CUT_OFF).update(specialization="Trauma, EMDR")
        for name in (PIN, EXPORT):
            fakes.sql(f"DROP TRIGGER {name} ON therapist_profiles")
        fakes.settled()
        assert not Intervention.objects.filter(resolved=False).exists()

    def test_leaves_the_drift_to_the_audit(self) -> None:
        assert len(fakes.silently_behind()) == 8

    def test_p3_ordinary_writes_meet_none_of_it(self) -> None:
        person = User.objects.filter(
            profile__bio=None, enrollment__status=Status.APPROVED, profile__isnull=False
        ).first()
        assert person is not None
        Enrollment.objects.filter(user=person).update(phone="+44 20 7946 0958 ext. 12345 (mornings)", bio="New.")
        assert {state.state for state in queries.sync_states([person.pk])} == {"in_sync"}
