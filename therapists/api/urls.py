"""The therapists' addresses under /api/v1/."""

from django.urls import path

from therapists.api.applications import ApplicationsView
from therapists.api.bookings import BookingsView, CancelView, ConfirmView
from therapists.api.credits import CreditsView
from therapists.api.directory import DirectoryEntryView, DirectoryView
from therapists.api.me import AvatarView, ExportView, OwnProfileView, SyncView
from therapists.api.session import SessionsView, SessionView
from therapists.api.staff import DecisionView, EnrollmentsView
from therapists.api.suggestions import ApplicantMessageView, ReminderView, SuggestionView

urlpatterns = [
    path("auth/session/", SessionView.as_view(), name="session"),
    path("auth/sessions/", SessionsView.as_view(), name="sessions"),
    path("therapists/me/", OwnProfileView.as_view(), name="me"),
    path("therapists/me/export/", ExportView.as_view(), name="me-export"),
    path("therapists/me/sync/", SyncView.as_view(), name="me-sync"),
    path("therapists/me/avatar/", AvatarView.as_view(), name="me-avatar"),
    path("therapists/me/bio-suggestion/", SuggestionView.as_view(), name="me-bio-suggestion"),
    path("applications/", ApplicationsView.as_view(), name="applications"),
    path("directory/", DirectoryView.as_view(), name="directory"),
    path("directory/<int:pk>/", DirectoryEntryView.as_view(), name="directory-entry"),
    path("bookings/", BookingsView.as_view(), name="bookings"),
    path("bookings/<int:pk>/confirm/", ConfirmView.as_view(), name="booking-confirm"),
    path("bookings/<int:pk>/cancel/", CancelView.as_view(), name="booking-cancel"),
    path("bookings/<int:pk>/reminder/", ReminderView.as_view(), name="booking-reminder"),
    path("credits/", CreditsView.as_view(), name="credits"),
    path("enrollments/", EnrollmentsView.as_view(), name="enrollments"),
    path("enrollments/<int:pk>/decision/", DecisionView.as_view(), name="enrollment-decision"),
    path("enrollments/<int:pk>/message/", ApplicantMessageView.as_view(), name="enrollment-message"),
]
