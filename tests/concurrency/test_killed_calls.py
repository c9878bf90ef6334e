"""P1 and P5 for services: whoever is killed over a call leaves it owed, and one effect for each (person, target, revision)."""

from collections import Counter
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone

from interventions.points import POINTS
from sync import calling, delivery, outside
from sync.models import Ledger, Service
from tests import fakes
from tests.concurrency.test_failpoints import OF_CALLS
from tests.factories import therapists
from tests.stand_ins.control import started
from tests.stand_ins.listing import SECRET
from tests.victims import Victims
from therapists.models import Enrollment

# What stands in the way of settling.
FAILING = {"sync.call.before_fail", "sync.call.after_fail"}


def test_p1_a_caller_killed_at_any_point_leaves_it_owed_and_one_effect(
    transactional_db: None, settings: Any, victims: Victims, database_alone: None
) -> None:
    person = therapists(1)[0]
    with started("listing") as (listing,):
        settings.LISTING_URL, settings.LISTING_SECRET = listing.address, SECRET
        settings.SYNC_PRIVATE_ADDRESSES = True
        for point in sorted(point for point in POINTS if point.startswith(OF_CALLS)):
            if point.startswith("sync.outside."):
                Service.objects.all().delete()
            Enrollment.objects.update(bio=point)
            listing.follow(*[{"do": "status", "status": 500, "times": 1}] * (point in FAILING))
            code = victims.run("call", orders={point: "kill"}, url=listing.address, secret=SECRET)
            assert code == -9, f"call does not come to {point}: it ended with {code}"
            fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
            outside.follow(at=timezone.now())
            delivery.drain()
            Ledger.objects.filter(lease_until__isnull=False).update(lease_until=Now())
            Ledger.objects.filter(owed_since__isnull=False).update(next_attempt_at=Now())
            calling.call("listing")
            assert not Ledger.objects.filter(owed_since__isnull=False).exists(), point
            assert f'"bio": "{point}"' in listing.effects[-1]["body"]
        keys = Counter(effect["key"] for effect in listing.effects)
        assert max(keys.values()) == 1
        assert all(key.startswith(f"{person.pk}:listing:") for key in keys)
