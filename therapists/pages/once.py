"""Forms that do something exactly once: each is rendered with a key, and whoever sends it twice gets the first answer."""

import hashlib
import uuid
from collections.abc import Callable

from django.http import HttpRequest

from interventions import idempotency
from interventions.idempotency import Answer, Asked
from therapists.pages.frame import SEE_OTHER, person_of

FIELD = "once"
DONE_BEFORE = "This was done before."


class FormTooOld(Exception):
    """This form is too old, or was used for something else. Nothing was changed: press again."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def key() -> str:
    """Give a key for one form."""
    return str(uuid.uuid4())


def once(request: HttpRequest, act: Callable[[], str]) -> str:
    """
    Act, unless this form has been sent before; give the sentence that says what was done, the first time or now.

    Raises FormTooOld, idempotency.InFlight, and what `act` raises: then nothing was done, and the form may be sent again.
    """
    asked = _asked(request)
    found = idempotency.find(asked)
    if found is None:
        try:
            with idempotency.asking(asked):
                said = act()
            return idempotency.store(asked.id, Answer(SEE_OTHER, {}, said)).body
        except idempotency.KeyTaken:
            found = idempotency.find(asked)
    kept = idempotency.awaited(asked, found)
    if kept.digest != asked.digest:
        raise FormTooOld
    return kept.answer.body if kept.answer else DONE_BEFORE


def _asked(request: HttpRequest) -> Asked:
    try:
        given = str(uuid.UUID(request.POST.get(FIELD, "")))
    except ValueError as error:
        raise FormTooOld from error
    route = request.resolver_match.route if request.resolver_match else request.path
    digest = hashlib.sha256(request.path.encode()).hexdigest()
    return Asked(person_of(request), given, "POST", f"/{route}", digest)
