"""Who sees to what, in a real browser: by keyboard alone, and told of what is new without losing one's place."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in

PASSWORD = "keepwell-in-development"
INBOX = "/admin/interventions/intervention/"


@pytest.fixture
def desk(page: Page) -> Page:
    """The inbox, with what the demo leaves in it: what a drill before this broke has its own cause again."""
    sign_in(page, "root@keepwell.example", PASSWORD)
    page.wait_for_url("**/admin/")
    for _ in range(30):
        page.goto(INBOX)
        if page.locator("a.kw-what").count() and not page.get_by_text("keepwell_drill").count():
            break
        page.wait_for_timeout(1000)
    return page


def press(page: Page, name: str) -> None:
    """Press a button as somebody without a mouse does; access keys are the browser's own, and Playwright has none."""
    button = page.get_by_role("button", name=name, exact=True)
    expect(button).to_have_attribute("accesskey", "z" if name == "Bring back now" else "a")
    button.focus()
    page.keyboard.press("Enter")


def test_an_item_is_assigned_snoozed_and_brought_back_by_keyboard_alone(desk: Page) -> None:
    desk.locator("a.kw-what").first.focus()
    desk.keyboard.press("Enter")
    press(desk, "Assign to me")
    expect(desk.get_by_text("You see to this now.")).to_be_visible()
    desk.locator("summary").filter(has_text="Snooze…").focus()
    desk.keyboard.press("Enter")
    expect(desk.locator("#kw-snooze-for")).to_be_visible()
    desk.keyboard.press("Tab")
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    expect(desk.get_by_text("Snoozed: it comes back by itself.")).to_be_visible()
    press(desk, "Bring back now")
    expect(desk.get_by_text("It is back in the inbox.")).to_be_visible()
    press(desk, "Hand back")
    expect(desk.get_by_text("Handed back: nobody sees to it now.")).to_be_visible()


def test_a_cause_is_taken_on_from_its_card_and_handed_back_on_its_page(desk: Page) -> None:
    desk.get_by_role("button", name="Acknowledge").first.click()
    expect(desk.get_by_text("Yours").first).to_be_visible()
    desk.get_by_role("article").filter(has_text="Yours").get_by_role("link", name="More").click()
    expect(desk.get_by_text("You see to it since")).to_be_visible()
    desk.get_by_role("button", name="Hand back").click()
    expect(desk.get_by_role("button", name="Acknowledge")).to_be_visible()


def test_the_inbox_says_how_many_are_new_and_stays_where_it_is(desk: Page) -> None:
    other = desk.context.new_page()
    other.goto("/admin/drill/")
    card = other.locator(".kw-card").filter(has_text="The profile table refuses what is written")
    card.get_by_role("button", name="Break").click()
    expect(card.get_by_role("button", name="Mend")).to_be_visible()
    desk.bring_to_front()
    desk.goto(INBOX)
    listed = desk.locator("a.kw-what").count()
    chosen = desk.locator(".action-select").first
    chosen.check()
    value = chosen.get_attribute("value")
    other.goto("/admin/therapists/enrollment/")
    other.get_by_role("link", name="Ada Lindqvist").click()
    other.get_by_label("Bio").fill("I have moved, and see people near the sea now.")
    other.get_by_role("button", name="Save", exact=True).click()
    said = desk.get_by_role("status").filter(has_text="new intervention")
    expect(said).to_be_visible(timeout=40_000)
    assert desk.locator("a.kw-what").count() == listed
    said.get_by_role("link", name="Show them").click()
    expect(desk.get_by_role("row").filter(has_text="Ada Lindqvist")).to_be_visible()
    expect(desk.locator(f".action-select[value='{value}']")).to_be_checked()
    other.goto("/admin/drill/")
    card.get_by_role("button", name="Mend").click()
    expect(card.get_by_role("button", name="Break")).to_be_visible()
