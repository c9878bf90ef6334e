"""P1 and P5 for errands: whoever is killed over one leaves it to be taken up again, and it has one effect."""

import datetime as dt
from typing import Any

from django.utils import timezone

from interventions.points import POINTS
from sync import carrying
from sync.models import Errand
from tests import appointments, fakes
from tests.concurrency.test_failpoints import OF_ERRANDS
from tests.stand_ins.control import started
from tests.victims import Victims
from therapists import reminders


def test_p1_a_worker_killed_at_any_point_of_an_errand_leaves_it_and_one_effect(
    transactional_db: None, settings: Any, victims: Victims, database_alone: None
) -> None:
    ada, kim, points = (
        appointments.practice(),
        appointments.clients(1)[0],
        [p for p in POINTS if p.startswith(OF_ERRANDS)],
    )
    with started("sms") as (provider,):
        settings.SMS_URL, settings.SYNC_PRIVATE_ADDRESSES = provider.address, True
        for number, point in enumerate(points):
            booking = appointments.requested(kim, ada, hours=number)
            reminders.remind(booking_id=booking.pk, person_id=kim.pk, at=timezone.now())
            code = victims.run("carry", orders={point: "kill"}, url=provider.address)
            assert code == -9, f"carry does not come to {point}: it ended with {code}"
            fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
            assert carrying.carry_all() == {}, "it is the dead worker's until its lease is over"
            Errand.objects.filter(state="waiting").update(next_attempt_at=timezone.now() - dt.timedelta(seconds=1))
            assert carrying.carry_all() == {"done": 1}, point
        keys = [effect["key"] for effect in provider.effects]
        assert (len(keys), len(set(keys))) == (len(points), len(points))
