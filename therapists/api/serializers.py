"""What may be sent about therapists, and what is answered."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from interventions.api.serializers import Line, ReadOnly, Strict, SyncStatusSerializer
from interventions.typed import tidy
from therapists import queries
from therapists.approval import Decision
from therapists.models import LONGEST_CAREER_YEARS, Enrollment, Status

# No white space, and nothing that tidying takes away: whoever reads the documents shall know that too.
_SEEN = r"[^@\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
NAMES = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 200}, "maxItems": 100}


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "maxLength": 2_000}, NAMES],
        "nullable": True,
        "description": "Names with commas between, as people type them, or a list of names.",
        "example": ["CBT", "EMDR"],
    }
)
class Specialization(serializers.CharField):
    """Text as people type it; or a list of names, which becomes such a text."""

    default_error_messages = {
        "invalid": 'Give names with commas between, as in "CBT, EMDR", or a list of names, as in ["CBT", "EMDR"].'
    }

    def run_validation(self, data: Any = empty) -> Any:
        """Take a text or a list; raises ValidationError that names the entry that is no name."""
        if not isinstance(data, list):
            return super().run_validation(data)
        names = serializers.ListField(child=Line(max_length=200), max_length=100).run_validation(
            [tidy(name, is_line=True) if isinstance(name, str) else name for name in data]
        )
        return super().run_validation(queries.as_typed(names))


YEARS: dict[str, Any] = {
    "invalid": "Years are a whole number.",
    "min_value": "Years are 0 at least.",
    "max_value": f"Years are {LONGEST_CAREER_YEARS} at most.",
}


class ProfileChanges(Strict):
    """The facts that therapists edit; what is left out stays."""

    full_name = Line(required=False, max_length=200)
    bio = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=10_000)
    experience_years = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=LONGEST_CAREER_YEARS, error_messages=YEARS
    )
    specialization = Specialization(required=False, allow_null=True, allow_blank=True, max_length=2_000)
    phone = Line(required=False, allow_null=True, allow_blank=True, max_length=50)
    # No more is asked of its shape: addresses are not ASCII alone.
    email = serializers.RegexField(
        f"^{_SEEN}+@{_SEEN}+$",
        required=False,
        max_length=320,
        error_messages={"invalid": "This is no e-mail address."},
    )
    # Named, so that whoever sends one is told why it is refused.
    status = serializers.CharField(read_only=True)
    avatar_url = serializers.CharField(read_only=True)


class ProfileSerializer(ReadOnly):
    """What is known about the caller, from the sources."""

    id = serializers.IntegerField(help_text="The person's id.")
    full_name = serializers.CharField()
    email = serializers.CharField(help_text="What the person signs in with; one that is taken is refused by 409.")
    bio = serializers.CharField(allow_null=True)
    experience_years = serializers.IntegerField(allow_null=True)
    specialization = serializers.CharField(allow_null=True)
    phone = serializers.CharField(allow_null=True)
    avatar_url = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=Status.choices, help_text="What staff decided.")


class OwnProfileSerializer(ProfileSerializer):
    """The same with the number of the newest write."""

    revision = serializers.IntegerField(allow_null=True)


class AvatarUpload(Strict):
    """One image. Checked by its bytes, not by its name."""

    image = serializers.FileField(
        error_messages={"required": "Send an image in the field `image`.", "empty": "The file is empty."}
    )


class StandingSerializer(SyncStatusSerializer):
    """How the caller's copies stand, in numbers and in a sentence."""

    degraded = serializers.BooleanField()
    message = serializers.CharField()


class EnrollmentSerializer(serializers.ModelSerializer[Enrollment]):
    """An enrollment as staff see it."""

    person_id = serializers.IntegerField(source="user_id", allow_null=True, read_only=True)

    class Meta:
        model = Enrollment
        fields: tuple[str, ...] = (
            "id", "person_id", "full_name", "email", "phone", "bio", "experience_years", "specialization",
            "status", "status_reason", "approved_at", "created_at",
        )  # fmt: skip
        read_only_fields: tuple[str, ...] = fields


class DecidedSerializer(EnrollmentSerializer):
    """An enrollment after a decision, and what that ended."""

    cancelled_bookings = serializers.ListField(
        child=serializers.IntegerField(),
        read_only=True,
        help_text="The ids of bookings that the decision cancelled; what was paid for them was given back.",
    )

    class Meta(EnrollmentSerializer.Meta):
        fields = (*EnrollmentSerializer.Meta.fields, "cancelled_bookings")
        read_only_fields = fields


class EnrollmentFilter(Strict):
    """How the list may be narrowed."""

    status = serializers.ChoiceField(choices=Status.choices, required=False)


class DecisionSerializer(Strict):
    """What staff decide, and why."""

    decision = serializers.ChoiceField(choices=[(d.value, d.value) for d in Decision])
    reason = serializers.CharField(required=False, allow_blank=True, max_length=2_000, default="")


class Credentials(Strict):
    """What a person signs in with."""

    email = serializers.CharField(max_length=320)
    password = serializers.CharField(max_length=1_000, trim_whitespace=False, write_only=True)
    code = serializers.CharField(
        max_length=20,
        required=False,
        write_only=True,
        help_text="Of their second factor, or a recovery code, if they have one.",
    )


class DeletionWish(Strict):
    """That it is they who ask to be deleted: by their password, and a code where they have a second factor."""

    password = serializers.CharField(max_length=1_000, trim_whitespace=False, write_only=True)
    code = serializers.CharField(max_length=20, required=False, write_only=True)


class DoneSerializer(ReadOnly):
    """It is done."""

    success = serializers.BooleanField()
    message = serializers.CharField()


class ExportSerializer(ReadOnly):
    """Everything that is stored of a person."""

    person_id = serializers.IntegerField()
    exported_at = serializers.DateTimeField()
    tables = serializers.DictField(
        child=serializers.ListField(child=serializers.DictField()), help_text="Table to rows, as they are stored."
    )
    files = serializers.ListField(child=serializers.CharField(), help_text="Addresses of uploaded files.")
    left_out = serializers.ListField(child=serializers.CharField(), help_text="Tables with more rows than are given.")


class PersonSerializer(ReadOnly):
    """Who signed in."""

    id = serializers.IntegerField()
    full_name = serializers.CharField()
    email = serializers.CharField()
    user_type = serializers.CharField()
    is_staff = serializers.BooleanField()


class SessionSerializer(ReadOnly):
    """The session that began."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    csrf_token = serializers.CharField(help_text="To be sent as X-CSRFToken with every write.")
    person = PersonSerializer()


def profile_of(enrollment: Enrollment) -> dict[str, Any]:
    """Give a therapist's own profile."""
    user = enrollment.user
    return {
        "id": enrollment.user_id,
        "full_name": user.full_name if user else enrollment.full_name,
        "email": user.email if user else enrollment.email,
        "bio": enrollment.bio,
        "experience_years": enrollment.experience_years,
        "specialization": enrollment.specialization,
        "phone": enrollment.phone,
        "avatar_url": enrollment.profile_image_url,
        "status": enrollment.status,
    }
