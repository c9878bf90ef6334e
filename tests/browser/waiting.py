"""A therapist at a page whose connection comes and goes, and what of their presses reached the database."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.processes import Copy

PASSWORD = "keepwell-in-development"
API = "**/api/v1/**"
SAVE = "sync-button[method=PATCH]"
# Everything that this browser keeps, as anybody could read it who has the browser.
STORED = """async () => {
    const db = await idb.openDB("keepwell-sync", 1), told = [];
    for (const one of await db.getAll("entries")) {
        const text = (bytes) => new TextDecoder("latin1").decode(bytes);
        told.push(JSON.stringify({ ...one, box: text(one.box.bytes), file: one.file && text(one.file.bytes) }));
    }
    db.close();
    return told.join("\\n") + JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage });
}"""
AGE = """async (by) => {
    const db = await idb.openDB("keepwell-sync", 1);
    for (const one of await db.getAll("entries")) await db.put("entries", { ...one, at: one.at - by });
    db.close();
}"""


def sign_in(page: Page, person: str) -> None:
    """Sign in, open the profile, and wait until the page's script is at work."""
    words = {"email": f"{person}@keepwell.example", "password": PASSWORD}
    assert page.request.post("/api/v1/auth/session/", data=words).ok
    page.goto("/me/")
    ready(page)


def ready(page: Page) -> None:
    """Wait until the elements are there."""
    page.locator("html.scripted").wait_for()


def edited(page: Page, bio: str) -> None:
    """Type another text about oneself, and save it."""
    page.get_by_label("About you").fill(bio)
    page.get_by_role("button", name="Save").click()


def state(page: Page, word: str, *, of: str = SAVE) -> Locator:
    """Wait until a button is in a state; give what it says. Of what is saved the demo's services may still follow."""
    words = re.compile("saved|following") if word == "saved" else word
    expect(page.locator(of)).to_have_attribute("data-state", words)
    return page.locator(f"{of} .sync-said")


def cut(where: Page | BrowserContext) -> None:
    """Let nothing through to the API, without the browser knowing that."""
    where.route(API, lambda route: route.abort())


def joined(where: Page | BrowserContext) -> None:
    """Let everything through again."""
    where.unroute(API)


@contextmanager
def answers_lost(page: Page, method: str, *, is_cut: bool = False) -> Iterator[list[int]]:
    """
    Let one request of a method be answered, and the answer be lost on its way back; gives the statuses that were lost.

    With `is_cut` nothing comes through after it, so that nobody can ask what came of it.
    """
    lost: list[int] = []

    def answered(route: Route) -> None:
        if lost and is_cut:
            route.abort()
            return
        if route.request.method != method or lost:
            route.fallback()
            return
        lost.append(route.fetch().status)
        route.abort()

    page.route(API, answered)
    yield lost
    page.unroute(API, answered)


class Ledger:
    """What the database says of one person's keyed requests, oldest first."""

    def __init__(self, keepwell: Copy, person: str) -> None:
        self._url = keepwell.database_url
        self.person = f"{person}@keepwell.example"
        self.before = 0
        self.before = len(self.requests())

    def rows(self, sql: str, *words: object) -> list[Any]:
        """Ask the copy's database."""
        with psycopg.connect(self._url) as connection:
            return connection.execute(sql, words).fetchall()

    def write(self, sql: str, *words: object) -> None:
        """Write past the product, as another program does."""
        with psycopg.connect(self._url) as connection:
            connection.execute(sql, words)

    @property
    def person_id(self) -> int:
        """The person's id."""
        return int(self.rows("SELECT id FROM users WHERE email = %s", self.person)[0][0])

    def requests(self) -> list[tuple[str, str, str]]:
        """Give method, route and answered body of each request that had its effect since this was made."""
        return self.rows(
            "SELECT method, route, coalesce(body, '') FROM keyed_request WHERE person_id ="
            " (SELECT id FROM users WHERE email = %s) ORDER BY at", self.person,
        )[self.before:]  # fmt: skip

    def bios(self) -> list[str]:
        """Give what each edit made of the text, in order."""
        edits = [body for method, _, body in self.requests() if method == "PATCH"]
        return [json.loads(body)["data"]["bio"] if body else "not answered yet" for body in edits]
