"""The staff's pages about people: users, enrollments, profiles, bookings, credits, and the drill."""

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin

from therapists.admin import bookings, people, users

__all__ = ["bookings", "people", "users"]

# The library's own pages: there a factor could be added or taken away without a line of history or a fresh one shown.
admin.site.unregister([EmailAddress, Authenticator])
