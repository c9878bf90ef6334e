"""What leads do with directories that staff enter: each change with its line of history, each secret shown once."""

import base64
import datetime as dt
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction

from interventions.correlation import request_id
from interventions.models import History
from sync import outside, secrets
from sync.doorbell import bell
from sync.integrations import listing
from sync.models import Endpoint

MOST, LONGEST_NAME, LONGEST_URL = 20, 80, 500


class EndpointRefused(ValueError):
    """What was entered cannot be used; the message says why, in words for staff."""


def add_endpoint(*, name: str, url: str, read_url: str, by: str, at: dt.datetime) -> tuple[Endpoint, str]:
    """Enter a directory and owe it everybody; gives it and its secret, which nobody is shown again. Raises EndpointRefused."""
    if Endpoint.objects.count() >= MOST:
        raise EndpointRefused(f"There are {MOST} directories already; change one that is switched off.")
    secret = _new_secret()
    endpoint = Endpoint(secret=secrets.seal(secret), made_by=by, made_at=at)
    _enter(endpoint, name, url, read_url)
    _save(endpoint, "endpoint_added", by, at)
    return endpoint, secret


def change_endpoint(*, endpoint_id: int, name: str, url: str, read_url: str, by: str, at: dt.datetime) -> Endpoint:
    """Correct a directory's name or addresses; what it refused is tried again. Raises EndpointRefused, Endpoint.DoesNotExist."""
    return _change(endpoint_id, "endpoint_changed", by, at, lambda endpoint: _enter(endpoint, name, url, read_url))


def switch_endpoint(*, endpoint_id: int, is_on: bool, by: str, at: dt.datetime) -> Endpoint:
    """Owe a directory nothing from now on, or everybody. Raises Endpoint.DoesNotExist."""

    def switch(endpoint: Endpoint) -> None:
        endpoint.is_on = is_on

    return _change(endpoint_id, "endpoint_on" if is_on else "endpoint_off", by, at, switch)


def rotate_secret(*, endpoint_id: int, by: str, at: dt.datetime) -> tuple[Endpoint, str]:
    """Sign with a new secret beside the present one until that is dropped; gives the new one, once. Raises Endpoint.DoesNotExist."""
    secret = _new_secret()

    def rotate(endpoint: Endpoint) -> None:
        endpoint.older_secret, endpoint.secret, endpoint.secret_since = endpoint.secret, secrets.seal(secret), at

    return _change(endpoint_id, "endpoint_secret_rotated", by, at, rotate), secret


def drop_older_secret(*, endpoint_id: int, by: str, at: dt.datetime) -> Endpoint:
    """Sign with the newest secret alone, once the directory has it. Raises Endpoint.DoesNotExist."""

    def drop(endpoint: Endpoint) -> None:
        endpoint.older_secret = ""

    return _change(endpoint_id, "endpoint_secret_dropped", by, at, drop)


@dataclass(frozen=True)
class Renewed:
    """How many secrets were sealed anew, and the names of the directories of which one cannot be opened by any key."""

    sealed: int
    unopened: tuple[str, ...]


def renew_secrets() -> Renewed:
    """
    Seal by the newest key whatever an older one sealed, so that the older ones can be taken away; again is nothing.

    What directories are told does not change with it. A secret that no key opens is left as it is.
    """
    sealed, unopened = 0, []
    for pk in Endpoint.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            endpoint = Endpoint.objects.select_for_update().get(pk=pk)
            changed = {name: secrets.renewed(word) for name, word in _outdated(endpoint).items()}
            found = {name: word for name, word in changed.items() if word is not None}
            if len(found) < len(changed):
                unopened.append(endpoint.name)
            if found:
                Endpoint.objects.filter(pk=pk).update(**found)
                _write_down(endpoint, "endpoint_secret_resealed", "system")
                sealed += len(found)
    return Renewed(sealed, tuple(unopened))


def _outdated(endpoint: Endpoint) -> dict[str, str]:
    """Give by its field each secret that the newest key does not open."""
    held = {"secret": endpoint.secret, "older_secret": endpoint.older_secret}
    return {name: word for name, word in held.items() if word and not secrets.is_current(word)}


def send_test(*, endpoint_id: int, by: str) -> dict[str, int]:
    """
    Send a signed message about nobody, now; gives what the directory says it did.

    Raises CallFailed and Endpoint.DoesNotExist.
    """
    endpoint = Endpoint.objects.get(pk=endpoint_id)
    _write_down(endpoint, "endpoint_tested", by)
    data = {"id": 0, "revision": 0}
    return listing.post(listing.lane_of(endpoint), key=f"test:{uuid.uuid4()}", kind=listing.TEST, data=data)


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


def _change(endpoint_id: int, action: str, by: str, at: dt.datetime, change: Callable[[Endpoint], None]) -> Endpoint:
    with transaction.atomic():
        endpoint = Endpoint.objects.select_for_update().get(pk=endpoint_id)
        change(endpoint)
        _save(endpoint, action, by, at)
    return endpoint


def _save(endpoint: Endpoint, action: str, by: str, at: dt.datetime) -> None:
    try:
        with transaction.atomic():
            endpoint.save()
            _write_down(endpoint, action, by)
    except IntegrityError as error:
        raise EndpointRefused("There is a directory of this name already.") from error
    # Workers follow within seconds in any case; whoever waits before the page sees it sooner.
    transaction.on_commit(lambda: outside.follow(at=at), robust=True)
    transaction.on_commit(bell.ring, robust=True)


def _enter(endpoint: Endpoint, name: str, url: str, read_url: str) -> None:
    endpoint.name, endpoint.url, endpoint.read_url = name.strip()[:LONGEST_NAME], url.strip(), read_url.strip()
    if not endpoint.name:
        raise EndpointRefused("A directory needs a name.")
    for address in filter(None, (endpoint.url or "-", endpoint.read_url)):
        if not _is_address(address):
            raise EndpointRefused("An address begins with https:// and names a host, without a user or a password.")


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    schemes = {"https", "http"} if settings.SYNC_PRIVATE_ADDRESSES else {"https"}
    is_plain = parts.username is None and parts.password is None and not set(address) & set(" \\\n\r\t")
    return parts.scheme in schemes and bool(parts.hostname) and is_plain and len(address) <= LONGEST_URL


def _write_down(endpoint: Endpoint, action: str, by: str) -> None:
    History.objects.create(
        actor=by, action=action, object_type="endpoint", object_id=str(endpoint.pk), request_id=request_id.get()
    )
