"""What is stored of somebody's signing in."""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

from therapists.models.people import User


class OpenSession(AbstractBaseSession):
    """A session, and whose it is: so that all of somebody's can be ended, and those of staff by their limits."""

    # Nobody's until somebody signs in. No constraint: a session must not hold up the deletion of a person.
    person = models.ForeignKey(User, models.CASCADE, null=True, db_constraint=False, related_name="+")
    # When they signed in.
    began_at = models.DateTimeField()
    # Of staff to the minute; of others whenever the session was saved.
    used_at = models.DateTimeField()

    class Meta:
        db_table = "user_sessions"
        default_permissions = ()

    @classmethod
    def get_session_store_class(cls) -> Any:
        """Give the store that reads these rows."""
        return import_module(settings.SESSION_ENGINE).SessionStore


class SignInNote(models.Model):
    """What the sign-in libraries note for some minutes: a row of the framework's cache in the database."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "sign_in_notes"
        default_permissions = ()
