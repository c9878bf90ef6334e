"""
`make screenshots`: start a copy with demo data and renew the pictures of the documentation.

With a folder as argument, every page is photographed into it light and dark, wide and narrow: for looking at.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import QUIET, chromium, sign_in
from tests.browser.waiting import PASSWORD
from tests.browser.waiting import sign_in as sign_in_as_therapist
from tests.processes import PROJECT, Copy

PICTURES = PROJECT / "docs" / "pictures"
INBOX = "/admin/interventions/intervention/"
CAUSES = f"{INBOX}causes/"
LOOKED_AT = (
    ("front-page", "/admin/"), ("inbox", INBOX), ("notices", "/admin/notices/"), ("drill", "/admin/drill/"),
    ("enrollments", "/admin/therapists/enrollment/"), ("history", "/admin/interventions/history/"),
    ("repairs", "/admin/runs/"), ("target", "/admin/targets/therapist_profiles/"), ("week", "/admin/week/"),
)  # fmt: skip
# Until the demo's debt has become items, and the first audit has counted everybody.
QUIET_AFTER_SECONDS = 80


def main(folder: Path, *, is_everything: bool) -> None:
    """Take the pictures of the documentation, or every picture there is."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = Copy(Path(tempfile.mkdtemp(prefix="keepwell-pictures-")) / "var", is_demo=True)
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    copy.start()
    try:
        time.sleep(QUIET_AFTER_SECONDS)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=[*QUIET, *as_root])
            for scheme, suffix in (("light", ""), ("dark", "-dark")) if is_everything else (("light", ""),):
                take(browser, copy, folder, scheme, suffix, width=1280, is_everything=is_everything)
                if is_everything:
                    take(browser, copy, folder, scheme, f"{suffix}-phone", width=390, is_everything=True)
            browser.close()
    finally:
        copy.clean_up()


def drawn(page: Page) -> None:
    """Wait until a page is as it will be; its network is never idle, for it holds a stream."""
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => done(null))))")


def take(
    browser: Browser, copy: Copy, folder: Path, scheme: str, suffix: str, *, width: int, is_everything: bool
) -> None:
    """Walk through the desk once and photograph it."""
    is_dark = scheme == "dark"
    window = browser.new_context(
        base_url=copy.url, viewport={"width": width, "height": 860}, color_scheme="dark" if is_dark else "light",
        reduced_motion="reduce",
    )  # fmt: skip
    page = window.new_page()
    sign_in_as_therapist(page, "ben")
    page.screenshot(path=folder / f"profile{suffix}.png")
    sign_in(page, "lena@keepwell.example", PASSWORD)
    for name, path in LOOKED_AT if is_everything else LOOKED_AT[:3]:
        page.goto(path)
        drawn(page)
        page.screenshot(path=folder / f"{name}{suffix}.png")
    page.goto(INBOX)
    page.locator("a.kw-what").filter(has_text="CHECK").first.click()
    drawn(page)
    page.screenshot(path=folder / f"item{suffix}.png")
    page.goto(INBOX)
    page.locator("a.kw-cause-more").first.click()
    drawn(page)
    page.screenshot(path=folder / f"cause{suffix}.png")
    page.get_by_role("button", name="Retry all…").click()
    page.get_by_role("button", name=re.compile(r"^Retry \d+$")).click()
    page.locator(".kw-state", has_text=re.compile("Stopped|Done")).first.wait_for(timeout=60_000)
    page.screenshot(path=folder / f"run{suffix}.png")
    if is_everything:
        page.goto(CAUSES)
        drawn(page)
        page.screenshot(path=folder / f"causes{suffix}.png")
        page.goto(INBOX)
        page.locator("a.kw-what").first.click()
        page.get_by_role("link", name="Mark resolved…").click()
        drawn(page)
        page.screenshot(path=folder / f"resolve{suffix}.png")
    window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES, is_everything=len(sys.argv) > 1)
