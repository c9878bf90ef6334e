"""A therapist's profile and picture: shown, and saved with the truth about the copies."""

from dataclasses import replace

from django.conf import settings
from django.contrib import messages
from django.db import ProgrammingError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from interventions.api.envelope import sentence
from therapists import images, operations, versions
from therapists.accounts import letters
from therapists.api.answers import saved
from therapists.api.me import unreadable
from therapists.api.serializers import ProfileChanges, profile_of
from therapists.images import ImageRefused
from therapists.models import Enrollment, Status
from therapists.pages import fields
from therapists.pages.fields import Line
from therapists.pages.frame import CONFLICT, REFUSED, actor, done, own, person_of, shown, user_of
from therapists.pages.places import standing, states_of
from therapists.queries import own_enrollment
from therapists.versions import ChangedMeanwhile, Version

NOTHING_NEW = "Nothing was changed, so there was nothing to save."
NEW_ADDRESS = "When you sign in next, we mail a code to your new address."
DECIDED = {
    Status.PENDING: ("soon", "Being looked at", "Our staff are looking at your application. You can edit everything meanwhile."),
    Status.APPROVED: ("good", "Approved", "People who look for a therapist find you."),
    Status.REJECTED: ("staff", "Not approved", "Your profile is not public."),
    Status.SUSPENDED: ("staff", "Suspended", "Your profile is not public for now. Our staff know why."),
}  # fmt: skip


@own("GET", "POST")
def page(request: HttpRequest) -> HttpResponse:
    """Show the profile; a POST saves what was changed in it."""
    if request.method == "POST":
        return _save(request)
    return _shown(request)


@own("POST")
def set_avatar(request: HttpRequest) -> HttpResponse:
    """Make the file sent the person's picture."""
    file = request.FILES.get("image")
    if file is None:
        return _refused_picture(request, "Choose a picture first.")
    upload = images.Upload(file.read(settings.AVATAR_MAX_BYTES + 1), file.content_type or "", file.name or "")
    try:
        row = operations.set_avatar(person_id=person_of(request), upload=upload, by=actor(request), at=timezone.now())
    except ImageRefused as error:
        return _refused_picture(request, str(error))
    except Enrollment.DoesNotExist:
        return shown(request, "nothing", "profile", is_therapist=False, status=404)
    return _said(request, row, "Your picture is saved.", [])


@own("POST")
def remove_avatar(request: HttpRequest) -> HttpResponse:
    """Leave the person without a picture."""
    try:
        row = operations.remove_avatar(person_id=person_of(request), by=actor(request), at=timezone.now())
    except Enrollment.DoesNotExist:
        return shown(request, "nothing", "profile", is_therapist=False, status=404)
    return _said(request, row, "Your picture is removed.", [])


def _save(request: HttpRequest) -> HttpResponse:
    sent = fields.sent(request.POST)
    changes = {line.name: fields.meant(line) for line in sent if line.is_changed}
    if not changes:
        messages.info(request, NOTHING_NEW)
        return _shown(request)
    asked = ProfileChanges(data=changes, partial=True)
    if not asked.is_valid():
        faults = {name: " ".join(map(str, told)) for name, told in asked.errors.items()}
        return _shown(request, [replace(one, error=faults.get(one.name, "")) for one in sent], status=REFUSED)
    before = user_of(request).email
    try:
        row = operations.edit_profile(
            person_id=person_of(request), changes=asked.validated_data, by=actor(request), at=timezone.now(),
            seen=Version.of_tag(request.POST.get("seen", "")),
        )  # fmt: skip
    except Enrollment.DoesNotExist:
        return shown(request, "nothing", "profile", is_therapist=False, status=404)
    except operations.AddressTaken as error:
        faults = {operations.EMAIL: str(error)}
        return _shown(request, [replace(one, error=faults.get(one.name, "")) for one in sent], status=CONFLICT)
    except ChangedMeanwhile as error:
        return _conflict(request, sent, error)
    warnings = unreadable(asked.validated_data.get("specialization"))
    if asked.validated_data.get(operations.EMAIL, before) != before:
        letters.address_changed(before=before)
        warnings.append(NEW_ADDRESS)
    return _said(request, row, "Saved.", warnings)


def _said(request: HttpRequest, row: Enrollment, what: str, warnings: list[str]) -> HttpResponse:
    """Say what is saved and how the copies stand, as the API says it, and lead back to the profile."""
    told = saved(row, what=what).data
    for warning in warnings:
        messages.warning(request, warning)
    return done(request, told["message"], "own:profile", is_well=not told["degraded"])


def _conflict(request: HttpRequest, sent: list[Line], error: ChangedMeanwhile) -> HttpResponse:
    """Show both values; what somebody else changed beside comes in, and the next save is meant as it says."""
    row, version = _current(person_of(request))
    stored = {line.name: line for line in fields.stored(profile_of(row))}
    lines = [
        replace(stored[one.name], value=one.value, theirs=stored[one.name].value if one.name in error.both else None)
        if one.is_changed
        else stored[one.name]
        for one in sent
    ]
    return _shown(request, lines, status=CONFLICT, row=row, version=version)


def _shown(
    request: HttpRequest, lines: list[Line] | None = None, *, status: int = 200, picture_error: str = "",
    row: Enrollment | None = None, version: Version | None = None,
) -> HttpResponse:  # fmt: skip
    try:
        if row is None:
            row, version = _current(person_of(request))
    except Enrollment.DoesNotExist:
        return shown(request, "nothing", "profile", is_therapist=False, status=404 if request.method == "POST" else 200)
    states = states_of(person_of(request))
    seen = version.tag if version else ""
    # After a refusal the form stays what it was: what others changed since it was opened is still seen as such.
    if status == REFUSED or (status == CONFLICT and not any(one.theirs is not None for one in lines or [])):
        seen = request.POST.get("seen", seen)
    lines = lines or fields.stored(profile_of(row))
    return shown(
        request, "profile", "profile", status=status, is_therapist=True, lines=lines, seen=seen,
        faults=[one for one in lines if one.error], clashes=[one for one in lines if one.theirs is not None],
        picture=_picture(row), initials=_initials(row), picture_error=picture_error, decided=DECIDED[Status(row.status)],
        name=user_of(request).full_name, sentence=sentence(standing(states)), is_behind=standing(states).is_degraded,
        megabytes=settings.AVATAR_MAX_BYTES // 2**20, most_bytes=settings.AVATAR_MAX_BYTES,
    )  # fmt: skip


def _current(person_id: int) -> tuple[Enrollment, Version | None]:
    """Give the profile and its version in one statement; the profile alone where versions cannot be read."""
    try:
        return versions.current(person_id=person_id)
    except ProgrammingError:
        # The net is not installed: nobody numbers writes.
        return own_enrollment(person_id), None


def _refused_picture(request: HttpRequest, said: str) -> HttpResponse:
    return _shown(request, status=REFUSED, picture_error=said)


def _picture(row: Enrollment) -> str:
    """Give the picture's address where it is one of ours: another site is asked for nothing."""
    url = row.profile_image_url or ""
    return url if url.startswith((settings.MEDIA_URL, f"{settings.BASE_URL.rstrip('/')}{settings.MEDIA_URL}")) else ""


def _initials(row: Enrollment) -> str:
    return "".join(word[0] for word in row.full_name.split()[:2]).upper() or "?"
