"""A therapist's own data: nothing here takes anybody's id."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from django.conf import settings
from django.contrib.auth import authenticate, logout
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import ApiView, actor
from interventions.api.envelope import sentence
from interventions.api.problems import Problem
from interventions.api.serializers import NoBody, envelope_of
from interventions.patience import looking
from sync import receivers
from sync.api.standing import read_standing
from sync.fallback import with_graceful_degradation
from therapists import erasure, exports, images, operations, queries
from therapists.accounts import factors, letters
from therapists.api import conditions
from therapists.api.answers import current, saved, tagged
from therapists.api.authentication import session_of
from therapists.api.serializers import (
    AvatarUpload,
    DeletionWish,
    DoneSerializer,
    ExportSerializer,
    OwnProfileSerializer,
    ProfileChanges,
    ProfileSerializer,
    StandingSerializer,
    profile_of,
)
from therapists.models import Enrollment, User
from therapists.versions import ChangedMeanwhile

SAVED_PROFILE = {200: envelope_of("Profile", ProfileSerializer)}
HOW_TO_WRITE = (
    "specialization: it is saved as you wrote it, but cannot be read as a list of names. Close every bracket and quotation"
    ' mark, or write the names with commas between, as in "CBT, EMDR".'
)
# What multipart adds around the file.
AROUND_BYTES = 64 * 1024


class TherapistView(ApiView):
    """A view of the caller's own enrollment."""

    problems: ClassVar[dict[str, str]] = {"404": "no_enrollment: the caller is no therapist."}

    def translated(self, error: Exception) -> Exception:
        """Answer 404 where the caller is no therapist, and 4xx for an image that is refused."""
        if isinstance(error, Enrollment.DoesNotExist):
            return Problem(404, "no_enrollment", "You have no enrollment as a therapist.")
        if isinstance(error, operations.AddressTaken):
            return Problem(409, "address_taken", str(error), field="email")
        if isinstance(error, ChangedMeanwhile):
            return conditions.stale(error)
        if isinstance(error, images.ImageRefused):
            return Problem(413 if error.code == "image_too_large" else 400, error.code, str(error), field="image")
        return error

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Answer with the profile as it is now."""
        return saved(queries.own_enrollment(_person(request)))


class OwnProfileView(TherapistView):
    """The caller's profile."""

    keyless: ClassVar[frozenset[str]] = frozenset({"DELETE"})
    claiming: ClassVar[frozenset[str]] = frozenset({"PATCH"})

    @extend_schema(operation_id="me_retrieve", parameters=[conditions.ETAG], responses=OwnProfileSerializer)
    def get(self, request: Request) -> Response:
        """Show the caller's profile."""
        enrollment, version = current(queries.own_enrollment(_person(request)))
        shown = profile_of(enrollment) | {"revision": version.revision if version else None}
        return tagged(Response(shown), version)

    @extend_schema(
        operation_id="me_update", parameters=[conditions.IF_MATCH, conditions.ETAG], request=ProfileChanges,
        responses=SAVED_PROFILE | conditions.STALE,
    )  # fmt: skip
    def patch(self, request: Request) -> Response:
        """Save what is sent and leave the rest; copies that cannot follow at once follow later."""
        asked = ProfileChanges(data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        before = cast("User", request.user).email
        # The answer looks at the copies anyway: a fan-out need not ask first whether there is anything to do.
        with receivers.held() as fan_out:
            enrollment = operations.edit_profile(
                person_id=_person(request), changes=asked.validated_data, by=actor(request), at=timezone.now(),
                seen=conditions.seen(request),
            )  # fmt: skip
            if asked.validated_data.get("email", before) != before:
                letters.address_changed(before=before)
            warnings = unreadable(asked.validated_data.get("specialization"))
            return saved(enrollment, warnings=warnings, fan_out=fan_out)

    @extend_schema(operation_id="me_destroy", request=DeletionWish, responses=DoneSerializer)
    def delete(self, request: Request) -> Response:
        """
        Erase the caller: every row and file, every session; bookings and history keep ids alone. This cannot be undone.

        Strict: it takes the password once more. A table that somebody holds refuses it as a whole.
        """
        asked = DeletionWish(data=request.data)
        asked.is_valid(raise_exception=True)
        if request.user.is_staff:
            raise Problem(409, "staff_leave_first", "You work at the desk: have your role withdrawn, then ask again.")
        _prove(request, **asked.validated_data)
        erasure.erase(subject=erasure.find(person_id=_person(request)), by=actor(request), at=timezone.now())
        logout(request._request)
        return Response({"success": True, "message": "You are deleted here. What backups keep goes with them."})


class ExportView(ApiView):
    """All that is stored of the caller."""

    @extend_schema(operation_id="me_export", responses=ExportSerializer)
    def get(self, request: Request) -> Response:
        """Give every row of the caller in every table, but for what would let somebody act in their name."""
        found = exports.export(person_id=_person(request), at=timezone.now())
        name = f"keepwell-{_person(request)}.json"
        return Response(found, headers={"Content-Disposition": f'attachment; filename="{name}"'})


class SyncView(TherapistView):
    """How the caller's copies stand."""

    @extend_schema(operation_id="me_sync_retrieve", responses=StandingSerializer)
    def get(self, request: Request) -> Response:
        """Tell which places are up to date, from debt and ledger."""
        queries.own_enrollment(_person(request))
        standing = read_standing(_person(request))
        status = standing.as_json()
        if status is None:
            raise Problem(503, "unavailable", sentence(standing), headers={"Retry-After": "5"})
        return Response(status | {"degraded": standing.is_degraded, "message": sentence(standing)})

    @extend_schema(operation_id="me_sync_now", request=NoBody, responses=SAVED_PROFILE)
    def post(self, request: Request) -> Response:
        """Bring the caller's copies in line now, within bounds, and tell how they stand then."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        person_id = _person(request)
        enrollment = queries.own_enrollment(person_id)
        tried = with_graceful_degradation(
            lambda: operations.sync_all_therapist_data(person_id),
            name="sync_all_therapist_data", entity_id=str(person_id),
        )  # fmt: skip
        return saved(enrollment, what="Checked.", warnings=tried.warnings)


class AvatarParser(MultiPartParser):
    """Reads no upload that says of itself that it is too large."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Parse the body; raises images.ImageRefused."""
        length = parser_context["request"].META.get("CONTENT_LENGTH") if parser_context else None
        if int(length or 0) > settings.AVATAR_MAX_BYTES + AROUND_BYTES:
            raise images.ImageRefused("image_too_large")
        return super().parse(stream, media_type, parser_context)


class AvatarView(TherapistView):
    """The caller's avatar."""

    parser_classes: Any = [AvatarParser]

    @extend_schema(
        operation_id="me_avatar_update", request={"multipart/form-data": AvatarUpload}, responses=SAVED_PROFILE
    )
    def put(self, request: Request) -> Response:
        """Replace the avatar by the image sent; JPEG, PNG, WebP or GIF, at most 16 megapixels."""
        asked = AvatarUpload(data=request.data)
        asked.is_valid(raise_exception=True)
        file = asked.validated_data["image"]
        upload = images.Upload(file.read(settings.AVATAR_MAX_BYTES + 1), file.content_type or "", file.name or "")
        return saved(
            operations.set_avatar(person_id=_person(request), upload=upload, by=actor(request), at=timezone.now())
        )

    @extend_schema(operation_id="me_avatar_destroy", request=None, responses=SAVED_PROFILE)
    def delete(self, request: Request) -> Response:
        """Remove the avatar."""
        return saved(operations.remove_avatar(person_id=_person(request), by=actor(request), at=timezone.now()))


def unreadable(specialization: str | None) -> list[str]:
    """Tell a person how to write what was saved, and cannot be read as names; never raises for the database."""
    if specialization is None or not queries.may_be_unreadable(specialization):
        return []
    try:
        with looking():
            return [] if queries.is_readable(specialization) else [HOW_TO_WRITE]
    except (DatabaseError, InterfaceError):
        return []


def _person(request: Request) -> int:
    return cast("int", request.user.pk)


def _prove(request: Request, password: str, code: str = "") -> None:
    """Let the caller go on who still knows the password and has the factor; wrong ones count as they do at the door."""
    plain = request._request
    person: Any = request.user
    if authenticate(plain, username=person.email, password=password) is None:
        raise Problem(403, "wrong_password", "The password is wrong. Nothing was changed.", field="password")
    if factors.is_fresh(person, session_of(request)):
        return
    if not code:
        raise Problem(403, "second_factor_required", "Send a code of your second factor in `code`.", field="code")
    try:
        factors.checked(plain, person, code)
    except factors.WrongCode as error:
        raise Problem(403, "wrong_code", str(error), field="code") from error
