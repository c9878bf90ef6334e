"""The therapist's pages in a browser: with and without script, wide and narrow, by both lights."""

import json
from typing import Any

import psycopg
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import watched
from tests.integration.test_api_avatar import picture
from tests.processes import Copy

PASSWORD = "keepwell-in-development"
DOORS = ("/me/sign-in/", "/me/password/")
PAGES = ("/me/", "/me/data/", "/me/bookings/", "/me/credits/", "/me/account/", "/me/account/leave/", "/me/queue/")
NARROWEST, NARROW, WIDE = 320, 390, 1280
# What depends on colours; everything else is as it is by daylight.
COLOURS = ("color-contrast", "link-in-text-block")


def signed_in(page: Page, person: str) -> None:
    page.goto("/me/sign-in/")
    page.get_by_label("E-mail").fill(f"{person}@keepwell.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/me/")


def faults(page: Page) -> list[Any]:
    """List what hangs over, and what axe finds: everything wide by day, and what depends on colours narrow by night."""
    found: list[Any] = []
    page.evaluate(AXE_SCRIPT)
    for width, scheme, rules in ((NARROWEST, "light", None), (NARROW, "dark", COLOURS), (WIDE, "light", ())):
        page.set_viewport_size({"width": width, "height": 860})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        if over := page.evaluate("document.documentElement.scrollWidth - window.innerWidth"):
            found.append((page.url, width, f"hangs over by {over} px"))
        if rules is not None:
            chosen = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
            asked = json.dumps({"resultTypes": ["violations"], **chosen})
            said = page.evaluate(f"axe.run({asked}).then(({{ violations }}) => violations)")
            found += [(page.url, width, scheme, v["id"], v["nodes"][0]["html"][:120]) for v in said]
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_pages_keep_nobody_out(page: Page) -> None:
    troubles: list[Any] = []
    for address in (*DOORS, *PAGES):
        if address == PAGES[0]:
            signed_in(page, "ben")
        page.goto(address)
        troubles += faults(page)
    page.goto("/me/")
    page.get_by_label("Years of experience").fill("200")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Years of experience")).to_be_focused()
    troubles += faults(page)
    assert not troubles, "\n".join(map(str, troubles))


@pytest.mark.slow
def test_a_profile_is_edited_without_script(browser: Browser, keepwell: Copy) -> None:
    with watched(browser, keepwell, has_script=False) as window:
        page = window.new_page()
        signed_in(page, "ben")
        page.get_by_label("About you").fill("Written without any script.\n\nIn two parts.")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_contain_text("Saved.")
        expect(page.get_by_label("About you")).to_have_value("Written without any script.\n\nIn two parts.")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("status")).to_contain_text("You are signed out.")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pages_that_say_what_went_wrong_keep_nobody_out(browser: Browser, keepwell: Copy) -> None:
    troubles: list[Any] = []
    ben = "user_id = (SELECT id FROM users WHERE email = 'ben@keepwell.example')"
    with watched(browser, keepwell, has_script=False) as window, psycopg.connect(keepwell.database_url) as other:
        page = window.new_page()
        signed_in(page, "ben")
        other.execute(f"UPDATE therapist_enrollments SET phone = '+44 7' WHERE {ben}")
        other.commit()
        page.get_by_label("Telephone").fill("+44 8")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("Not saved yet: somebody changed this")
        expect(page.locator("#phone-theirs")).to_contain_text("+44 7")
        conflict = page.content()
        other.execute(f"SELECT FROM therapist_enrollments WHERE {ben} FOR UPDATE")
        page.get_by_label("About you").fill("Kept on the page.")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("cannot reach its database")
        away = page.content()
        other.rollback()
        page.get_by_role("button", name="Send it again").click()
        expect(page.get_by_role("status")).to_contain_text("Saved.")
        expect(page.get_by_label("About you")).to_have_value("Kept on the page.")
    with watched(browser, keepwell) as window:
        page = window.new_page()
        page.goto("/me/password/")
        page.get_by_label("E-mail").fill("ada@keepwell.example")
        page.get_by_role("button", name="Mail me a code").click()
        expect(page.get_by_label("Code from the letter")).to_be_focused()
        troubles += faults(page)
        for words in (conflict, away):
            page.goto("/me/sign-in/")
            page.evaluate(
                "(words) => document.documentElement.replaceWith(new DOMParser().parseFromString(words, 'text/html').documentElement)",
                words,
            )
            troubles += faults(page)
    assert not troubles, "\n".join(map(str, troubles))


@pytest.mark.slow
def test_a_picture_is_shown_before_it_is_sent_and_refused_in_place(page: Page) -> None:
    signed_in(page, "ben")
    file = page.get_by_label("New picture")
    file.set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.get_by_role("button", name="Use this picture").click()
    expect(file).to_be_focused()
    expect(file).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#image-refused")).to_contain_text("image")
    file.set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": picture()})
    expect(page.get_by_alt_text("Your new picture, not saved yet")).to_be_visible()
    page.get_by_role("button", name="Use this picture").click()
    expect(page.locator("sync-button[file] .sync-said")).to_contain_text("Saved.")
    expect(page.get_by_alt_text("Your picture as it is now")).to_be_visible()
