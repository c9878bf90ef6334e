"""The second factor: who must have one, whether a session has shown it, and how long ago."""

import time
from types import SimpleNamespace
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.mfa.utils import decrypt
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

from therapists.accounts import lockout, sessions
from therapists.models import User

FRESH_SECONDS = 600
OWED = "second_factor_owed"
NEEDED = "Your second factor is needed here: show it, or set one up first."


class WrongCode(Exception):
    """The code is wrong, was used already, or comes after too many wrong ones."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def is_enrolled(person_id: int) -> bool:
    """Tell whether somebody has set up a second factor."""
    return bool(Authenticator.objects.filter(user_id=person_id, type=Authenticator.Type.TOTP).exists())


def is_required(person: Any) -> bool:
    """Tell whether somebody must have one."""
    return bool(settings.STAFF_SECOND_FACTOR and person.is_staff)


def is_owed(person: Any, session: SessionBase) -> bool:
    """
    Tell whether a session is but half signed in: its factor was not shown, or must be set up first.

    Costs no query: that there is a factor was noted at sign-in, and whoever sets one up ends their other sessions.
    """
    return (is_required(person) or bool(session.get(OWED))) and _shown_at(person, session) is None


def is_fresh(person: Any, session: SessionBase) -> bool:
    """Tell whether whoever has a factor, or must have one, has shown it within the last ten minutes."""
    shown = _shown_at(person, session)
    if shown is not None and time.time() - shown <= FRESH_SECONDS:
        return True
    return not (is_required(person) or is_enrolled(person.pk))


def checked(request: HttpRequest, person: User, code: str, *, again: bool = False) -> Any:
    """
    Use up a code of the person's factor, or one of their recovery codes; give what `note` takes.

    Wrong ones count with wrong passwords. Raises WrongCode.
    """
    form = (ReauthenticateForm if again else AuthenticateForm)({"code": code}, user=person)
    if lockout.is_locked(request, person.email) or not form.is_valid():
        raise WrongCode
    return form


def note(request: HttpRequest, form: Any) -> None:
    """Note in the request's session that the factor was shown just now."""
    form.save()
    request.session.pop(OWED, None)


def note_shown(session: SessionBase, person: User) -> None:
    """Note in a session that its factor was shown just now, without a code: for whoever has just set it up, and for the acceptance cast."""
    record_authentication(SimpleNamespace(session=session), person, method="mfa")


def ensured_secret(person: User) -> str:
    """Give the secret of somebody's factor in clear, set up where there is none: for people of the acceptance cast alone."""
    found = Authenticator.objects.filter(user_id=person.pk, type=Authenticator.Type.TOTP).first()
    if found is None:
        found = TOTP.activate(person, generate_totp_secret()).instance
    return str(decrypt(found.data["secret"]))


def withdraw(*, person_id: int) -> bool:
    """Forget somebody's factors and recovery codes, and end their sessions; tell whether there were any."""
    gone, _ = Authenticator.objects.filter(user_id=person_id).delete()
    sessions.end_all(person_id=person_id)
    return bool(gone)


def note_sign_in(sender: Any, request: HttpRequest, user: User, **more: Any) -> None:
    """Receive a sign-in: note that its factor is still to be shown; until then wrong codes and passwords count on."""
    if _shown_at(user, request.session) is None and is_enrolled(user.pk):
        request.session[OWED] = True
    else:
        lockout.forget(request, user.email)


def note_code(sender: Any, request: HttpRequest, user: User, **more: Any) -> None:
    """Receive a right code: what was wrong before is forgotten."""
    lockout.forget(request, user.email)


def count_wrong_code(sender: Any, request: HttpRequest, user: User, **more: Any) -> None:
    """Receive a wrong code: count it as a wrong password."""
    user_login_failed.send(sender=__name__, credentials={"username": user.email}, request=request)


def note_set_up(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **more: Any) -> None:
    """Receive a factor that was set up: that took a code of it."""
    if authenticator.type == Authenticator.Type.TOTP:
        note_shown(request.session, user)


def end_other_sessions(sender: Any, request: HttpRequest, user: User, **more: Any) -> None:
    """Receive a change of somebody's factors: end the sessions that were open before, but for the one in which it was made."""
    sessions.end_all(person_id=user.pk, but=request.session.session_key)


def _shown_at(person: Any, session: SessionBase) -> float | None:
    records = get_authentication_records(SimpleNamespace(session=session), person)
    return max((one["at"] for one in records if one.get("method") == "mfa"), default=None)
