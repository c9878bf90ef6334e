"""Every page that the navigation leads to, wide and narrow, light and dark: nobody is kept out, and nothing hangs over."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.conftest import sign_in
from tests.processes import Copy

PASSWORD = "keepwell-in-development"
INBOX = "/admin/interventions/intervention/"
CAUSES = f"{INBOX}causes/"
# Faults of the skin's own navigation that keep nobody out; what stands here is looked at again when the skin changes.
OF_THE_SKIN = {"region", "landmark-unique", "empty-table-header"}


@pytest.fixture(params=[("light", 1280), ("dark", 390)], ids=["light-1280", "dark-390"])
def window(keepwell: Copy, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Staff signed in, in a window of one kind."""
    scheme, width = request.param
    context = browser.new_context(
        base_url=keepwell.url, viewport={"width": width, "height": 860}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    sign_in(page, "root@keepwell.example", PASSWORD)
    page.wait_for_url("**/admin/")
    yield page
    context.close()


def faults(page: Page) -> list[Any]:
    """List what axe finds on the page as it stands, by rule and first element."""
    found = Axe().run(page).response["violations"]
    return [(v["id"], v["impact"], v["nodes"][0]["html"][:120]) for v in found if v["id"] not in OF_THE_SKIN]


def test_every_page_keeps_nobody_out(window: Page) -> None:
    links = window.eval_on_selector_all("#nav-sidebar a", "every => every.map(a => a.getAttribute('href'))")
    pages = sorted({link for link in links if link and link.startswith("/admin/")})
    assert len(pages) >= 10, pages
    # Pages that no entry of the navigation leads to.
    pages += ["/admin/targets/therapist_profiles/", "/admin/own/zone/"]
    window.goto("/admin/notices/")
    pages += [link.get_attribute("href") for link in window.locator("a[href^='/admin/notices/2']").all()[:1]]
    pages += [CAUSES, *(f"{INBOX}?tab={tab}" for tab in ("mine", "snoozed"))]
    window.goto(CAUSES)
    pages += window.eval_on_selector_all("a.kw-cause-more", "every => every.map(a => a.getAttribute('href'))")[:1]
    troubles = []
    for address in pages:
        window.goto(address)
        window.wait_for_load_state("networkidle")
        troubles += [(address, fault) for fault in faults(window)]
        if over := window.evaluate("document.documentElement.scrollWidth - window.innerWidth"):
            troubles.append((address, f"hangs over by {over} px"))
    assert troubles == []
