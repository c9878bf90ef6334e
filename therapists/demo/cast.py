"""The cast: seven people with known passwords, for development, demonstration and acceptance tests only."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import Group
from django.db import transaction
from django.middleware.csrf import CSRF_SECRET_LENGTH
from django.utils import timezone
from django.utils.crypto import get_random_string

from sync import delivery
from therapists import credits
from therapists.accounts import factors
from therapists.accounts.sessions import SessionStore
from therapists.models import Enrollment, Profile, Status, User, UserType
from therapists.roles import LEAD, OPERATOR, READ_ONLY, sync_groups

# For development only: nothing makes these people where DEBUG is off.
PASSWORD = "keepwell-in-development"  # noqa: S105 - printed by `demo_sign_ins`

CREDITS = 5


@dataclass(frozen=True)
class Member:
    """One of the cast. Without a role, `is_superuser` and `is_client` they are a therapist."""

    key: str
    name: str
    does: str
    role: str | None = None
    is_superuser: bool = False
    is_client: bool = False

    @property
    def kind(self) -> UserType:
        """What they are on the platform."""
        if self.is_client:
            return UserType.CLIENT
        return UserType.STAFF if self.is_staff else UserType.THERAPIST

    @property
    def email(self) -> str:
        """The address they sign in with."""
        return f"{self.key}@keepwell.example"

    @property
    def is_staff(self) -> bool:
        """Whether they may sign in to the staff's desk."""
        return self.is_superuser or self.role is not None


CAST = (
    Member("ada", "Ada Lindqvist", "therapist"),
    Member("ben", "Ben Okonkwo", "therapist"),
    Member("kim", "Kim Duarte", "client, books therapists", is_client=True),
    Member("vic", "Vic Moreau", "staff, may look", READ_ONLY),
    Member("sam", "Sam Haddad", "staff, may retry and resolve", OPERATOR),
    Member("lena", "Lena Fischer", "staff, may also decide and accept differences", LEAD),
    Member("root", "Root Admin", "superuser", is_superuser=True),
)
_ENROLLMENTS: dict[str, dict[str, Any]] = {
    "ada": {
        "phone": "+44 7700 900101", "experience_years": 12, "specialization": "CBT, Anxiety",
        "bio": "I work with people whose worry has grown louder than their life. We take it one practical step at a time.",
    },
    "ben": {
        "phone": "+44 7700 900102", "experience_years": 7, "specialization": "Couples, EFT",
        "bio": "Most couples I meet argue about something that lies underneath. I help both of you hear it.",
    },
}  # fmt: skip


def seed_cast() -> dict[str, User]:
    """
    Make or mend the cast, and bring the therapists' copies in line; give them by key. Clients get their first credits.

    Ids stay the same from call to call. A password that was changed is set back.
    """
    with transaction.atomic():
        sync_groups()
        addresses = [member.email for member in CAST]
        # Hashing is slow on purpose: one hash serves all, and each hash is checked once.
        hashes = User.objects.filter(email_norm__in=addresses).values_list("password", flat=True).distinct()
        good = {encoded for encoded in hashes if check_password(PASSWORD, encoded)} or {make_password(PASSWORD)}
        cast = {member.key: _user(member, good) for member in CAST}
        for key, facts in _ENROLLMENTS.items():
            _therapist(cast[key], facts)
    for member in CAST:
        if member.is_client and not credits.entries(cast[member.key].pk).exists():
            credits.grant_credits(person_id=cast[member.key].pk, amount=CREDITS, by="system", at=timezone.now())
    delivery.bring_in_line([cast[key].pk for key in _ENROLLMENTS])
    return cast


def signed_in(user: User) -> dict[str, str]:
    """Open a new session and give the HTTP headers that sign a call in as this user."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.SIGN_IN_BACKEND
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    if factors.is_enrolled(user.pk):
        factors.note_shown(session, user)
    session.create()
    token = get_random_string(CSRF_SECRET_LENGTH)
    cookies = {settings.SESSION_COOKIE_NAME: session.session_key, settings.CSRF_COOKIE_NAME: token}
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "X-CSRFToken": token}


def totp_secret(user: User) -> str | None:
    """Give the secret of a member's second factor; staff get one where they must have it, others have none."""
    has_one = factors.is_required(user) or factors.is_enrolled(user.pk)
    return factors.ensured_secret(user) if has_one else None


def present() -> list[Member]:
    """List those of the cast who exist."""
    addresses = User.objects.filter(email_norm__in=[member.email for member in CAST])
    found = set(addresses.values_list("email_norm", flat=True))
    return [member for member in CAST if member.email in found]


def _user(member: Member, good: set[str]) -> User:
    user = User.objects.filter(email_norm=member.email).first() or User(email=member.email, full_name=member.name)
    user.user_type = member.kind
    user.is_active, user.is_staff, user.is_superuser = True, member.is_staff, member.is_superuser
    is_new = user._state.adding
    # A new hash of the same password would end the sessions of the call before.
    if user.password not in good:
        user.password = min(good)
    fields = ["user_type", "is_active", "is_staff", "is_superuser", "password"]
    user.save(update_fields=None if is_new else fields)
    user.groups.set(Group.objects.filter(name=member.role))
    return user


def _therapist(user: User, facts: dict[str, Any]) -> None:
    approved: dict[str, Any] = {"status": Status.APPROVED, "approved_at": timezone.now(), "status_reason": ""}
    enrollment, _ = Enrollment.objects.get_or_create(
        user=user, defaults={"email": user.email, "full_name": user.full_name} | facts | approved
    )
    if enrollment.status != Status.APPROVED:
        Enrollment.objects.filter(pk=enrollment.pk).update(**approved)
    Profile.objects.get_or_create(user=user)
