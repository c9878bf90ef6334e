"""P5: whoever is killed over a keyed request has done all of it or nothing; sent again it is done once and answered once."""

from django.test import Client

from interventions.models import KeyedRequest
from interventions.points import POINTS
from tests import fakes
from tests.factories import therapists
from tests.victims import Victims
from therapists.models import Enrollment

ME = "/api/v1/therapists/me/"
# Where the process dies, whether the write is there then, and whether its answer is.
DEATHS = {
    "interventions.key.after_claim": (False, False),
    "therapists.before_commit": (False, False),
    "therapists.after_commit": (True, False),
    "sync.after_commit": (True, False),
    "interventions.key.before_store": (True, False),
    "interventions.key.after_store": (True, True),
}


def test_p5_whoever_is_killed_over_a_key_has_done_all_or_nothing_and_the_next_does_the_rest(
    transactional_db: None, victims: Victims
) -> None:
    assert {point for point in POINTS if point.startswith("interventions.key.")} <= set(DEATHS)
    for (point, (is_written, is_answered)), person in zip(DEATHS.items(), therapists(len(DEATHS)), strict=True):
        client = Client()
        client.force_login(person)
        session, bio, headers = client.session.session_key or "", f"Saved by {point}.", {"Idempotency-Key": point}

        assert victims.run("edit", orders={point: "kill"}, session=session, bio=bio, key=point) == -9, point

        fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
        rows = KeyedRequest.objects.filter(key=point)
        assert (Enrollment.objects.get(user=person).bio == bio, rows.count()) == (is_written, int(is_written)), point
        assert rows.filter(body__isnull=False).exists() is is_answered, point
        outcome = client.get(f"/api/v1/operations/{point}/")
        assert outcome.status_code == (200 if is_written else 404), point
        rows.update(at="2026-01-01T00:00:00Z")  # the one who was composing its answer had time enough
        first, again = (client.patch(ME, {"bio": bio}, "application/json", headers=headers) for _ in range(2))
        # Told as a replay, it was not done a second time.
        assert (first.status_code, first.headers.get("Idempotent-Replayed") == "true") == (200, is_written), point
        assert (first.json()["data"]["bio"], again.content) == (bio, first.content), point
        assert (rows.count(), Enrollment.objects.get(user=person).bio) == (1, bio), point
    fakes.settled()
    assert fakes.behind() == set()
