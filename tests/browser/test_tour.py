"""The README's five minutes, word for word, in a real browser over real processes."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in

README = Path(__file__).resolve().parents[2] / "README.md"
PASSWORD = "keepwell-in-development"


def steps() -> list[str]:
    """Give the tour's steps as one line each, without Markdown's marks."""
    tour = README.read_text().split("## Five minutes")[1].split("\n## ")[0]
    return [re.sub(r"[*`]", "", " ".join(step.split())) for step in re.split(r"\n\d\. ", tour)[1:]]


def choose(page: Page, entry: str) -> None:
    page.locator("#nav-sidebar a").filter(has_text=entry).first.click()


def follow(step: str, words: list[str]) -> None:
    """Check that the README still says these words, so that what is clicked is what is written."""
    missing = [word for word in words if word not in step]
    assert missing == [], f"The README's step no longer says {missing}: {step}"


def test_the_readmes_tour_works_word_for_word(page: Page) -> None:
    sign, broken, edit, see, retry, resolve, mend = steps()

    follow(sign, ["root@keepwell.example"])
    sign_in(page, "root@keepwell.example", PASSWORD)

    follow(broken, ["Drill", "Break", "The profile table refuses what is written"])
    choose(page, "Drill")
    card = page.locator(".kw-card").filter(has_text="The profile table refuses what is written")
    card.get_by_role("button", name="Break").click()
    expect(card.get_by_role("button", name="Mend")).to_be_visible()

    follow(edit, ["Enrollments", "Ada Lindqvist", "Save", "Two of three places are up to date"])
    choose(page, "Enrollments")
    page.get_by_role("link", name="Ada Lindqvist").click()
    page.get_by_label("Bio").fill("I have moved, and see people near the river now.")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Two of three places are up to date")).to_be_visible()

    follow(see, ["Interventions", "What each place says now", "differs"])
    choose(page, "Interventions")
    row = page.locator("#result_list tr, tbody tr").filter(has_text="Ada Lindqvist")
    row.locator("a.kw-what").click()
    expect(page.get_by_role("heading", name="What each place says now")).to_be_visible()
    expect(page.locator("td.kw-differs")).to_contain_text("differs")
    item = page.url

    follow(retry, ["Retry now", "Retry failed: needs a person again."])
    page.get_by_role("button", name="Retry now").click()
    expect(page.locator(".kw-timeline")).to_contain_text("Retry failed: needs a person again", timeout=30_000)

    follow(resolve, ["Mark resolved…", "Mark resolved", "The two sides still differ."])
    page.get_by_role("link", name="Mark resolved…").click()
    page.get_by_role("button", name="Mark resolved").click()
    expect(page.get_by_text("The two sides still differ.").first).to_be_visible()

    follow(mend, ["Drill", "Mend", "Resolved by itself: both sides are equal."])
    choose(page, "Drill")
    card.get_by_role("button", name="Mend").click()
    expect(card.get_by_role("button", name="Break")).to_be_visible()
    page.goto(item)
    for _ in range(30):
        if page.locator(".kw-timeline").get_by_text("Resolved by itself: both sides are equal").count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    expect(page.locator(".kw-timeline")).to_contain_text("Resolved by itself: both sides are equal")
