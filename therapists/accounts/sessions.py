"""Sessions in PostgreSQL that know whose they are; those of staff end when nobody uses them, and after a working day."""

import datetime as dt
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F
from django.utils import timezone

from therapists.models import OpenSession, SignInNote

logger = logging.getLogger(__name__)

# A session that is used all the time is written once in so long.
NOTED_EVERY = dt.timedelta(minutes=1)


class SessionStore(DatabaseStore):
    """The framework's store over our table. Whether somebody is staff is read from the source at each request."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._row: OpenSession | None = None
        # An open page looks for news by itself: that is no use, or no session that is left open would ever end.
        self.is_look = False

    @classmethod
    def get_model_class(cls) -> type[OpenSession]:
        """Give the table."""
        return OpenSession

    def create(self) -> None:
        """Begin anew under a key of its own, as when somebody signs in."""
        self._row = None
        super().create()

    def create_model_instance(self, data: Any) -> OpenSession:
        """Give the row to be saved; it keeps its beginning as long as it stays the same person's."""
        row = cast("OpenSession", super().create_model_instance(data))
        row.person_id = int(data[SESSION_KEY]) if data.get(SESSION_KEY) else None
        row.used_at = row.began_at = timezone.now()
        if self._row is not None and self._row.person_id == row.person_id:
            row.began_at = self._row.began_at
        return row

    def _get_session_from_db(self) -> OpenSession | None:
        now = timezone.now()
        # In one query with the person, by their key.
        found = OpenSession.objects.filter(session_key=self.session_key, expire_date__gt=now)
        self._row = next(iter(found.annotate(is_staff=F("person__is_staff"))[:1]), None)
        if self._row is not None and getattr(self._row, "is_staff", False):
            self._limit(self._row, now)
        if self._row is None:
            self._session_key = None
        return self._row

    def _limit(self, row: OpenSession, now: dt.datetime) -> None:
        idle = dt.timedelta(minutes=settings.STAFF_IDLE_MINUTES)
        if now - row.used_at > idle or now - row.began_at > dt.timedelta(hours=settings.STAFF_SESSION_HOURS):
            _try(OpenSession.objects.filter(pk=row.pk).delete)
            self._row = None
        elif not self.is_look and now - row.used_at > min(NOTED_EVERY, idle / 2):
            _try(partial(OpenSession.objects.filter(pk=row.pk).update, used_at=now))
            row.used_at = now


def _try(write: Callable[[], object]) -> None:
    """Write what a look at a page may do without: where it cannot be written, the session only ends earlier."""
    try:
        with transaction.atomic():
            write()
    except (DatabaseError, InterfaceError) as error:
        logger.info("accounts.session.not_noted", extra={"reason": type(error).__name__})


def end_all(*, person_id: int, but: str | None = None) -> int:
    """End every session of a person, `but` the one of this key; give how many. They are gone with the commit."""
    ended, _ = OpenSession.objects.filter(person_id=person_id).exclude(session_key=but or "").delete()
    return ended


def forget_ended(*, at: dt.datetime) -> int:
    """Delete sessions that nobody can use any more, and notes that hold no longer; give how many sessions."""
    SignInNote.objects.filter(expires__lte=at).delete()
    return OpenSession.objects.filter(expire_date__lte=at).delete()[0]
