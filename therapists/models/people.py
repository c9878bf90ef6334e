"""People, and the three tables that repeat what is known about a therapist."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now, Trim

LONGEST_CAREER_YEARS = 80


class Normalize(models.Func):
    """PostgreSQL's NFC normal form of a text."""

    function = "NORMALIZE"
    output_field = models.TextField()


def normal_form(email: models.Expression | F) -> models.Expression:
    """Give the one expression by which e-mail addresses compare: trimmed, NFC, lower case; nothing cleverer."""
    return Lower(Normalize(Trim(email)))


class Status(models.TextChoices):
    """Where an enrollment stands. Only `approved` makes a therapist verified."""

    PENDING = "pending", "Pending"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    SUSPENDED = "suspended", "Suspended"


class UserType(models.TextChoices):
    """What a person is on the platform."""

    THERAPIST = "therapist", "Therapist"
    CLIENT = "client", "Client"
    STAFF = "staff", "Staff"


class UserManager(BaseUserManager["User"]):
    """Users are found by the normal form of their address."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """Find the user who signs in with this address, however it is spelled; raises `User.DoesNotExist`."""
        return self.get(email_norm=normal_form(models.Value(username or "", models.TextField())))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save a user with a hashed password (none: cannot sign in)."""
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Save a user who may do everything."""
        return self.create_user(
            email, password, **{"user_type": UserType.STAFF, "is_staff": True, "is_superuser": True} | fields
        )


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Their id is `person_id` everywhere."""

    email = models.TextField("e-mail", help_text="As the person spells it; compared by its normal form.")
    # In the database, so that programs that write SQL cannot make two of one address.
    email_norm = models.GeneratedField(
        expression=normal_form(F("email")), output_field=models.TextField(), db_persist=True, editable=False
    )
    # The normal form of the address with which somebody signed up and which they have not proven to be theirs yet. An
    # account that staff made is vouched for.
    unproven_address = models.TextField(null=True, blank=True, editable=False)
    full_name = models.TextField("name", db_default="")
    user_type = models.TextField("kind", choices=UserType, db_default=UserType.CLIENT)
    avatar_url = models.TextField("avatar", null=True, blank=True)
    is_verified = models.BooleanField("verified", db_default=False, help_text="A copy of the enrollment's decision.")
    is_active = models.BooleanField("active", db_default=True)
    is_staff = models.BooleanField("staff", db_default=False, help_text="May sign in to the staff's desk.")
    # In which the desk tells them times; empty: the site's. They choose it on a page of their own.
    time_zone = models.TextField(db_default="", blank=True, editable=False)
    created_at = models.DateTimeField("since", db_default=Now(), editable=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["full_name"]
    objects = UserManager()

    class Meta:
        db_table = "users"
        constraints = [
            # The condition always holds. It keeps the column from being a key: beside a BEFORE trigger PostgreSQL counts
            # every generated column as updated, and would lock out all foreign key checks on each UPDATE of a user.
            models.UniqueConstraint(
                fields=["email_norm"], condition=Q(email_norm__isnull=False), name="users_email_norm_unique"
            )
        ]

    def __str__(self) -> str:
        return self.full_name or f"person {self.pk}"

    @property
    def is_unproven(self) -> bool:
        """Whether they have signed up with their present address and not proven yet that it is theirs."""
        return self.unproven_address is not None and self.unproven_address == self.email_norm

    def get_short_name(self) -> str:
        """The name for greetings."""
        return self.full_name.split(" ")[0] if self.full_name else ""

    def get_full_name(self) -> str:
        """The name for lists."""
        return str(self)


class EmailAlias(models.Model):
    """
    An address that a person had before: rows and messages that come late still find them by it.

    Appended by a trigger, never updated; no foreign keys, so that nothing about it can hold up or undo a change.
    """

    id = models.BigAutoField(primary_key=True)
    person_id = models.BigIntegerField()
    email = models.TextField()
    email_norm = models.TextField()
    valid_to = models.DateTimeField(
        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField())
    )

    class Meta:
        db_table = "user_aliases"
        default_permissions = ()
        indexes = [
            models.Index(fields=["email_norm"], name="user_alias_address"),
            models.Index(fields=["person_id"], name="user_alias_of"),
            models.Index(fields=["valid_to"], name="user_alias_until"),
        ]


class Enrollment(models.Model):
    """What a therapist told the platform: the source of most facts. Without a user it is an application."""

    user = models.OneToOneField(
        User, models.SET_NULL, null=True, blank=True, related_name="enrollment",
        help_text="Empty for an applicant; filled in when a user with this address appears.",
    )  # fmt: skip
    email = models.TextField("e-mail")
    email_norm = models.GeneratedField(
        expression=normal_form(F("email")), output_field=models.TextField(), db_persist=True, editable=False
    )
    full_name = models.TextField("name", db_default="", blank=True)
    phone = models.TextField(null=True, blank=True)
    bio = models.TextField(null=True, blank=True)
    experience_years = models.IntegerField("years of experience", null=True, blank=True)
    specialization = models.TextField(null=True, blank=True, help_text="As the person typed it.")
    status = models.TextField(choices=Status, db_default=Status.PENDING)
    approved_at = models.DateTimeField(null=True, blank=True)
    status_reason = models.TextField("reason", db_default="", blank=True)
    profile_image_url = models.TextField("avatar", null=True, blank=True)
    superseded_by = models.BigIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text="The enrollment to which this one gave way, by a person's decision.",
    )
    set_apart_for = models.TextField(
        null=True, blank=True, editable=False, help_text="The address for which a person said: this is somebody else."
    )
    created_at = models.DateTimeField("since", db_default=Now(), editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True)

    class Meta:
        db_table = "therapist_enrollments"
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="enrollment_status_known"),
            models.CheckConstraint(
                condition=Q(experience_years__isnull=True) | Q(experience_years__range=(0, LONGEST_CAREER_YEARS)),
                name="enrollment_experience_possible",
            ),
            models.CheckConstraint(
                condition=~Q(status=Status.APPROVED) | Q(approved_at__isnull=False), name="enrollment_approved_has_date"
            ),
        ]
        indexes = [
            # Linking an applicant looks for the address among the unlinked only.
            models.Index(fields=["email_norm"], name="enrollment_unlinked", condition=Q(user__isnull=True)),
            models.Index(fields=["status", "-id"], name="enrollment_by_status"),
        ]
        permissions = [
            ("decide_enrollment", "May approve, reject and suspend therapists"),
            ("merge_enrollment", "May decide about two enrollments of one address"),
        ]

    def __str__(self) -> str:
        return f"enrollment {self.pk}"


class Profile(models.Model):
    """What the public sees of a therapist: copies, every one of them."""

    user = models.OneToOneField(User, models.SET_NULL, null=True, blank=True, related_name="profile")
    bio = models.TextField(null=True, blank=True)
    experience_years = models.IntegerField(
        "years of experience", null=True, blank=True, validators=[MaxValueValidator(LONGEST_CAREER_YEARS)]
    )
    phone = models.TextField(null=True, blank=True)
    specialization = ArrayField(models.TextField(), null=True, blank=True)
    verification_status = models.TextField(choices=Status, db_default=Status.PENDING)
    profile_image_url = models.TextField("avatar", null=True, blank=True)
    quarantined_at = models.DateTimeField(
        "quarantined since", null=True, blank=True, editable=False, help_text="Since when it has had no user."
    )
    views = models.BigIntegerField(db_default=0, help_text="Times the public page was opened.")
    created_at = models.DateTimeField("since", db_default=Now(), editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True)

    class Meta:
        db_table = "therapist_profiles"

    def __str__(self) -> str:
        return f"profile {self.pk}"


class DecidedRow(models.Model):
    """
    What a decision about two enrollments of one address changed in one of them, so that it can be undone; erasable.

    Written in the decision's own transaction. No foreign keys: it outlives the enrollment, and goes by its time.
    """

    id = models.BigAutoField(primary_key=True)
    # The rows of one decision share it.
    decision = models.UUIDField()
    enrollment_id = models.BigIntegerField()
    choice = models.TextField()
    # Column name to its text, of those columns that changed; `before` also of what a user's coming or going changes.
    before = models.JSONField()
    after = models.JSONField()
    by = models.TextField()
    at = models.DateTimeField()
    undone_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "enrollment_decisions"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["decision", "enrollment_id"], name="enrollment_decision_once"),
        ]
        indexes = [
            models.Index(fields=["enrollment_id", "-id"], name="enrollment_decision_of"),
            models.Index(fields=["at"], name="enrollment_decision_at"),
        ]
