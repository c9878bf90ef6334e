"""What a request for a stream says: whose session it bears, what it wants to hear, and from where it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings

from config.streams.hub import Filter
from therapists.accounts.callers import Caller
from therapists.topics import OWN, TOPICS, open_to

LONGEST = 200


class Refused(Exception):
    """No stream is given; status, code and sentence say why, headers when to come back."""

    def __init__(self, status: int, code: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Asked:
    """One request."""

    headers: Mapping[str, str]
    query: Mapping[str, str]

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> "Asked":
        """Read a request of ASGI."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=20)
        return cls(headers, {name: values[-1] for name, values in query.items()})

    @property
    def keys(self) -> list[str]:
        """The session of the cookie, and the token of an application, in the order in which the API asks them."""
        cookies = SimpleCookie()
        try:
            cookies.load(self.headers.get("cookie", ""))
        except CookieError:
            cookies.clear()
        cookie = cookies.get(settings.SESSION_COOKIE_NAME)
        found = (cookie.value if cookie else "", self.headers.get("x-session-token", ""))
        return [key for key in found if 0 < len(key) <= LONGEST]

    @property
    def since(self) -> int | None:
        """After which event to go on; None: from now. What is no number is one that nobody knows."""
        given = self.headers.get("last-event-id") or self.query.get("last_event_id", "")
        if not given:
            return None
        return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else -1

    def wanted(self, caller: Caller) -> Filter:
        """
        Give what is to be heard. Raises Refused where it is not the caller's.

        Of others' subjects it is not said whether there are such.
        """
        unknown = set(self.query) - {"topics", "person", "id", "last_event_id"}
        names = frozenset(name for name in self.query.get("topics", "").split(",") if name)
        if unknown or names - TOPICS.keys():
            what = ", ".join(sorted(unknown or names - TOPICS.keys()))[:LONGEST]
            raise Refused(400, "invalid", f"There is no {what} to ask for; topics are {', '.join(TOPICS)}.")
        person = self.query.get("person", "")
        if person and not (person.isascii() and person.isdigit() and len(person) < 19):
            raise Refused(400, "invalid", "person: give a person's id.")
        everybodys, person_id = open_to(caller.permissions), int(person) if person else None
        if names - OWN - everybodys:
            raise Refused(403, "permission_denied", "You may not do this.")
        if person_id not in {None, caller.person_id} and not (names or OWN) <= everybodys:
            raise Refused(404, "not_found", "There is nothing here, or it is not yours to see.")
        return Filter(names or None, person_id, self.query.get("id"))

    @property
    def origin(self) -> str:
        """The page's origin where it is another than ours and may read the answer; else empty."""
        given = self.headers.get("origin", "")
        return given if given in _origins() else ""


def _origins() -> set[str]:
    """List where our own pages are served: cookies know no ports, so nobody else's page may read with them."""
    site = urlsplit(settings.BASE_URL)
    known = {f"{site.scheme}://{site.netloc}"}
    if settings.DEBUG:
        known |= {f"http://{host}:{settings.PORT}" for host in settings.ALLOWED_HOSTS}
    return known
