"""The page is the database: it takes over what is written elsewhere, and takes nothing from whoever is typing."""

import psycopg
import pytest
from playwright.sync_api import BrowserContext, Route, expect

from tests.browser.waiting import Ledger, edited, ready, sign_in, state
from tests.processes import Copy

pytestmark = pytest.mark.slow


def test_ten_tabs_work_and_show_what_one_of_them_saved(window: BrowserContext, keepwell: Copy) -> None:
    tabs, ledger = [window.new_page() for _ in range(10)], Ledger(keepwell, "ben")
    sign_in(tabs[0], "ben")
    for tab in tabs[1:]:
        tab.goto("/me/")
        ready(tab)
    edited(tabs[0], "Seen in ten tabs.")
    for tab in tabs:
        expect(tab.get_by_label("About you")).to_have_value("Seen in ten tabs.")
    edited(tabs[9], "And from the tenth.")
    state(tabs[9], "saved")
    expect(tabs[0].get_by_label("About you")).to_have_value("And from the tenth.")
    assert ledger.bios() == ["Seen in ten tabs.", "And from the tenth."]
    # Whichever tab held the stream, another takes over, and a write that knows nothing of browsers is seen.
    tabs.pop(0).close()
    typing = tabs[1].get_by_label("Name", exact=True)
    typing.fill("Being typed")
    ledger.write("UPDATE therapist_enrollments SET bio = 'By SQL.' WHERE user_id = %s", ledger.person_id)
    for tab in tabs[:3]:
        tab.bring_to_front()
        expect(tab.get_by_label("About you")).to_have_value("By SQL.")
    expect(typing).to_have_value("Being typed")


def test_what_is_selected_stays_so_when_the_page_is_read_anew(window: BrowserContext, keepwell: Copy) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    for bio, years in (("By SQL.", "3"), ("By SQL.", "4"), ("By SQL again.", "5")):
        sign_in(page, "ben")
        page.get_by_label("About you").select_text()
        ledger.write(
            "UPDATE therapist_enrollments SET bio = %s, experience_years = %s WHERE user_id = %s", bio, years, ledger.person_id
        )  # fmt: skip
        expect(page.get_by_label("Years of experience")).to_have_value(years)
        page.keyboard.type("Typed over it.")
        expect(page.get_by_label("About you")).to_have_value("Typed over it.")


def test_what_somebody_else_changed_meanwhile_is_shown_and_not_overwritten(
    window: BrowserContext, keepwell: Copy
) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    sign_in(page, "ben")
    with psycopg.connect(keepwell.database_url) as other:
        other.execute(
            "UPDATE therapist_enrollments SET phone = '+44 1' WHERE user_id = (SELECT id FROM users WHERE email = %s)",
            [ledger.person],
        )
    window.set_offline(True)
    edited(page, "Mine, and no conflict.")
    page.get_by_label("Telephone").fill("+44 2")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("sync-queue[person]")).to_have_text("2 changes wait")
    # The page is slow to be read anew: who saves again before that is not refused twice.
    held: list[Route] = []
    page.route(page.url, lambda route: held.append(route))
    window.set_offline(False)
    expect(state(page, "refused")).to_contain_text("somebody changed this")
    expect(page.locator(".theirs")).to_have_text("Stored now: +44 1")
    assert ledger.bios() == ["Mine, and no conflict."]
    page.get_by_role("button", name="Save").click()
    state(page, "loading")
    for route in held:
        route.continue_()
    page.unroute(page.url)
    state(page, "saved")
    assert ledger.rows("SELECT phone FROM therapist_enrollments e JOIN users u ON u.id = user_id WHERE u.email = %s", ledger.person) == [("+44 2",)]  # fmt: skip
