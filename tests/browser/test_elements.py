"""The closed loop in a browser: what is pressed is done once, in order, for its owner alone, and told as it is."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Error, Page, Route, expect

from tests.browser.conftest import QUIET, chromium
from tests.browser.waiting import (
    AGE,
    API,
    SAVE,
    STORED,
    Ledger,
    answers_lost,
    cut,
    edited,
    joined,
    ready,
    sign_in,
    state,
)
from tests.processes import Copy, until

pytestmark = pytest.mark.slow
NOTHING, ONE_WAITS = "", "1 change waits"


def badge(page: Page) -> str:
    return page.locator("sync-queue[person]").inner_text()


def killed(profile: Path) -> None:
    """End a browser as a power cut does."""
    lines = subprocess.run(["ps", "-ww", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    for line in lines.splitlines():
        if f"--user-data-dir={profile}" in line:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)


def test_five_edits_survive_the_tab_and_the_browser_and_are_done_once_each_in_order(
    keepwell: Copy, browser: Browser, tmp_path: Path
) -> None:
    ledger, profile = Ledger(keepwell, "ben"), tmp_path / "profile"
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []

    def launched() -> BrowserContext:
        return browser.browser_type.launch_persistent_context(
            profile, executable_path=chromium(), args=[*QUIET, *as_root], base_url=keepwell.url, reduced_motion="reduce"
        )

    first = launched()
    page = first.new_page()
    sign_in(page, "ben")
    # The session outlives the browser, as that of whoever stays signed in does.
    kept = first.cookies()
    first.set_offline(True)
    wanted = [f"Written on the train, {number} of 5." for number in range(1, 6)]
    for bio in wanted:
        edited(page, bio)
        state(page, "queued")
        expect(page.get_by_role("button", name="Save")).to_have_attribute("aria-busy", "false")
    expect(page.locator("sync-queue[person]")).to_have_text("5 changes wait")
    tab_two = first.new_page()
    with contextlib.suppress(Exception):
        tab_two.goto("chrome://crash", timeout=300)
    killed(profile)
    assert ledger.bios() == []

    again = launched()
    again.add_cookies([{"name": one["name"], "value": one["value"], "url": keepwell.url} for one in kept])
    cut(again)
    one, two = again.new_page(), again.new_page()
    for tab in (one, two):
        tab.goto("/me/")
        ready(tab)
        expect(tab.get_by_label("About you")).to_have_value(wanted[-1])
    joined(again)
    one.goto("/me/queue/")
    two.reload()
    until(lambda: ledger.bios()[-1:] == wanted[-1:], what="The fifth edit")
    expect(one.locator("sync-queue[person]")).to_have_text(NOTHING)
    assert ledger.bios() == wanted
    two.goto("/me/")
    expect(two.get_by_label("About you")).to_have_value(wanted[-1])
    again.close()
    assert ledger.bios() == wanted


def test_what_waits_is_sealed_at_sign_out_and_sent_for_nobody_else(window: BrowserContext, keepwell: Copy) -> None:
    bens, adas = Ledger(keepwell, "ben"), Ledger(keepwell, "ada")
    page, beside = window.new_page(), window.new_page()
    sign_in(page, "ben")
    beside.goto("/me/")
    ready(beside)
    cut(window)
    edited(page, "For nobody else to read.")
    state(page, "queued")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/me/sign-in/")
    # The other tab shows nothing of theirs any more.
    expect(beside.get_by_role("main")).to_contain_text("signed out")
    assert "For nobody" not in beside.content()
    sign_in(page, "ada")
    joined(window)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("sync-queue[person]")).to_have_text(NOTHING)
    edited(page, "Ada's own.")
    state(page, "saved")
    page.goto("/me/queue/")
    expect(page.get_by_text("Nothing waits.")).to_be_visible()
    stored = page.evaluate(STORED)
    assert '"key"' in stored
    assert "For nobody" not in stored + page.content()
    assert (bens.bios(), adas.bios()) == ([], ["Ada's own."])
    window.clear_cookies()
    sign_in(page, "ben")
    until(lambda: bens.bios() == ["For nobody else to read."], what="What was sealed")


def test_a_page_of_somebody_else_sends_nothing_with_the_cookie_of_now(window: BrowserContext, keepwell: Copy) -> None:
    page = window.new_page()
    sign_in(page, "ben")
    adas = Ledger(keepwell, "ada")
    # Signed in elsewhere in this browser, by what tells no tab.
    words = {"email": "ada@keepwell.example", "password": "keepwell-in-development"}
    assert window.request.post("/api/v1/auth/session/", data=words).ok
    edited(page, "By Ben, with Ada's cookie.")
    expect(page.get_by_role("main")).to_contain_text("Somebody else signed in")
    assert (adas.bios(), "By Ben" in page.content()) == ([], False)


def test_an_answer_that_is_lost_after_the_commit_is_asked_for_by_key(window: BrowserContext, keepwell: Copy) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    sign_in(page, "ben")
    with answers_lost(page, "PATCH") as lost:
        edited(page, "Saved, and nobody heard.")
        expect(state(page, "saved")).to_contain_text("Saved.")
    assert (lost, ledger.bios(), badge(page)) == ([200], ["Saved, and nobody heard."], NOTHING)
    keys: list[str | None] = []
    page.on("request", lambda one: keys.append(one.headers.get("idempotency-key")) if one.method == "PATCH" else None)
    with answers_lost(page, "PATCH", is_cut=True) as lost:
        edited(page, "Saved, and nobody can ask.")
        expect(state(page, "queued")).to_contain_text("No answer came")
    page.evaluate("dispatchEvent(new Event('online'))")
    state(page, "saved")
    assert (lost, ledger.bios()[1:], badge(page)) == ([200], ["Saved, and nobody can ask."], NOTHING)
    # Of the same text another key has no effect to be counted; of another's text in between it would have one.
    assert len(keys) > 1
    assert len(set(keys)) == 1
    assert keys[0]


def test_a_server_that_dies_in_the_middle_does_it_once(window: BrowserContext, keepwell: Copy) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    sign_in(page, "ben")
    died = keepwell.pid("web")
    assert died
    with psycopg.connect(keepwell.database_url) as held:
        held.execute(
            "SELECT FROM therapist_enrollments WHERE user_id = (SELECT id FROM users WHERE email = %s) FOR UPDATE",
            [ledger.person],
        )
        edited(page, "Sent into a death.")
        asking = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        until(lambda: ledger.rows(asking)[0][0] > 0, what="The request at the lock")
        os.kill(died, signal.SIGKILL)
        expect(page.get_by_role("button", name="Save")).to_have_attribute("aria-busy", "false")
        assert "Saved." not in page.locator(f"{SAVE} .sync-said").inner_text()
    until(lambda: ledger.bios() == ["Sent into a death."], seconds=30, what="The edit")
    state(page, "saved")
    assert (ledger.bios(), badge(page)) == (["Sent into a death."], NOTHING)


def test_five_clicks_are_one_press(window: BrowserContext, keepwell: Copy) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    sign_in(page, "ben")
    page.get_by_label("About you").fill("Pressed five times.")
    page.get_by_role("button", name="Save").evaluate("(one) => { for (let n = 0; n < 5; n += 1) one.click(); }")
    state(page, "saved")
    assert ledger.bios() == ["Pressed five times."]
    page.get_by_label("About you").fill("Pressed with Enter beside it.")
    page.get_by_label("Telephone").press("Enter")
    state(page, "saved")
    expect(page.get_by_label("About you")).to_have_value("Pressed with Enter beside it.")
    until(lambda: len(ledger.bios()) == 2, what="The second edit")


def test_no_spinner_outlives_ten_seconds(window: BrowserContext, keepwell: Copy) -> None:
    page, hanging = window.new_page(), list[Route]()
    page.clock.install()
    sign_in(page, "ben")
    page.route(API, lambda route: hanging.append(route))
    edited(page, "Into the silence.")
    expect(page.get_by_role("button", name="Save")).to_have_attribute("aria-busy", "true")
    page.clock.fast_forward(10_000)
    expect(page.get_by_role("button", name="Save")).to_have_attribute("aria-busy", "false")
    assert "Saved." not in page.locator(f"{SAVE} .sync-said").inner_text()
    page.unroute(API)
    for route in hanging:
        # The page may have given up already.
        with contextlib.suppress(Error):
            route.abort()
    for _ in range(50):
        page.clock.fast_forward(5_000)
        page.wait_for_timeout(100)
        if page.locator(SAVE).get_attribute("data-state") in {"saved", "following"}:
            break
    state(page, "saved")
    expect(page.locator("sync-queue[person]")).to_have_text(NOTHING)


def test_a_refusal_gives_the_change_back_also_when_it_comes_later(window: BrowserContext) -> None:
    page = window.new_page()
    sign_in(page, "ben")
    page.get_by_label("Name", exact=True).fill("Benjamin Okonkwo")
    years = page.get_by_label("Years of experience")
    years.fill("200")
    page.get_by_role("button", name="Save").click()
    expect(state(page, "refused")).to_contain_text("Not saved.")
    expect(years).to_be_focused()
    expect(years).to_have_attribute("aria-invalid", "true")
    # What was hoped for is taken back; what was typed stays.
    expect(page.locator("#name-now")).to_have_text("Ben Okonkwo")
    expect(page.get_by_label("Name", exact=True)).to_have_value("Benjamin Okonkwo")
    cut(page)
    page.get_by_role("button", name="Save").click()
    state(page, "queued")
    expect(page.locator("#name-now")).to_have_text("Benjamin Okonkwo")
    joined(page)
    page.goto("/me/queue/")
    page.get_by_role("button", name="Retry all").click()
    expect(page.locator("sync-queue[person]")).to_have_text("1 change was not saved")
    expect(page.get_by_text("Not accepted")).to_be_visible()
    # In the words of the page: the server's own name of the field is nobody's business.
    expect(page.locator("sync-queue .told")).to_have_text("Years are 80 at most. Nothing was changed.")
    page.goto("/me/")
    expect(years).to_have_value("200")
    expect(years).to_have_attribute("aria-invalid", "true")
    years.fill("20")
    page.get_by_role("button", name="Save").click()
    state(page, "saved")
    expect(page.locator("sync-queue[person]")).to_have_text(NOTHING)
    page.get_by_label("Name", exact=True).fill("Ben Okonkwo")
    # Answered, and not only hoped for: what is under way would be counted by whoever comes next.
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        page.get_by_role("button", name="Save").click()
    expect(page.locator("#name-now")).to_have_text("Ben Okonkwo")


def test_what_must_be_exact_never_waits_and_is_done_once_though_its_answer_is_lost(
    window: BrowserContext, keepwell: Copy
) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    with psycopg.connect(keepwell.database_url) as kim:
        kim.execute(
            "INSERT INTO bookings (client_id, therapist_id, during, time_zone, state) SELECT c.id, t.id,"
            " tstzrange(now() + interval '40 days', now() + interval '40 days 1 hour'), 'UTC', 'requested'"
            " FROM users c, users t WHERE c.email = 'kim@keepwell.example' AND t.email = %s", [ledger.person],
        )  # fmt: skip
    sign_in(page, "ben")
    page.goto("/me/bookings/")
    confirm = "sync-button[endpoint$='/confirm/']"
    window.set_offline(True)
    page.get_by_role("button", name="Confirm Kim").click()
    expect(state(page, "refused", of=confirm)).to_contain_text("never kept for later")
    expect(page.locator(".booking .mark").first).to_have_text("Requested")
    expect(page.locator("sync-queue[person]")).to_have_text(NOTHING)
    window.set_offline(False)
    cut(page)
    page.get_by_role("button", name="Confirm Kim").click()
    expect(state(page, "unknown", of=confirm)).to_contain_text("done only once")
    joined(page)
    with answers_lost(page, "POST") as lost:
        page.get_by_role("button", name="Confirm Kim").click()
        expect(page.get_by_role("status").first).to_contain_text("Confirmed.")
    routes = [route for _, route, _ in ledger.requests()]
    assert (lost, routes) == ([200], ["/api/v1/bookings/<int:pk>/confirm/"])
    page.get_by_role("button", name="Cancel Kim").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel Kim")).to_be_focused()
    page.get_by_role("button", name="Cancel Kim").click()
    page.get_by_role("button", name="Yes, cancel it").click()
    expect(page.get_by_role("status").first).to_contain_text("Cancelled.")
    assert len(ledger.requests()) == 2


def test_the_queue_tells_what_waits_and_lets_go_of_it(window: BrowserContext, keepwell: Copy) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    sign_in(page, "ben")
    cut(page)
    edited(page, "Too old one day.")
    state(page, "queued")
    page.evaluate(AGE, 2 * 3_600_000)
    page.goto("/me/queue/")
    expect(page.get_by_text("Stuck")).to_be_visible()
    page.set_viewport_size({"width": 320, "height": 860})
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") == 0
    page.evaluate(AXE_SCRIPT)
    assert (
        page.evaluate("axe.run().then(({ violations }) => violations.map((one) => [one.id, one.nodes[0].html]))") == []
    )
    page.get_by_text("What you typed").click()
    expect(page.get_by_text("Too old one day.")).to_be_visible()
    page.evaluate(AGE, 8 * 86_400_000)
    joined(page)
    page.reload()
    expect(page.get_by_text("Too old", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Retry all")).to_be_hidden()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("Nothing waits.")).to_be_visible()
    assert ledger.bios() == []


def test_where_nothing_can_be_kept_it_is_said_and_saved_at_once(window: BrowserContext, keepwell: Copy) -> None:
    page, ledger = window.new_page(), Ledger(keepwell, "ben")
    page.add_init_script(
        "Object.defineProperty(IDBFactory.prototype, 'open', { value() { throw new DOMException('no', 'SecurityError'); } });"
    )
    sign_in(page, "ben")
    edited(page, "Kept nowhere else.")
    state(page, "saved")
    assert ledger.bios() == ["Kept nowhere else."]
    page.goto("/me/queue/")
    expect(page.get_by_text("This browser lets us keep nothing")).to_be_visible()
