"""Whoever applies as a therapist: an enrollment without a user, before staff until they decide."""

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.db.models import Expression, TextField, Value

from interventions.correlation import request_id
from interventions.models import History
from therapists.models import EmailAlias, Enrollment, Status, User, normal_form
from therapists.operations import primary

logger = logging.getLogger(__name__)

# As history names whoever is not signed in.
APPLICANT = "applicant"
FACTS = frozenset({"full_name", "phone", "bio", "experience_years", "specialization"})


def apply_as_therapist(*, email: str, facts: Mapping[str, Any], at: dt.datetime) -> None:
    """
    Put an application before staff, unless there is one of this address, in any spelling, past or present.

    Says nothing either way, for whoever asks is anybody: what stands is never changed by a stranger, and nobody is told
    whether they know the address. Who has a user with it is linked by the rules of every enrollment. Raises ValueError
    for a fact that is none of FACTS.
    """
    if unknown := set(facts) - FACTS:
        raise ValueError(f"Not of an application: {', '.join(sorted(unknown))}")
    norm = normal_form(Value(email, TextField()))
    with primary(by=APPLICANT):
        with connection.cursor() as cursor:
            # Of one address one at a time: two at once would otherwise both find nothing.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(lower(normalize(trim(%s))), 1))", [email])
        if _is_known(norm):
            logger.info("therapists.application.known")
            return
        enrollment = Enrollment.objects.create(email=email, status=Status.PENDING, created_at=at, **facts)
        History.objects.create(
            actor=APPLICANT, action="applied", object_type="enrollment", object_id=str(enrollment.pk),
            to_state=Status.PENDING, request_id=request_id.get(),
        )  # fmt: skip


def _is_known(norm: Expression) -> bool:
    """Tell whether there is an enrollment of this address, or of a person who has it or had it."""
    people = [
        *User.objects.filter(email_norm=norm).values_list("pk", flat=True),
        *EmailAlias.objects.filter(email_norm=norm).values_list("person_id", flat=True),
    ]
    return (
        Enrollment.objects.filter(user=None, email_norm=norm).exists()
        or Enrollment.objects.filter(user__in=people).exists()
    )
