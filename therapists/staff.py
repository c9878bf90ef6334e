"""Who is at the desk: giving a role, taking it away, and what becomes of what somebody saw to who leaves."""

from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import transaction

from interventions import attention
from interventions.correlation import request_id
from interventions.models import History
from sync.strict import Strict
from therapists.accounts import factors
from therapists.models import User
from therapists.roles import ROLES

PERMISSION = Strict("permission", because="What somebody may do is never guessed.")
SUPERUSER = "Superuser"


class NoSuchRole(ValueError):
    """There is no role of this name."""


class LastSuperuser(Exception):
    """Nobody else could do everything any more."""


@dataclass(frozen=True)
class Gone:
    """How many causes and items of somebody are nobody's again."""

    causes: int
    items: int


def listed() -> list[tuple[User, str]]:
    """List everybody who may sign in to the desk, each with their role; without one the word is empty."""
    people = User.objects.filter(is_staff=True, is_active=True).prefetch_related("groups").order_by("full_name", "pk")
    return [(person, role_of(person)) for person in people]


def role_of(person: User) -> str:
    """Say what somebody may do at the desk, in one word; empty: nothing."""
    if person.is_superuser:
        return SUPERUSER
    return ", ".join(sorted(group.name for group in person.groups.all() if group.name in ROLES))


@PERMISSION.exact
def give(*, address: str, role: str, by: str) -> User:
    """
    Let somebody with an account work at the desk, in this one role.

    Raises NoSuchRole, User.DoesNotExist, and LastSuperuser where the role is less than they have and nobody else has it.
    """
    if role not in ROLES:
        raise NoSuchRole
    with transaction.atomic():
        person = _locked(address)
        before = role_of(person)
        _keep_one(person)
        person.is_staff, person.is_superuser = True, False
        person.save(update_fields=["is_staff", "is_superuser"])
        person.groups.set(Group.objects.filter(name=role))
        _note(person, "role_given", by, before, role)
    return person


@PERMISSION.exact
def withdraw(*, address: str, by: str, leaves: bool = False) -> Gone:
    """
    Let somebody be at the desk no longer; with `leaves` they cannot sign in to anything any more, from this moment on.

    What they saw to is nobody's again, with a line of history each; what they put off comes back in its time, as it
    would have. Raises User.DoesNotExist and LastSuperuser.
    """
    with transaction.atomic():
        person = _locked(address)
        before = role_of(person)
        _keep_one(person)
        person.is_staff = person.is_superuser = False
        person.is_active = person.is_active and not leaves
        person.save(update_fields=["is_staff", "is_superuser", "is_active"])
        person.groups.clear()
        person.user_permissions.clear()
        _note(person, "staff_left" if leaves else "role_withdrawn", by, before, None)
    return Gone(*attention.hand_back_all(owner=f"user:{person.pk}", by=by))


def withdraw_factor(*, address: str, by: str) -> bool:
    """
    Forget somebody's second factor, which they lost; their sessions end, and the next sign-in leads to a new one.

    Tells whether there was one. Raises User.DoesNotExist.
    """
    with transaction.atomic():
        person = _locked(address)
        had = factors.withdraw(person_id=person.pk)
        if had:
            _note(person, "second_factor_withdrawn", by, "", None)
    return had


def _locked(address: str) -> User:
    found = User.objects.get_by_natural_key(address)
    # Two who take from each other what only one may have left take turns.
    locked = {person.pk: person for person in User.objects.select_for_update().filter(is_superuser=True).order_by("pk")}
    return locked.get(found.pk) or User.objects.select_for_update().get(pk=found.pk)


def _keep_one(person: User) -> None:
    others = User.objects.filter(is_superuser=True, is_staff=True, is_active=True).exclude(pk=person.pk)
    if person.is_superuser and person.is_active and not others.exists():
        raise LastSuperuser


def _note(person: User, action: str, by: str, before: str, after: str | None) -> None:
    History.objects.create(
        actor=by, action=action, object_type="user", object_id=str(person.pk), from_state=before or None, to_state=after,
        request_id=request_id.get(),
    )  # fmt: skip
