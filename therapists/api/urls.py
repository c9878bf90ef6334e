"""The therapists' addresses under /api/v1/."""

from django.urls import path

from therapists.api.me import AvatarView, OwnProfileView, SyncView
from therapists.api.session import SessionView
from therapists.api.staff import DecisionView, EnrollmentsView

urlpatterns = [
    path("auth/session/", SessionView.as_view(), name="session"),
    path("therapists/me/", OwnProfileView.as_view(), name="me"),
    path("therapists/me/sync/", SyncView.as_view(), name="me-sync"),
    path("therapists/me/avatar/", AvatarView.as_view(), name="me-avatar"),
    path("enrollments/", EnrollmentsView.as_view(), name="enrollments"),
    path("enrollments/<int:pk>/decision/", DecisionView.as_view(), name="enrollment-decision"),
]
