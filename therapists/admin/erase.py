"""Erasing a person: for superusers, who type whom they mean."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from interventions.admin.sentences import BUSY
from therapists import erasure
from therapists.models import User

ITSELF = "You cannot erase yourself while you are signed in. Nothing was changed."
MISTYPED = "What you typed is not what is asked for. Nothing was changed."


def page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what is kept of the person; a POST with the words typed erases it."""
    if not (request.user.is_active and request.user.is_superuser):
        raise PermissionDenied
    if request.method not in {"GET", "HEAD", "POST"}:
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    try:
        subject = erasure.find(person_id=pk)
    except erasure.NobodyThere as error:
        raise Http404("Nothing is kept under this id.") from error
    words = f"erase {pk}"
    if request.method == "POST":
        return _erase(request, subject, pk, words)
    context = admin.site.each_context(request) | {
        "title": "Erase a person",
        "opts": User._meta,
        "person": User.objects.filter(pk=pk).first() or f"person {pk}",
        "counts": erasure.counts(subject).items(),
        "words": words,
        "back": _back(pk),
        "is_popup": False,
    }
    return TemplateResponse(request, "admin/therapists/erase.html", context)


def _erase(request: HttpRequest, subject: erasure.Subject, pk: int, words: str) -> HttpResponse:
    if request.user.pk == pk:
        messages.error(request, ITSELF)
    elif request.POST.get("words", "").strip().lower() != words:
        messages.error(request, MISTYPED)
    else:
        try:
            gone = erasure.erase(subject=subject, by=f"user:{request.user.pk}", at=timezone.now())
        except OperationalError:
            messages.error(request, BUSY)
        else:
            told = ", ".join(f"{number} in {name}" for name, number in gone.items())
            messages.success(request, f"Person {pk} is erased: {told}. History keeps ids and codes only.")
            return HttpResponseRedirect(reverse("admin:therapists_user_changelist"))
    return HttpResponseRedirect(request.path)


def _back(pk: int) -> str:
    name = "change" if User.objects.filter(pk=pk).exists() else "changelist"
    return reverse(f"admin:therapists_user_{name}", args=[pk] if name == "change" else [])
