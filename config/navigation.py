"""What the desk's sidebar offers, to each only what they may open."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from interventions.admin import notices
from interventions.models import History, Intervention
from sync.models import Hold
from therapists.admin import drill
from therapists.models import Booking, CreditEntry, Enrollment, Profile, User


@dataclass(frozen=True)
class Entry:
    """One model's list in the sidebar."""

    title: str
    icon: str
    model: type[Model]


DESK = (
    Entry("Interventions", "inbox", Intervention),
    Entry("Held deletions", "delete_sweep", Hold),
    Entry("History", "history", History),
)
PAGES = (
    ("Bulk retries", "replay", "admin:retries", "interventions.view_retryrun"),
    ("Repairs", "build", "runs", "sync.view_run"),
    ("Sync status", "sync", "sync_status", "interventions.view_intervention"),
    ("Health", "ecg_heart", "health_page", "interventions.view_intervention"),
    ("Outside services", "cloud_sync", "outlets", "sync.view_endpoint"),
    ("Second bests", "alt_route", "second_bests", "sync.view_errand"),
    ("Week one", "monitoring", "week", "interventions.view_intervention"),
)
PEOPLE = (
    Entry("Enrollments", "assignment_ind", Enrollment),
    Entry("Profiles", "badge", Profile),
    Entry("Users", "group", User),
    Entry("Bookings", "event", Booking),
    Entry("Credits", "toll", CreditEntry),
)


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """Give the groups and their links in unfold's words; a group without links is left out."""
    front = {"title": "Front page", "icon": "home", "link": reverse("admin:index")}
    found: list[dict[str, Any]] = [
        {"title": "Desk", "items": [front, *_notices(request), *_links(request, DESK), *_pages(request)]},
        {"title": "People", "items": _links(request, PEOPLE)},
    ]
    if drill.may_drill(request):
        link = {"title": "Drill", "icon": "experiment", "link": reverse("drill")}
        found.append({"title": "Development", "items": [link]})
    found = [group for group in found if group["items"]]
    _mark_here(request, [item for group in found for item in group["items"]])
    return found


def _mark_here(request: HttpRequest, links: list[dict[str, Any]]) -> None:
    """Mark the one link that leads here; what lies below another page is not that page."""
    front = reverse("admin:index")
    below = (link["link"] for link in links if link["link"] != front and request.path.startswith(link["link"]))
    here = max(below, key=len, default=front if request.path == front else "")
    for link in links:
        link["active"] = link["link"] == here


def _notices(request: HttpRequest) -> list[dict[str, Any]]:
    """Give the link to what staff were told, with the number of what this person has not read."""
    if not request.user.has_perm(notices.LOOK):
        return []
    number = notices.unread(request)
    mark = {"badge": f"{number} new"} if number else {}
    return [{"title": "Notices", "icon": "notifications", "link": reverse("notices")} | mark]


def _pages(request: HttpRequest) -> list[dict[str, Any]]:
    return [
        {"title": title, "icon": icon, "link": reverse(name)}
        for title, icon, name, permission in PAGES
        if request.user.has_perm(permission)
    ]


def _links(request: HttpRequest, entries: tuple[Entry, ...]) -> list[dict[str, Any]]:
    return [
        {"title": entry.title, "icon": entry.icon, "link": _address(entry.model)}
        for entry in entries
        if _may_look(request, entry.model)
    ]


def _may_look(request: HttpRequest, model: type[Model]) -> bool:
    try:
        return bool(admin.site.get_model_admin(model).has_view_permission(request))
    except NotRegistered:
        return False


def _address(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
