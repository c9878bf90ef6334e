"""Roles and actions: nobody sees a button that does not work for them, and what they do not see is refused to them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from interventions import causes
from interventions.models import Cause, History, Intervention
from tests import fakes
from tests.authorization import ACTIONS, CLOSED, DESK, LOOKS
from tests.factories import UserFactory
from therapists.demo.cast import seed_cast
from therapists.demo.population import seed_population
from therapists.demo.troubles import EXPORT, PHONE_CONSTRAINT, PIN, seed_troubles
from therapists.models import User
from therapists.roles import ROLES, sync_groups

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(600)]
NOBODY, SUPERUSER = "no role", "superuser"
# One's own session and settings are everybody's; the drill is for development and says so itself.
EVERYBODYS = re.compile(r"/admin/(logout|password_change|own)/|/i18n/|/drill/")
PAGES_OF_A_SHAPE = 2
# Django's own, which looks at rights itself, and serves nothing that is not in the table.
SAID_ELSEWHERE = {
    "/admin/login/", "/admin/autocomplete/", "/admin/jsi18n/", "/admin/search/", "/admin/r/*/*/",
}  # fmt: skip


@dataclass
class Form:
    """One button of one form: where it leads, and what it sends."""

    address: str
    sent: dict[str, str]
    button: tuple[str, str]

    @property
    def key(self) -> tuple[str, str, str]:
        """Tell the action, whatever the thing is that it is done to."""
        name, value = self.button
        return shape(self.address), name, value if name in {"action", "_save", "_addanother", "_continue"} else ""


@dataclass
class _Open:
    address: str
    method: str
    sent: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)


class Reader(HTMLParser):
    """Reads a page's links, and its forms with their buttons."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.links: set[str] = set()
        self.forms: list[_Open] = []
        self.named: dict[str, _Open] = {}
        self._now: _Open | None = None
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.add(urljoin(self.address, told.get("href", "")))
        elif tag == "form":
            self._now = _Open(urljoin(self.address, told.get("action", "") or self.address), told.get("method", "get"))
            self.forms.append(self._now)
            self.named[told.get("id", "")] = self._now
        elif tag in {"input", "button", "select", "textarea", "option"}:
            form = self.named.get(told["form"]) if "form" in told else self._now
            if form is not None and "disabled" not in told:
                self._take(form, tag, told)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._now = None

    def _take(self, form: _Open, tag: str, told: dict[str, str]) -> None:
        name, value, kind = told.get("name", ""), told.get("value", ""), told.get("type", "")
        if (tag == "button" and kind in {"", "submit"}) or (tag == "input" and kind == "submit"):
            form.buttons.append((name, value))
        elif tag == "select":
            self._select = name
        elif tag == "option":
            if self._select == "action" and value:
                form.options.append(("action", value))
        elif name and (kind not in {"checkbox", "radio"} or "checked" in told or name == "_selected_action"):
            form.sent.setdefault(name, value)

    def posts(self) -> Iterator[Form]:
        """Give each button of each form that writes."""
        for form in self.forms:
            if form.method.lower() == "post" and not EVERYBODYS.search(form.address):
                # A choice of actions stands for its options; its "Go" sends one of them.
                for button in form.options or form.buttons:
                    chosen = {"index": "0"} if form.options else {}
                    yield Form(form.address, form.sent | chosen | ({button[0]: button[1]} if button[0] else {}), button)


def shape(address: str) -> str:
    """Give an address without what it is about."""
    return re.sub(r"/(\d+|[0-9a-f-]{32,36}|(?<=targets/)[\w-]+)(?=/|$)", "/*", urlsplit(address).path)


@dataclass
class Seen:
    """What somebody comes across at the desk: what can be pressed, pages, and links that lead nowhere."""

    forms: dict[tuple[str, str, str], Form] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    dead: list[tuple[str, int]] = field(default_factory=list)


def crawled(client: Client) -> Seen:
    """Open every page that is reached from the front page, a few of each kind."""
    waiting, seen, found = ["/admin/"], dict[str, int](), Seen()
    known = set(waiting)
    while waiting:
        address = waiting.pop(0)
        answer = client.get(address)
        if answer.status_code >= 400:
            found.dead.append((address, answer.status_code))
        if answer.status_code >= 300 or "html" not in answer["Content-Type"]:
            continue
        found.pages.setdefault(shape(address), address)
        reader = Reader(address)
        reader.feed(answer.content.decode())
        for form in reader.posts():
            found.forms.setdefault(form.key, form)
        for link in sorted(reader.links):
            path = urlsplit(link)
            kind = shape(link) + (path.query if path.query.startswith("tab=") else "")
            inside = not path.netloc and path.path.startswith("/admin/") and not EVERYBODYS.search(path.path)
            if inside and link not in known and seen.get(kind, 0) < PAGES_OF_A_SHAPE:
                seen[kind] = seen.get(kind, 0) + 1
                known.add(link)
                waiting.append(link.partition("#")[0])
    return found


def client_of(role: str) -> Client:
    """Sign in somebody of a role."""
    person: User = UserFactory.create(user_type="staff", is_staff=True, is_superuser=role == SUPERUSER)
    if role in ROLES:
        person.groups.set(Group.objects.filter(name=role))
    client = Client(raise_request_exception=False)
    client.force_login(person)
    return client


@pytest.fixture
def desk(settings: Any, transactional_db: None, tmp_path: Path) -> Iterator[dict[str, Seen]]:
    """What each role can press, on a desk where something of every kind is there."""
    settings.DEBUG, settings.MEDIA_ROOT = True, tmp_path
    try:
        seed_population(therapists=60, drift_percent=Decimal(10), seed=3)
        seed_troubles(decided_by=seed_cast()["lena"].pk)
        causes.follow(at=timezone.now())
        root = client_of(SUPERUSER)
        root.post("/admin/interventions/intervention/retries/plan/")
        root.post("/admin/runs/", {"action": "plan"})
        root.post("/admin/outside/", {"name": "North", "url": "https://directory.example/", "read_url": ""})
        clients = {role: client_of(role) for role in (NOBODY, *ROLES, SUPERUSER)}
        # Whoever only looks changes nothing: a page that wrote something would be an error here, and a dead link.
        fakes.sql("SET default_transaction_read_only = on")
        seen = {role: crawled(client) for role, client in clients.items()}
        fakes.sql("RESET default_transaction_read_only")
        yield seen
    finally:
        fakes.sql("RESET default_transaction_read_only")
        sync_groups()  # some were saved with nothing in them
        fakes.sql(f"ALTER TABLE therapist_profiles DROP CONSTRAINT IF EXISTS {PHONE_CONSTRAINT}")
        for name in (PIN, EXPORT):
            fakes.sql(f"DROP TRIGGER IF EXISTS {name} ON therapist_profiles")
            fakes.sql(f"DROP FUNCTION IF EXISTS {name}()")


def test_everybody_sees_what_works_for_them_and_is_refused_the_rest(desk: dict[str, Seen]) -> None:
    everything = {key: form for seen in desk.values() for key, form in seen.forms.items()}
    table = {(one.address, one.name, one.value): one for one in ACTIONS}
    assert everything.keys() - table.keys() == set(), "not in tests/authorization.py"
    pages = {kind: address for seen in desk.values() for kind, address in seen.pages.items()}
    assert pages.keys() - LOOKS.keys() == set(), "not in tests/authorization.py"

    wrong: list[tuple[str, object, object]] = [
        (f"{role} is led to", *link) for role, seen in desk.items() for link in seen.dead
    ]
    for role, seen in desk.items():
        client = client_of(role)
        due = {key for key in everything if may(role, table[key].least)}
        wrong += [(f"{role} is not shown", key, "") for key in sorted(due - seen.forms.keys())]
        wrong += [(f"{role} is shown", key, "") for key in sorted(seen.forms.keys() - due)]
        for kind, address in sorted(pages.items()):
            if (client.get(address).status_code < 300) is not may(role, LOOKS[kind]):
                wrong.append((f"{role} comes upon", kind, ""))
    things = {"item": Intervention.objects.latest("timestamp").pk, "cause": Cause.objects.latest("first_at").pk}
    for address in CLOSED:
        for client, role in ((client_of(role), role) for role in desk):
            for ask in (client.get, client.post):
                if (status := ask(somewhere(address, pages)).status_code) not in {302, 403, 404, 405}:
                    wrong.append((f"{role} comes upon", address, status))
    for role in (NOBODY, *ROLES):
        client = client_of(role)
        for key, one in sorted(table.items()):
            if may(role, one.least):
                continue
            before, form = History.objects.count(), everything.get(key)
            sent = form.sent if form else {name: value.format(**things) for name, value in one.sent.items()}
            answer = client.post(form.address if form else somewhere(one.address, pages), sent)
            # The admin reads an action that somebody may not choose as no choice, and shows the list.
            is_refused = answer.status_code in {403, 404} or (key[1] == "action" and answer.status_code == 200)
            if not is_refused or History.objects.count() != before:
                wrong.append((f"{role} may", key, answer.status_code))
    for role, seen in desk.items():
        client = client_of(role)
        for key, form in sorted(seen.forms.items(), key=lambda each: each[0]):
            answer = client.post(form.address, form.sent)
            if answer.status_code in {403, 405} or answer.status_code >= 500:
                wrong.append((f"{role} sees it, and may not", key, answer.status_code))
    assert not wrong, "\n".join(map(str, wrong))


def may(role: str, least: str) -> bool:
    """Tell whether the table gives a role what needs at least another."""
    return DESK.index({NOBODY: "staff"}.get(role, role.lower())) >= DESK.index(least)


def somewhere(address: str, pages: dict[str, str]) -> str:
    """Give an address about a thing that is there; where nobody came upon one of its kind, about one that is not."""
    return pages.get(address, address.replace("*", "1"))


def test_every_address_of_the_desk_stands_in_the_table() -> None:
    told = {one.address for one in ACTIONS} | LOOKS.keys() | set(CLOSED)
    assert {address for address in addresses() if not EVERYBODYS.search(address)} - told == SAID_ELSEWHERE


def addresses() -> Iterator[str]:
    """Give every address that the desk serves, with a star for what it is about."""

    def below(resolver: URLResolver, before: str) -> Iterator[str]:
        for entry in resolver.url_patterns:
            address = before + str(entry.pattern)
            if isinstance(entry, URLResolver):
                yield from below(entry, address)
            elif entry.name not in {None, "app_list"} and address.startswith("/admin/"):
                yield re.sub(r"<[^>]+>", "*", address)

    return below(get_resolver(), "/")
