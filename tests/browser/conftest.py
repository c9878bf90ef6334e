"""A whole copy of Keepwell with demo data, and a Chromium that looks at it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebError,
    expect,
    sync_playwright,
)

from tests.processes import Copy
from tests.programs import needed

WORDS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """Find the system's Chromium; without one these tests say so, and under CI that is a failure."""
    return needed(*WORDS, package="chromium")


# Of the package and no longer: while Playwright drives a browser, Django refuses this thread's database work.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    program = chromium()
    # Chromium's sandbox refuses root, which containers run as.
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=[*QUIET, *as_root])
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def keepwell(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Copy]:
    """`make run` as a newcomer sees it: every process, demo data, a sign-in."""
    copy = Copy(Path(tmp_path_factory.mktemp("browser")) / "var", is_demo=True)
    copy.start()
    yield copy
    copy.clean_up()


@pytest.fixture
def page(window: BrowserContext) -> Page:
    """One tab of such a window."""
    return window.new_page()


@pytest.fixture
def window(keepwell: Copy, browser: Browser) -> Iterator[BrowserContext]:
    """A fresh window for several tabs, watched."""
    with watched(browser, keepwell) as context:
        yield context


@contextmanager
def watched(browser: Browser, keepwell: Copy, *, has_script: bool = True) -> Iterator[BrowserContext]:
    """
    A window that nothing escapes; with scripts or without.

    Afterwards it fails for a script that failed, an address outside, what the content policy refused, and a script,
    style or picture that was not there.
    """
    window = browser.new_context(
        base_url=keepwell.url, viewport={"width": 1280, "height": 900}, reduced_motion="reduce",
        java_script_enabled=has_script,
    )  # fmt: skip
    troubles: list[str] = []

    def note_error(error: WebError) -> None:
        troubles.append(str(error.error))

    def note_outside(asked: Request) -> None:
        # The streams process has a port of its own on the same host.
        if not asked.url.startswith((keepwell.url, keepwell.events_url, "data:", "blob:")):
            troubles.append(asked.url)

    def note_refused(said: ConsoleMessage) -> None:
        if said.type == "error" and "Content Security Policy" in said.text:
            troubles.append(said.text)

    def note_missing(answer: Response) -> None:
        if answer.status >= 400 and answer.request.resource_type in {"script", "stylesheet", "image", "font"}:
            troubles.append(f"{answer.status} {answer.url}")

    window.on("weberror", note_error)
    window.on("request", note_outside)
    window.on("console", note_refused)
    window.on("response", note_missing)
    expect.set_options(timeout=10_000)
    window.set_default_timeout(10_000)
    yield window
    window.close()
    assert troubles == []


def sign_in(page: Page, email: str, password: str) -> None:
    """Sign in to the staff's desk."""
    page.goto("/admin/login/")
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("textbox", name="Password").fill(password)
    page.get_by_role("button", name="Log in").click()
