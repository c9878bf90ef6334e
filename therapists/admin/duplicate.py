"""Two enrollments of one address, side by side, and what a person decides about them."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from interventions import moments
from interventions.admin import sentences
from therapists import decisions, duplicates, identity
from therapists.admin.base import told
from therapists.duplicates import ChangedMeanwhile, Choice, DecidedAlready
from therapists.models import Enrollment

PERMISSION = "therapists.merge_enrollment"
DONE = {
    Choice.MERGE: "Merged: {kept} stands for the address now.",
    Choice.KEEP_A: "Kept {kept}; the other takes no part from now on and stays as it is.",
    Choice.KEEP_B: "Kept {kept}; the other takes no part from now on and stays as it is.",
    Choice.TWO_PEOPLE: "Noted: two people. {kept} stands for the address; the other is not linked by it.",
}
UNDONE = "Undone: both are as they were before, and claim one address again. {told}"
UNCONFIRMED = "Nothing was decided: tick the box to say that you compared both."
CHANGED_SINCE = "Nothing was undone: what was decided has been changed since. Edit the enrollments instead."
CHANGED = "Nothing was decided: one of the two was changed since you compared them. Compare them again."


@dataclass(frozen=True)
class Changed:
    """One column that a decision changed, as text."""

    row: str
    label: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class FactRow:
    """One fact of both; `is_picked` where a merge may take it from either side."""

    name: str
    label: str
    first: object
    second: object
    is_picked: bool

    @property
    def differs(self) -> bool:
        """Whether the two say different things."""
        return self.first != self.second


def page(admin: "ModelAdmin[Enrollment]", request: HttpRequest, pk: int) -> HttpResponse:
    """Show the two, and on POST decide as the form says; tells the second of two people what the first did."""
    if request.method not in {"GET", "HEAD", "POST"}:
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    if not admin.has_view_permission(request) or (request.method == "POST" and not request.user.has_perm(PERMISSION)):
        raise PermissionDenied
    if request.method == "POST":
        _undo(request) if request.POST.get("choice") == "undo" else _decide(request, pk)
        return HttpResponseRedirect(request.path)
    clash = identity.clash_of(pk)
    first, second = clash.members[:2] if clash else (None, None)
    context = admin.admin_site.each_context(request) | {
        "title": "Two enrollments, one address",
        "opts": Enrollment._meta,
        "first": first,
        "second": second,
        "others": len(clash.members) - 2 if clash else 0,
        "rows": _rows(first, second) if first and second else [],
        "compared": identity.digest(first, second) if first and second else "",
        "may_decide": request.user.has_perm(PERMISSION),
        "before": "" if clash else _told(duplicates.last_decision(pk)),
        "changes": [] if clash else _changes(pk),
        "decision": "" if clash else next((row.decision for row in decisions.last(pk)), ""),
        "inbox_url": reverse("admin:interventions_intervention_changelist"),
        "media": admin.media,
        "is_popup": False,
    }
    return TemplateResponse(request, "admin/therapists/duplicate.html", context)


def _decide(request: HttpRequest, pk: int) -> None:
    form = request.POST
    if form.get("confirmed") != "yes":
        messages.error(request, UNCONFIRMED)
        return
    try:
        choice = Choice(form.get("choice", ""))
        kept = duplicates.decide(
            first_id=int(form.get("first", "")), second_id=int(form.get("second", "")), choice=choice,
            picks={name: form[f"pick_{name}"] for name in identity.MERGED if f"pick_{name}" in form},
            compared=form.get("compared", ""), by=f"user:{request.user.pk}", at=timezone.now(),
        )  # fmt: skip
    except DecidedAlready as decided:
        messages.warning(request, f"Nothing was decided: {_told(decided.line)}")
    except ChangedMeanwhile:
        messages.warning(request, CHANGED)
    except ValueError:
        messages.error(request, "Choose what you decide. Nothing was changed.")
    except OperationalError:
        messages.error(request, sentences.BUSY)
    else:
        messages.success(request, f"{DONE[choice].format(kept=kept)} {told(kept.user_id)}")


def _undo(request: HttpRequest) -> None:
    form = request.POST
    if form.get("confirmed") != "yes":
        messages.error(request, "Nothing was undone: tick the box to say that you have read what comes back.")
        return
    try:
        person_id = duplicates.undo(
            decision=uuid.UUID(form.get("decision", "")), by=f"user:{request.user.pk}", at=timezone.now()
        )
    except DecidedAlready as decided:
        messages.warning(request, f"Nothing was undone: {_told(decided.line)}")
    except ChangedMeanwhile:
        messages.warning(request, CHANGED_SINCE)
    except ValueError:
        messages.error(request, "Choose what you undo. Nothing was changed.")
    except OperationalError:
        messages.error(request, sentences.BUSY)
    else:
        messages.success(request, UNDONE.format(told=told(person_id)))


def _changes(pk: int) -> list[Changed]:
    """List what the last decision changed, to be read back before it is undone."""
    labels = {field.attname: str(field.verbose_name) for field in Enrollment._meta.concrete_fields}
    return [
        Changed(f"enrollment {row.enrollment_id}", labels[name], text, row.after[name])
        for row in decisions.last(pk)
        for name, text in row.before.items()
        if name in row.after
    ]


def _told(line: Any) -> str:
    """Tell the second of two people who was first, and with what."""
    if line is None:
        return "They do not claim one address any more."
    who = sentences.who([line.actor])[line.actor]
    return f"{who} decided {moments.ago(line.at, timezone.now())}: {sentences.ACTIONS[line.action].lower()}."


def _rows(first: Enrollment, second: Enrollment) -> list[FactRow]:
    names = ["email", "full_name", *(name for name in identity.MERGED if name != "full_name"), *identity.BESIDE_STATUS]
    labels = {field.name: str(field.verbose_name) for field in Enrollment._meta.concrete_fields}
    return [
        FactRow(
            name,
            labels[name],
            _shown(first, name),
            _shown(second, name),
            is_picked=name in identity.MERGED and (name != "full_name" or first.user_id is None),
        )
        for name in names
    ]


def _shown(row: Enrollment, name: str) -> object:
    value = getattr(row, name)
    if name == "status":
        return row.get_status_display()
    return moments.spelled(value) if name == "approved_at" and value else value
