"""Every page of the desk, wide and narrow, light and dark, and by keyboard alone: nobody is kept out, and nothing hangs over."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from tests.browser.conftest import sign_in, watched
from tests.processes import Copy

PASSWORD = "keepwell-in-development"
INBOX = "/admin/interventions/intervention/"
CAUSES, RUNS, LOGIN = f"{INBOX}causes/", f"{INBOX}retries/", "/admin/login/"
TABS = ("mine", "retrying", "snoozed", "resolved", "all")
WIDE, NARROW = 1280, 390
MOST_STOPS = 400
# Faults of the skin's own navigation that keep nobody out; what stands here is looked at again when the skin changes.
OF_THE_SKIN = {"region", "landmark-unique", "empty-table-header", "landmark-one-main"}
# Lists of the same make as others, only with other rows: it is enough that nothing hangs over.
ALIKE = (
    "?tab=mine",
    "?tab=retrying",
    "?tab=all",
    "/therapists/profile/",
    "/therapists/user/",
    "/sync/hold/",
    "/therapists/creditentry/",
)
# Rows are alike: what holds for the first ones holds for all, and axe takes its time for each.
FEWER = """for (const one of document.querySelectorAll(
    "tr:nth-child(n+7), tbody:nth-of-type(n+7), g:nth-of-type(n+3), option:nth-child(n+5)")) one.remove();"""
# Every control that is seen, and whether keys reach it: each is marked as it gets the focus.
CONTROLS = """() => [...document.querySelectorAll(
    "a, button, input:not([type=hidden], [type=radio]), select, textarea, summary, [role=button], [x-on\\\\:click]")].filter(
    (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && !one.id.endsWith("-close")
        && !one.closest("dialog, [aria-hidden=true]"))"""
ROUND = """() => {
    const one = document.activeElement, was = one.dataset?.kwReached;
    if (!one || one === document.body) return "";
    one.dataset.kwReached = "yes";
    const seen = (of) => { const s = getComputedStyle(of); return s.outlineStyle !== "none" && s.outlineWidth !== "0px" || s.boxShadow !== "none"; };
    const isSeen = [one, one.parentElement, one.closest("label, td, div")].some((of) => of && seen(of));
    return (was ? "again " : "") + (isSeen ? "" : "unseen ") + one.outerHTML.slice(0, 120);
}"""
# A page that lives may show something new behind somebody who goes round: that is for the next round.
BEGUN = f"({CONTROLS})().forEach((one) => {{ one.dataset.kwThere = 'yes'; }})"
MISSED = (
    f"({CONTROLS})().filter((one) => one.dataset.kwThere && !one.dataset.kwReached)"
    ".map((one) => one.outerHTML.slice(0, 160))"
)


@pytest.fixture
def window(keepwell: Copy, browser: Browser) -> Iterator[Page]:
    """Staff signed in, in a window that is watched."""
    with watched(browser, keepwell) as context:
        page = context.new_page()
        sign_in(page, "root@keepwell.example", PASSWORD)
        page.wait_for_url("**/admin/")
        yield page


def faults(page: Page) -> list[Any]:
    """List what axe finds on the page as it stands, by rule and first element."""
    # The navigation is everywhere the same: it is looked at on the front page.
    where = {"include": [["html"]], "exclude": [] if page.url.endswith("/admin/") else [["#nav-sidebar"]]}
    asked = f"{json.dumps(where)}, {json.dumps({'resultTypes': ['violations']})}"
    found = page.evaluate(f"axe.run({asked}).then(({{ violations }}) => violations)")
    return [(v["id"], v["impact"], v["nodes"][0]["html"][:120]) for v in found if v["id"] not in OF_THE_SKIN]


def dressed(page: Page, width: int, scheme: str) -> None:
    """Show the page that is open in another width and by another light."""
    page.set_viewport_size({"width": width, "height": 860})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")


def first(page: Page, where: str, links: str) -> list[str]:
    """Give the address of the first of the links on a page, if it has one."""
    page.goto(where)
    return list(page.eval_on_selector_all(links, "every => every.map(one => one.getAttribute('href'))")[:1])


def planned_run(page: Page) -> str:
    """Plan a bulk retry, so that there is one to look at."""
    page.goto(CAUSES)
    page.get_by_role("button", name="Retry all").first.click()
    page.wait_for_url(f"**{RUNS}*/")
    return page.url


def items_there(page: Page) -> None:
    """Wait until the demo's debt has become interventions with their causes."""
    for _ in range(60):
        page.goto(CAUSES)
        if page.locator("a.kw-cause-more").count():
            return
        page.wait_for_timeout(500)
    pytest.fail("The demo made no intervention.")


def addresses(page: Page) -> list[str]:
    """Give every page that the navigation leads to, and one of each kind that it does not lead to."""
    items_there(page)
    links = page.eval_on_selector_all("#nav-sidebar a", "every => every.map(a => a.getAttribute('href'))")
    pages = sorted({link for link in links if link and link.startswith("/admin/")})
    assert len(pages) >= 12, pages
    pages += [planned_run(page), "/admin/targets/therapist_profiles/", CAUSES, f"{INBOX}?q=nobody-of-this-name"]
    pages += [f"{INBOX}?tab={tab}" for tab in TABS]
    pages += first(page, CAUSES, "a.kw-cause-more") + first(page, INBOX, "a.kw-what")
    pages += first(page, f"{INBOX}?tab=all", "a.kw-what")
    pages += first(page, pages[-1], "a:has-text('Mark resolved')")
    for model in ("user", "enrollment", "profile"):
        pages += first(page, f"/admin/therapists/{model}/", "#result_list th a, #result_list td a")
    pages += [*first(page, "/admin/notices/", "a[href^='/admin/notices/2']"), "/admin/own/factor/"]
    return [*dict.fromkeys(pages), LOGIN]


def opened(page: Page, address: str) -> None:
    """Open a page; the one for signing in as somebody who is not."""
    if address == LOGIN:
        page.context.clear_cookies()
    page.goto(address)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_page_keeps_nobody_out(window: Page) -> None:
    troubles: list[tuple[Any, ...]] = []
    for number, address in enumerate(addresses(window)):
        opened(window, address)
        for width in (NARROW, WIDE):
            dressed(window, width, "light")
            if over := window.evaluate("document.documentElement.scrollWidth - window.innerWidth"):
                troubles.append((address, width, "light", f"hangs over by {over} px"))
        if any(address.endswith(alike) for alike in ALIKE):
            continue
        window.evaluate("document.fonts.ready")
        window.evaluate("document.querySelector('.action-select')?.click()")
        window.evaluate(FEWER + AXE_SCRIPT)
        # Every other page the other way round: what pages share is looked at in each of the four.
        is_dark_when_wide = bool(number % 2)
        for width, is_dark in ((WIDE, is_dark_when_wide), (NARROW, not is_dark_when_wide)):
            scheme = "dark" if is_dark else "light"
            dressed(window, width, scheme)
            troubles += [(address, width, scheme, fault) for fault in faults(window)]
    assert not troubles, "\n".join(map(str, troubles))


@pytest.mark.slow
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_keys_reach_whatever_can_be_pressed_and_show_where_one_is(window: Page, width: int) -> None:
    items_there(window)
    pages = [INBOX, *first(window, INBOX, "a.kw-what"), *first(window, CAUSES, "a.kw-cause-more")]
    pages += [planned_run(window), "/admin/targets/therapist_profiles/", "/admin/notices/", "/admin/", LOGIN]
    window.set_viewport_size({"width": width, "height": 860})
    troubles: list[tuple[Any, ...]] = []
    for address in pages:
        opened(window, address)
        window.wait_for_function("document.querySelector('[role=button][tabindex]')")
        window.evaluate(BEGUN)
        unseen = []
        for _ in range(MOST_STOPS):
            stop = str(window.evaluate(ROUND))
            if stop.startswith("again "):
                break
            unseen += [stop] if stop.startswith("unseen ") else []
            window.keyboard.press("Tab")
        troubles += [(address, "no key reaches", one) for one in window.evaluate(MISSED)]
        troubles += [(address, one) for one in unseen]
    assert not troubles, "\n".join(map(str, troubles))
