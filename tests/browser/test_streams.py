"""What is new is seen without loading a page again: in every tab, by staff, and after whatever broke the stream off."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import sign_in
from tests.browser.waiting import SAVE, edited, state
from tests.browser.waiting import sign_in as sign_in_therapist
from tests.processes import Copy, until

PASSWORD = "keepwell-in-development"
TAKEN_OVER_SECONDS = 3
HEARD = """
window.heard = [];
document.addEventListener("keepwell:event", ({ detail }) => window.heard.push({ ...detail, at: Date.now() }));
"""
# Copies and services follow, and each of them is told of, too.
NOTHING_MORE = "() => Date.now() - Math.max(...window.heard.map((one) => one.at)) > 5000"


@pytest.fixture
def desk(browser: Browser, keepwell: Copy) -> Iterator[BrowserContext]:
    """A browser in which somebody of the staff is signed in, and whose pages remember what they heard."""
    context = browser.new_context(base_url=keepwell.url)
    context.add_init_script(HEARD)
    page = context.new_page()
    sign_in(page, "root@keepwell.example", PASSWORD)
    page.wait_for_url("**/admin/")
    page.close()
    yield context
    context.close()


def opened(desk: BrowserContext, address: str = "/admin/") -> Page:
    page = desk.new_page()
    page.goto(address)
    live(page)
    return page


def live(page: Page, *, seconds: float = 10) -> None:
    expect(page.locator("html[data-stream=live]")).to_have_count(1, timeout=seconds * 1000)


def heard(page: Page, topic: str) -> list[Any]:
    found: list[Any] = page.evaluate("topic => window.heard.filter((one) => one.topic === topic)", topic)
    return found


def write(keepwell: Copy, statement: str) -> None:
    with psycopg.connect(keepwell.database_url.replace("postgres://", "postgresql://"), autocommit=True) as session:
        session.execute(statement)


def found(keepwell: Copy, statement: str) -> list[Any]:
    with psycopg.connect(keepwell.database_url, autocommit=True) as session:
        return session.execute(statement).fetchall()


BEN = "SELECT id, bio FROM therapist_enrollments WHERE email LIKE 'ben@%'"
HOLD = "SELECT FROM therapist_profiles p JOIN users u ON u.id = p.user_id WHERE u.email LIKE 'ben@%' FOR UPDATE OF p"


def is_written(keepwell: Copy, statement: str) -> bool:
    try:
        write(keepwell, statement)
    except psycopg.OperationalError:
        return False
    return True


SWITCH = (
    "from django.utils import timezone; from sync import switches; from sync.pauses import Scope;"
    " switches.{}(scope=Scope.TARGET, key='therapist_profiles', by='user:1', at=timezone.now(){})"
)
EDIT = "UPDATE therapist_enrollments SET bio = bio || '.' WHERE email LIKE 'ben@%'"


def test_every_tab_hears_once_and_another_takes_over_where_the_one_with_the_stream_is_closed(
    desk: BrowserContext, keepwell: Copy
) -> None:
    tabs = [opened(desk) for _ in range(10)]
    write(keepwell, EDIT)
    for tab in tabs:
        until(lambda tab=tab: len(heard(tab, "profile.updated")) == 1, what="The event in each tab")  # type: ignore[misc]
    tabs[0].close()
    closed = time.time()
    write(keepwell, EDIT)
    for tab in tabs[1:]:
        until(lambda tab=tab: len(heard(tab, "profile.updated")) == 2, what="The next one")  # type: ignore[misc]
    assert max(heard(tab, "profile.updated")[1]["at"] / 1000 for tab in tabs[1:]) - closed <= TAKEN_OVER_SECONDS
    for tab in tabs[1:]:
        assert len(heard(tab, "profile.updated")) == 2, "nothing twice"


def test_a_page_follows_the_database_over_a_killed_process(desk: BrowserContext, keepwell: Copy) -> None:
    page = opened(desk)
    pid = keepwell.pid("events")
    assert pid
    os.kill(pid, signal.SIGKILL)
    expect(page.locator("html[data-stream=away]")).to_have_count(1)
    write(
        keepwell,
        "INSERT INTO intervention_history (actor, action, object_type, object_id) VALUES ('system', 'seen', 'target', 'users')",
    )
    live(page, seconds=20)
    # What it missed is told, and everything is read again.
    until(lambda: bool(heard(page, "target.updated")), what="What was missed")
    assert len(heard(page, "resync")) >= 2


def test_a_page_follows_the_database_over_a_killed_postgresql(desk: BrowserContext, keepwell: Copy) -> None:
    number, bio = found(keepwell, BEN)[0]
    page = opened(desk, f"/admin/therapists/enrollment/{number}/change/")
    pid = keepwell.pid("postgres")
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(
        lambda: keepwell.pid("postgres") not in {None, pid} and is_written(keepwell, EDIT), seconds=60, what="A write"
    )
    expect(page.get_by_label("Bio")).to_have_value(f"{bio}.", timeout=30_000)


@pytest.mark.parametrize("whose", ["staff", "theirs"])
def test_what_could_not_be_read_when_it_was_told_is_read_later(
    whose: str, desk: BrowserContext, browser: Browser, keepwell: Copy
) -> None:
    number, bio = found(keepwell, BEN)[0]
    with nullcontext(desk) if whose == "staff" else browser.new_context(base_url=keepwell.url) as context:
        if whose == "staff":
            page = opened(context, f"/admin/therapists/enrollment/{number}/change/")
        else:
            context.add_init_script(HEARD)
            page = context.new_page()
            sign_in_therapist(page, "ben")
            live(page)
        page.route(page.url, lambda route: route.fulfill(status=503, body=""))
        with page.expect_response(lambda answer: answer.status == 503):
            write(keepwell, EDIT)
        page.wait_for_function(NOTHING_MORE)
        page.unroute(page.url)
        expect(page.locator("[name=bio]")).to_have_value(f"{bio}.", timeout=10_000)


def test_the_front_page_shows_by_itself_what_a_colleague_switched_off(desk: BrowserContext, keepwell: Copy) -> None:
    page = opened(desk)
    reason = page.get_by_text("Switched off while somebody looks.")
    expect(reason).to_have_count(0)
    keepwell.manage("shell", "-c", SWITCH.format("pause", ", note='Switched off while somebody looks.'"))
    expect(reason.first).to_be_visible(timeout=15_000)
    keepwell.manage("shell", "-c", SWITCH.format("resume", ""))
    expect(reason).to_have_count(0, timeout=15_000)


def test_staff_see_a_therapists_edit_on_their_page_and_keep_what_they_type(
    desk: BrowserContext, keepwell: Copy
) -> None:
    number, bio = found(keepwell, BEN)[0]
    page = opened(desk, f"/admin/therapists/enrollment/{number}/change/")
    page.get_by_label("Phone").fill("+44 typed by staff")
    write(keepwell, EDIT)
    expect(page.get_by_label("Bio")).to_have_value(f"{bio}.")
    expect(page.get_by_role("row", name="bio").first).to_contain_text("now")
    expect(page.get_by_label("Phone")).to_have_value("+44 typed by staff")
    # What they have not touched is not written back.
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/admin/therapists/enrollment/")
    assert found(keepwell, f"SELECT bio, phone FROM therapist_enrollments WHERE id = {number}") == [
        (f"{bio}.", "+44 typed by staff")
    ]


def test_what_follows_is_told_as_saved_when_it_has_followed(browser: Browser, keepwell: Copy) -> None:
    context = browser.new_context(base_url=keepwell.url)
    page = context.new_page()
    sign_in_therapist(page, "ben")
    live(page)
    with psycopg.connect(keepwell.database_url) as holder:
        holder.execute(HOLD)
        edited(page, f"Followed at {time.time()}.")
        state(page, "following")
        expect(page.locator("#stands-now")).to_contain_text("Following")
    expect(page.locator(SAVE)).to_have_attribute("data-state", "saved", timeout=20_000)
    expect(page.locator("#stands-now")).to_contain_text("Up to date")
    context.close()
