"""Times in the reader's zone: chosen by themselves, on every page of the desk, named, and nowhere else."""

import csv
import datetime as dt
import re
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from interventions.models import History, Intervention, RetryRun
from interventions.templatetags import desk
from sync.admin import bars
from tests import fakes
from tests.factories import Cast, UserFactory
from therapists import zones
from therapists.models import User, UserType

ROOT = Path(__file__).resolve().parents[2]
SUMMER = dt.datetime(2026, 7, 3, 22, 30, tzinfo=dt.UTC)
OWN = reverse("own_zone")


@pytest.fixture
def desk_of_vic(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.vic)
    return client


def in_zone(user: User, name: str) -> None:
    User.objects.filter(pk=user.pk).update(time_zone=name)


def a_hold_of_summer() -> str:
    fakes.sql("INSERT INTO sync_hold (target, opened_at) VALUES ('users', %s)", SUMMER)
    return reverse("admin:sync_hold_change", args=[fakes.sql("SELECT id FROM sync_hold")[0][0]])


class TestAPage:
    def test_tells_times_in_the_readers_zone_with_its_name(self, desk_of_vic: Client, cast: Cast) -> None:
        page = a_hold_of_summer()
        assert "3 Jul 2026, 22:30 UTC" in desk_of_vic.get(page).content.decode()
        in_zone(cast.vic, "Europe/Paris")
        text = desk_of_vic.get(page).content.decode()
        assert "4 Jul 2026, 00:30 CEST" in text
        assert "UTC" not in text
        assert f'datetime="{SUMMER.isoformat()}"' in text, "machines read the same moment everywhere"

    def test_names_a_zone_without_a_name_by_its_distance(self, desk_of_vic: Client, cast: Cast) -> None:
        in_zone(cast.vic, "America/Sao_Paulo")
        assert "3 Jul 2026, 19:30 UTC-03" in desk_of_vic.get(a_hold_of_summer()).content.decode()

    @pytest.mark.parametrize("name", ["Atlantis/Capital", "../../etc/passwd", "Europe"])
    def test_tells_the_sites_time_to_whom_nobody_knows_the_zone_of(
        self, desk_of_vic: Client, cast: Cast, name: str
    ) -> None:
        in_zone(cast.vic, name)
        assert zones.named(name) is None
        assert desk_of_vic.get(reverse("admin:index")).status_code == 200

    def test_of_lists_is_in_the_readers_zone_too(self, desk_of_vic: Client, cast: Cast) -> None:
        History.objects.create(actor="system", action="opened", object_type="target", object_id="users", at=SUMMER)
        User.objects.filter(pk=cast.ada.pk).update(created_at=SUMMER)
        fakes.sql("UPDATE therapist_enrollments SET created_at = %s", SUMMER)
        in_zone(cast.vic, "Asia/Tokyo")
        assert (
            "4 Jul 2026, 07:30:00 JST"
            in desk_of_vic.get(reverse("admin:interventions_history_changelist")).content.decode()
        )
        people = desk_of_vic.get(reverse("admin:therapists_enrollment_changelist")).content.decode()
        assert "4 Jul 2026, 07:30 JST" in people

    def test_of_hours_says_whose_hours_they_are(self, desk_of_vic: Client, cast: Cast) -> None:
        in_zone(cast.vic, "Asia/Kolkata")
        text = desk_of_vic.get(reverse("admin:index")).content.decode()
        assert "Hour from (IST)" in text
        assert re.search(r'<th scope="row">\d\d:30</th>', text)

    def test_lasts_no_longer_than_its_answer(self, desk_of_vic: Client, cast: Cast) -> None:
        in_zone(cast.vic, "Asia/Tokyo")
        desk_of_vic.get(reverse("admin:index"))
        assert "22:30 UTC" in desk.when(SUMMER)
        assert bars.chart("", "", [(SUMMER, 1)]).bars[0].hour == "22:30"


class TestElsewhere:
    def test_the_api_and_files_say_utc(self, desk_of_vic: Client, cast: Cast) -> None:
        cast.vic.user_permissions.add(*Permission.objects.filter(codename="view_retryrun"))
        in_zone(cast.vic, "Asia/Tokyo")
        Intervention.objects.create(operation="sync", error="", timestamp=SUMMER)
        listed = desk_of_vic.get("/api/v1/interventions/").content.decode()
        assert "2026-07-03T22:30:00Z" in listed
        run = RetryRun.objects.create(title="x", state="done", asked_by="user:1", asked_at=SUMMER)
        run.retryrunitem_set.create(item_id=run.pk, person_id=1, target="users", outcome="fixed", at=SUMMER)
        answer = desk_of_vic.get(reverse("admin:retry_run_report", args=[run.pk]))
        rows = list(csv.reader(b"".join(answer).decode().splitlines()))
        assert (rows[0][-2], rows[1][-2]) == ("at (UTC)", "2026-07-03T22:30:00+00:00")

    def test_no_page_writes_a_time_by_hand(self) -> None:
        """A zone's name that is written by hand is a lie to whoever reads in another; a time without one is a riddle."""
        found = []
        places = [
            *ROOT.glob("templates/admin/**/*.html"),
            *(p for a in ("interventions", "sync", "therapists") for p in (ROOT / a / "admin").glob("*.py")),
        ]
        for path in places:
            text = path.read_text()
            found += [(path.name, hit) for hit in re.findall(r"\|(?:date:['\"][^'\"]*[HGghisc]|time:).{0,20}", text)]
            found += [(path.name, hit) for hit in re.findall(r"(?:%[HMdY]|:H:i|\}\}|\)) ?UTC|strftime\(.%H", text)]
        assert [one for one in found if one not in KNOWN] == []


# A bar's hour has no room for the zone, which stands beside it.
KNOWN = [("bars.py", 'strftime("%H')]


class TestChoosing:
    def test_is_for_oneself_and_by_name(self, desk_of_vic: Client, cast: Cast) -> None:
        assert "As the site: UTC" in desk_of_vic.get(OWN).content.decode()
        text = desk_of_vic.post(OWN, {"zone": "Europe/Paris"}, follow=True).content.decode()
        assert "<option selected>Europe/Paris</option>" in text
        assert list(User.objects.exclude(time_zone="").values_list("pk", flat=True)) == [cast.vic.pk]
        desk_of_vic.post(OWN, {"zone": ""})
        assert not User.objects.exclude(time_zone="").exists()

    def test_refuses_what_is_no_zone(self, desk_of_vic: Client) -> None:
        text = desk_of_vic.post(OWN, {"zone": "Atlantis/Capital"}, follow=True).content.decode()
        assert "nothing was changed" in text
        assert not User.objects.exclude(time_zone="").exists()

    def test_p10_is_a_post_with_a_token_of_somebody_of_the_staff(self, cast: Cast) -> None:
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(cast.vic)
        assert strict.post(OWN, {"zone": "Europe/Paris"}).status_code == 403
        outside = Client()
        outside.force_login(cast.ada)
        assert outside.post(OWN, {"zone": "Europe/Paris"}).status_code == 302
        assert not User.objects.exclude(time_zone="").exists()

    def test_is_offered_beneath_ones_name_also_to_who_may_do_nothing_else(self, cast: Cast) -> None:
        client = Client()
        client.force_login(UserFactory.create(is_staff=True, user_type=UserType.STAFF))
        assert f'href="{OWN}"' in client.get(reverse("admin:index")).content.decode()
        assert client.get(OWN).status_code == 200

    def test_owes_nothing_to_anybody(self, desk_of_vic: Client) -> None:
        fakes.settled()
        desk_of_vic.post(OWN, {"zone": "Europe/Paris"})
        assert fakes.sql("SELECT count(*) FROM sync_debt") == [(0,)]
