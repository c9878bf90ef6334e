"""The desk by keyboard: through the list, at the buttons, into the skin's menus and out again."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_causes import INBOX, desk

__all__ = ["desk"]


def focused(page: Page) -> str:
    """Give where the row leads in which one stands."""
    return str(page.evaluate("document.activeElement.getAttribute('href')"))


def test_single_keys_lead_through_the_list_and_press_what_bears_them(desk: Page) -> None:
    rows = desk.locator("a.kw-what").evaluate_all("every => every.map(one => one.getAttribute('href'))")
    assert len(rows) > 2
    for key, number in (("j", 0), ("j", 1), ("ArrowDown", 2), ("k", 1)):
        desk.keyboard.press(key)
        assert focused(desk) == rows[number], key
    desk.keyboard.press("x")
    expect(
        desk.locator("tr").filter(has=desk.locator(f"a[href='{rows[1]}']")).locator(".action-select")
    ).to_be_checked()
    desk.keyboard.press("/")
    desk.keyboard.type("jx?")
    expect(desk.locator("#searchbar")).to_have_value("jx?")
    desk.locator("#searchbar").fill("")
    desk.locator("a.kw-what").nth(1).focus()
    desk.keyboard.press("Enter")
    desk.wait_for_url(f"**{rows[1]}")

    desk.keyboard.press("?")
    keys = desk.get_by_role("dialog", name="Keys on this page")
    expect(keys.get_by_text("Retry now")).to_be_visible()
    keys.get_by_label("Single keys work").uncheck()
    desk.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    desk.keyboard.press("e")
    desk.keyboard.press("?")
    expect(keys).to_be_hidden()
    desk.get_by_role("button", name="Keys").press("Enter")
    keys.get_by_label("Single keys work").check()
    keys.get_by_role("button", name="Close").click()
    desk.keyboard.press("e")
    desk.wait_for_url("**/resolve/**")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_menus_open_by_key_and_lead_back(desk: Page, width: int) -> None:
    desk.set_viewport_size({"width": width, "height": 860})
    desk.goto(INBOX)
    if width == 390:
        menu = desk.get_by_role("button", name="Menu", exact=True).last
        menu.press("Enter")
        expect(desk.locator("#nav-sidebar").get_by_role("link", name="Front page")).to_be_visible()
        assert desk.evaluate("document.querySelector('#nav-sidebar').contains(document.activeElement)")
    account = desk.locator("[role=button]").filter(has_text="root@keepwell.example")
    account.press("Enter")
    out = desk.get_by_role("button", name="Log out")
    expect(out).to_be_visible()
    expect(account).to_have_attribute("aria-expanded", "true")
    desk.wait_for_function("document.querySelector('nav:has(> div > #logout-form)').contains(document.activeElement)")
    desk.keyboard.press("Escape")
    expect(out).to_be_hidden()
    expect(account).to_be_focused()
    if width == 1280:
        desk.get_by_role("button", name="Filters").press("Enter")
        desk.wait_for_function("document.querySelector('#changelist-filter').contains(document.activeElement)")
        desk.keyboard.press("Escape")
        expect(desk.get_by_role("button", name="Filters")).to_be_focused()
