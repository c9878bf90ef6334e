"""The cast, told once, and the rows that a therapist has."""

# mypy: disable-error-code="attr-defined,no-untyped-call"
# factory_boy types neither its exports nor its declarations.

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import factory
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from interventions.models import Intervention
from sync.stops import Breaker
from tests import fakes
from therapists.models import Enrollment, Profile, Status, User, UserType

PASSWORD = "a-long-enough-word"


class UserFactory(factory.django.DjangoModelFactory[User]):
    """A person who may sign in with PASSWORD."""

    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"person{n}@example.org")
    full_name = factory.Sequence(lambda n: f"Person {n}")
    user_type = UserType.THERAPIST
    password = factory.LazyFunction(lambda: make_password(PASSWORD))


class EnrollmentFactory(factory.django.DjangoModelFactory[Enrollment]):
    """An approved enrollment that repeats its user's name and address."""

    class Meta:
        model = Enrollment

    user = factory.SubFactory(UserFactory)
    email = factory.LazyAttribute(lambda row: row.user.email)
    full_name = factory.LazyAttribute(lambda row: row.user.full_name)
    phone = "+44 20 7946 0000"
    bio = "Twelve years with couples."
    experience_years = 12
    status = Status.APPROVED
    approved_at = factory.LazyFunction(timezone.now)
    profile_image_url = factory.LazyAttribute(lambda row: row.user.avatar_url)


class ProfileFactory(factory.django.DjangoModelFactory[Profile]):
    """A profile that repeats its user's enrollment."""

    class Meta:
        model = Profile

    user = factory.SubFactory(UserFactory)
    bio = factory.LazyAttribute(lambda row: row.user.enrollment.bio)
    experience_years = factory.LazyAttribute(lambda row: row.user.enrollment.experience_years)
    phone = factory.LazyAttribute(lambda row: row.user.enrollment.phone)
    verification_status = factory.LazyAttribute(lambda row: row.user.enrollment.status)
    profile_image_url = factory.LazyAttribute(lambda row: row.user.avatar_url)


def therapist(name: str, **facts: Any) -> User:
    """Save a therapist's three rows with equal facts; what their birth leaves owed is the caller's to settle."""
    user = UserFactory.create(
        email=f"{name.lower().replace(' ', '.')}@example.org", full_name=name, avatar_url="/media/avatars/first.webp",
        is_verified=facts.get("status", Status.APPROVED) == Status.APPROVED,
    )  # fmt: skip
    EnrollmentFactory.create(user=user, **facts)
    ProfileFactory.create(user=user)
    return user


def therapists(count: int) -> list[User]:
    """Save so many therapists whose copies are all in line, in three statements."""
    with transaction.atomic():
        people = User.objects.bulk_create(UserFactory.build(is_verified=True, password="") for _ in range(count))
        rows = Enrollment.objects.bulk_create(EnrollmentFactory.build(user=person) for person in people)
        Profile.objects.bulk_create(
            Profile(
                user=row.user, bio=row.bio, experience_years=row.experience_years, phone=row.phone,
                verification_status=row.status,
            )
            for row in rows
        )  # fmt: skip
    fakes.settled()
    return people


def parked_target(target: str = "therapist_profiles") -> None:
    """Let a target's breaker be open: left alone three minutes ago because its table is locked, tried next in 42 s."""
    now = timezone.now()
    Breaker.objects.create(
        target=target, word="open", since=now - dt.timedelta(minutes=3), probe_at=now + dt.timedelta(seconds=42),
        probe_seconds=120, code="55P03", error_object=target, failures=6,
    )  # fmt: skip


@dataclass(frozen=True)
class Trouble:
    """People whose edits their profile refuses, each with an item of the one cause; `lift` ends it, and tries nothing."""

    people: list[User]
    lift: Callable[[], None]


@contextmanager
def trouble(count: int) -> Iterator[Trouble]:
    """Put so many people before staff, all for one reason; until it is lifted every try fails."""
    people = therapists(count)
    with fakes.obstructed("therapist_profiles", "bio NOT LIKE 'Edited%'") as lift:
        Enrollment.objects.filter(user__in=people).update(bio="Edited.")
        fakes.settled()
        assert Intervention.objects.filter(resolved=False, person_id__in=[p.pk for p in people]).count() == count
        yield Trouble(people, lift)


@dataclass(frozen=True)
class Cast:
    """
    Ada is verified and in sync. Ben drifts: his profile's bio was written past everything. Cleo is owed her new bio.

    Sam is staff and may retry, resolve and accept; Vic is staff and may only look.
    """

    ada: User
    ben: User
    cleo: User
    sam: User
    vic: User


# What the receivers would do eleven times over, one drain does once.
@override_settings(SYNC_RECEIVERS=False)
def assemble_cast() -> Cast:
    """Save the cast and bring each into their role."""
    sam = UserFactory.create(full_name="Sam Reyes", email="sam@example.org", user_type=UserType.STAFF, is_staff=True)
    vic = UserFactory.create(full_name="Vic Lund", email="vic@example.org", user_type=UserType.STAFF, is_staff=True)
    with transaction.atomic():
        ada, ben, cleo = therapist("Ada Quist"), therapist("Ben Okoro"), therapist("Cleo Marsh")
    fakes.settled()
    with fakes.asleep():
        Profile.objects.filter(user=ben).update(bio="Written past everything.")
    # A caller above READ COMMITTED only owes.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        Enrollment.objects.filter(user=cleo).update(bio="Seven years with families.")
    may_look = Permission.objects.filter(codename__startswith="view_")
    vic.user_permissions.set(may_look)
    sam.user_permissions.set(
        may_look
        | Permission.objects.filter(content_type__app_label="interventions").exclude(codename__startswith="view_")
    )
    return Cast(ada, ben, cleo, sam, vic)
