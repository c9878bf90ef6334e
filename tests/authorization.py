"""
The one table of who may do what: each endpoint of the API and each action of the desk, for everybody there is.

The tests of permissions are made from it, and so is docs/authorization.md: `python -m tests.authorization` writes that anew.
"""

import datetime as dt
import uuid
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[1] / "docs" / "authorization.md"
# The therapist is whom it is about; the other therapist and the client are somebody else.
WHO = ("anonymous", "other therapist", "therapist", "client", "read-only", "operator", "lead", "superuser")
ITEM = "/api/v1/interventions/{item}/"
TOMORROW = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
AN_HOUR = {"starts_at": TOMORROW, "ends_at": (dt.datetime.now(dt.UTC) + dt.timedelta(hours=25)).isoformat()}
# Method and address, what is sent, and the status for each of WHO.
API: list[tuple[str, str, object, tuple[int, ...]]] = [
    ("GET", "/api/v1/therapists/me/", None, (401, 200, 200, 404, 404, 404, 404, 404)),
    ("PATCH", "/api/v1/therapists/me/", {"bio": "mine"}, (401, 200, 200, 404, 404, 404, 404, 404)),
    ("DELETE", "/api/v1/therapists/me/", {"password": "not this"}, (401, 403, 403, 403, 409, 409, 409, 409)),
    ("GET", "/api/v1/therapists/me/export/", None, (401, 200, 200, 200, 200, 200, 200, 200)),
    ("GET", "/api/v1/therapists/me/sync/", None, (401, 200, 200, 404, 404, 404, 404, 404)),
    ("POST", "/api/v1/therapists/me/sync/", {}, (401, 200, 200, 404, 404, 404, 404, 404)),
    ("POST", "/api/v1/therapists/me/bio-suggestion/", {}, (401, 200, 200, 404, 404, 404, 404, 404)),
    ("DELETE", "/api/v1/therapists/me/avatar/", None, (401, 200, 200, 404, 404, 404, 404, 404)),
    ("GET", "/api/v1/enrollments/", None, (401, 403, 403, 403, 200, 200, 200, 200)),
    (
        "POST",
        "/api/v1/enrollments/{enrollment}/decision/",
        {"decision": "suspend"},
        (401, 403, 403, 403, 403, 403, 200, 200),
    ),
    ("POST", "/api/v1/enrollments/999999/decision/", {"decision": "suspend"}, (401, 403, 403, 403, 403, 403, 404, 404)),
    ("GET", "/api/v1/interventions/", None, (401, 403, 403, 403, 200, 200, 200, 200)),
    ("GET", ITEM, None, (401, 403, 403, 403, 200, 200, 200, 200)),
    ("GET", f"/api/v1/interventions/{uuid.UUID(int=1)}/", None, (401, 403, 403, 403, 404, 404, 404, 404)),
    ("POST", ITEM + "retry/", {}, (401, 403, 403, 403, 403, 200, 200, 200)),
    # Both sides are equal, so whoever may resolve needs no right to accept.
    ("POST", ITEM + "resolve/", {}, (401, 403, 403, 403, 403, 200, 200, 200)),
    ("GET", "/api/v1/causes/", None, (401, 403, 403, 403, 200, 200, 200, 200)),
    ("GET", "/api/v1/causes/{cause}/", None, (401, 403, 403, 403, 200, 200, 200, 200)),
    ("POST", "/api/v1/causes/{cause}/retry/", {}, (401, 403, 403, 403, 403, 202, 202, 202)),
    ("POST", "/api/v1/causes/{cause}/acknowledge/", {}, (401, 403, 403, 403, 403, 200, 200, 200)),
    # Nobody has taken it, or put it off.
    ("POST", "/api/v1/causes/{cause}/hand-back/", {}, (401, 403, 403, 403, 403, 409, 409, 409)),
    ("POST", "/api/v1/causes/{cause}/snooze/", {"until": TOMORROW}, (401, 403, 403, 403, 403, 200, 200, 200)),
    ("POST", "/api/v1/causes/{cause}/unsnooze/", {}, (401, 403, 403, 403, 403, 409, 409, 409)),
    (
        "POST",
        "/api/v1/causes/{cause}/ignore/",
        {"until": TOMORROW, "reason": "A known one."},
        (401, 403, 403, 403, 403, 403, 200, 200),
    ),
    ("POST", "/api/v1/causes/{cause}/unignore/", {}, (401, 403, 403, 403, 403, 403, 409, 409)),
    ("POST", "/api/v1/causes/{cause}/note/", {"note": "Ask them."}, (401, 403, 403, 403, 403, 200, 200, 200)),
    ("POST", ITEM + "assign/", {}, (401, 403, 403, 403, 403, 200, 200, 200)),
    ("POST", ITEM + "hand-back/", {}, (401, 403, 403, 403, 403, 409, 409, 409)),
    ("POST", ITEM + "snooze/", {"until": TOMORROW}, (401, 403, 403, 403, 403, 200, 200, 200)),
    ("POST", ITEM + "unsnooze/", {}, (401, 403, 403, 403, 403, 409, 409, 409)),
    # Leads to the streams process, which asks who it is once more; test_streams.py asks there.
    ("GET", "/api/v1/events/", None, (401, 307, 307, 307, 307, 307, 307, 307)),
    ("GET", "/api/v1/operations/{key}/", None, (401, 404, 200, 404, 404, 404, 404, 404)),
    ("POST", "/api/v1/runs/", {"target": "therapist_profiles"}, (401, 403, 403, 403, 403, 202, 202, 202)),
    ("GET", "/api/v1/runs/{run}/", None, (401, 403, 403, 403, 200, 200, 200, 200)),
    ("POST", "/api/v1/runs/{run}/pause/", {}, (401, 403, 403, 403, 403, 200, 200, 200)),
    # Nobody has paused it.
    ("POST", "/api/v1/runs/{run}/resume/", {}, (401, 403, 403, 403, 403, 409, 409, 409)),
    ("POST", "/api/v1/runs/{run}/cancel/", {}, (401, 403, 403, 403, 403, 200, 200, 200)),
    ("GET", "/api/v1/directory/", None, (200, 200, 200, 200, 200, 200, 200, 200)),
    ("GET", "/api/v1/directory/{ada}/", None, (200, 200, 200, 200, 200, 200, 200, 200)),
    (
        "POST",
        "/api/v1/applications/",
        {"email": "new@example.org", "full_name": "New"},
        (202, 202, 202, 202, 202, 202, 202, 202),
    ),
    ("GET", "/api/v1/bookings/", None, (401, 200, 200, 200, 200, 200, 200, 200)),
    # Whom a client may book is tested with the bookings: there is no such therapist.
    ("POST", "/api/v1/bookings/", {"therapist_id": 999_999} | AN_HOUR, (401, 403, 403, 409, 403, 403, 403, 403)),
    # It is another client's; the therapist is one of its two.
    ("POST", "/api/v1/bookings/{booking}/confirm/", {}, (401, 404, 200, 404, 404, 404, 404, 404)),
    # No service for text messages is set up.
    ("POST", "/api/v1/bookings/{booking}/reminder/", {}, (401, 404, 409, 404, 404, 404, 404, 404)),
    (
        "POST",
        "/api/v1/enrollments/{enrollment}/message/",
        {"about": "received"},
        (401, 403, 403, 403, 403, 403, 409, 409),
    ),
    ("POST", "/api/v1/bookings/{booking}/cancel/", {}, (401, 404, 200, 404, 404, 404, 404, 404)),
    ("GET", "/api/v1/credits/", None, (401, 200, 200, 200, 200, 200, 200, 200)),
    ("POST", "/api/v1/credits/", {"person_id": 999_999, "amount": 1}, (401, 403, 403, 403, 403, 403, 404, 404)),
    ("GET", "/api/v1/second-bests/", None, (401, 403, 403, 403, 200, 200, 200, 200)),
    ("POST", "/api/v1/second-bests/", {}, (401, 403, 403, 403, 403, 403, 200, 200)),
    ("GET", "/health/", None, (401, 403, 403, 403, 200, 200, 200, 200)),
    # The tests ask from this machine; test_metrics asks from others, and with the token.
    ("GET", "/metrics", None, (200, 200, 200, 200, 200, 200, 200, 200)),
    ("DELETE", "/api/v1/auth/session/", None, (401, 204, 204, 204, 204, 204, 204, 204)),
    ("DELETE", "/api/v1/auth/sessions/", None, (401, 204, 204, 204, 204, 204, 204, 204)),
]
# The pages of people's own: what is sent by POST (None: the page is looked at), and the status for each of WHO. 303 leads
# whoever is not signed in to where they do that, and whoever pressed something back to the page that says what came of it.
LED = (303, 303, 303, 303, 303, 303, 303, 303)
OPEN = (200, 200, 200, 200, 200, 200, 200, 200)
OWN = (303, 200, 200, 200, 200, 200, 200, 200)
THERAPISTS = (303, 303, 303, 404, 404, 404, 404, 404)
ME: list[tuple[str, dict[str, str] | None, tuple[int, ...]]] = [
    ("/", None, LED),
    *((f"/me/{page}", None, OWN)
      for page in ("", "data/", "queue/", "bookings/", "credits/", "account/", "account/leave/")),
    ("/me/", {"bio": "mine", "was_bio": "-"}, THERAPISTS),
    ("/me/picture/remove/", {}, THERAPISTS),
    # No file.
    ("/me/picture/", {}, (303, 400, 400, 404, 404, 404, 404, 404)),
    ("/me/data/", {}, THERAPISTS),
    ("/me/bookings/{booking}/confirm/", {"once": "{key}"}, (303, 404, 303, 404, 404, 404, 404, 404)),
    ("/me/bookings/{booking}/cancel/", {"once": "{key}"}, (303, 404, 303, 404, 404, 404, 404, 404)),
    # Not their password.
    ("/me/account/password/", {"password": "not this"}, (303, 400, 400, 400, 400, 400, 400, 400)),
    # Whoever works at the desk leaves that first.
    ("/me/account/leave/", {"password": "not this"}, (303, 400, 400, 400, 409, 409, 409, 409)),
    ("/me/account/zone/", {"zone": "Europe/Paris"}, LED),
    ("/me/account/sessions/", {"others": "yes"}, LED),
    ("/me/sign-out/", {}, LED),
    ("/me/sign-in/", None, (200, 303, 303, 303, 303, 303, 303, 303)),
    ("/me/sign-in/code/", None, LED),
    ("/me/sign-in/address/", None, LED),
    ("/me/password/", None, OPEN),
    ("/me/password/new/", None, LED),
]  # fmt: skip
# Open to everybody, and tested where they are told; PUT of an avatar needs a file and is tested with the avatar.
ELSEWHERE = {"POST /api/v1/auth/session/", "PUT /api/v1/therapists/me/avatar/"}


class Action(NamedTuple):
    """What can be pressed at the desk: where it leads, the button, and who may with the least rights; then what it says."""

    address: str
    name: str
    value: str
    least: str
    sent: dict[str, str] = {}


# Who may do more than the one before; "staff" have an account and no role.
DESK = ("staff", "read-only", "operator", "lead", "superuser")
ATTEND, DECIDE = "/admin/interventions/intervention/attend/", "/admin/interventions/intervention/causes/decide/"
RETRIES, SWITCH = "/admin/interventions/intervention/retries/*/", "/admin/switch/"
SAVES = ("_save", "_continue", "_addanother")
ACTIONS = [
    Action("/admin/interventions/intervention/", "action", "retry_selected", "operator"),
    Action("/admin/interventions/intervention/", "action", "resolve_selected", "operator"),
    Action("/admin/interventions/intervention/retry/", "", "", "operator"),
    Action("/admin/interventions/intervention/retry/", "item", "", "operator"),
    Action("/admin/interventions/intervention/resolve/", "", "", "operator"),
    Action("/admin/interventions/intervention/adopt/", "", "", "lead", {"value": "1"}),
    *(Action(ATTEND, "action", word, "operator", {"action": word, "item": "{item}"})
      for word in ("assign", "hand_back", "snooze", "unsnooze")),
    *(Action(DECIDE, "action", word, "operator", {"action": word, "cause": "{cause}"})
      for word in ("acknowledge", "hand_back", "snooze", "unsnooze", "note")),
    *(Action(DECIDE, "action", word, "lead", {"action": word, "cause": "{cause}"}) for word in ("ignore", "unignore")),
    Action("/admin/interventions/intervention/retries/plan/", "", "", "operator"),
    *(Action(RETRIES, "action", word, "operator", {"action": word}) for word in ("start", "pause", "resume", "cancel")),
    Action("/admin/outside/", "action", "add", "lead", {"action": "add"}),
    *(Action("/admin/outside/*/", "action", word, "lead", {"action": word})
      for word in ("test", "off", "on", "rotate", "drop", "change")),
    Action("/admin/runs/", "", "", "lead"),
    *(Action("/admin/runs/*/", "action", word, "lead", {"action": word})
      for word in ("start", "pause", "resume", "cancel", "undo")),
    *(Action(SWITCH, "action", word, "lead", {"action": word, "scope": "target", "key": "users"})
      for word in ("pause", "resume", "reset")),
    *(Action("/admin/second-bests/", "action", word, "lead", {"action": word})
      for word in ("forget", "clear", "call_again")),
    Action("/admin/notices/", "", "", "read-only"),
    Action("/admin/notices/test/", "", "", "lead", {"post": "yes"}),
    Action("/admin/sync/hold/*/decide/", "", "", "lead", {"decision": "keep"}),
    Action("/admin/therapists/enrollment/*/decide/", "", "", "lead"),
    Action("/admin/therapists/enrollment/*/duplicate/", "", "", "lead", {"choice": "keep_a"}),
    Action("/admin/therapists/user/*/erase/", "", "", "superuser"),
    Action("/admin/therapists/user/*/password/", "", "", "superuser"),
    Action("/admin/auth/group/", "action", "delete_selected", "superuser"),
    *(Action(f"/admin/{model}/{page}/", name, "", "superuser")
      for model in ("auth/group", "therapists/enrollment", "therapists/user")
      for page in ("add", "*/change") for name in SAVES),
    *(Action("/admin/therapists/profile/*/change/", name, "", "superuser") for name in ("_save", "_continue")),
    *(Action(f"/admin/{model}/*/delete/", "", "", "superuser")
      for model in ("auth/group", "therapists/enrollment", "therapists/user", "therapists/profile")),
]  # fmt: skip
# Addresses that the admin has of its own accord and nobody may use: history and items are neither added nor deleted.
CLOSED = [
    "/admin/interventions/history/add/", "/admin/interventions/history/*/delete/", "/admin/interventions/intervention/add/",
    "/admin/interventions/intervention/*/delete/", "/admin/sync/hold/add/", "/admin/sync/hold/*/delete/",
    "/admin/therapists/profile/add/", "/admin/therapists/booking/add/", "/admin/therapists/booking/*/delete/",
    "/admin/therapists/creditentry/add/", "/admin/therapists/creditentry/*/delete/",
]  # fmt: skip
# Pages to look at.
LOOKS = {
    "/admin/interventions/history/*/change/": "read-only",
    "/admin/interventions/history/*/history/": "read-only",
    "/admin/interventions/intervention/*/history/": "read-only",
    "/admin/interventions/intervention/new/": "read-only",
    "/admin/interventions/intervention/retries/*/report.csv": "read-only",
    "/admin/notices/*/": "read-only",
    "/admin/sync/hold/*/change/": "read-only",
    "/admin/sync/hold/*/history/": "read-only",
    "/admin/": "staff",
    "/admin/auth/": "superuser",
    "/admin/auth/group/": "superuser",
    "/admin/auth/group/*/change/": "superuser",
    "/admin/auth/group/*/delete/": "superuser",
    "/admin/auth/group/*/history/": "superuser",
    "/admin/auth/group/add/": "superuser",
    "/admin/interventions/": "read-only",
    "/admin/interventions/history/": "read-only",
    "/admin/interventions/intervention/": "read-only",
    "/admin/interventions/intervention/*/change/": "read-only",
    "/admin/interventions/intervention/causes/": "read-only",
    "/admin/interventions/intervention/causes/*/": "read-only",
    "/admin/interventions/intervention/resolve/": "operator",
    "/admin/interventions/intervention/retries/": "read-only",
    "/admin/interventions/intervention/retries/*/": "read-only",
    "/admin/notices/": "read-only",
    "/admin/outside/": "read-only",
    "/admin/outside/*/": "read-only",
    "/admin/runs/": "read-only",
    "/admin/runs/*/": "read-only",
    "/admin/sync/": "read-only",
    "/admin/sync/hold/": "read-only",
    "/admin/targets/*/": "read-only",
    "/admin/therapists/": "read-only",
    "/admin/therapists/booking/": "read-only",
    "/admin/therapists/booking/*/change/": "read-only",
    "/admin/therapists/booking/*/history/": "read-only",
    "/admin/therapists/creditentry/": "read-only",
    "/admin/therapists/creditentry/*/change/": "read-only",
    "/admin/therapists/creditentry/*/history/": "read-only",
    "/admin/therapists/enrollment/": "read-only",
    "/admin/therapists/enrollment/*/change/": "read-only",
    "/admin/therapists/enrollment/*/delete/": "superuser",
    "/admin/therapists/enrollment/*/history/": "read-only",
    "/admin/therapists/enrollment/add/": "superuser",
    "/admin/therapists/profile/": "read-only",
    "/admin/therapists/profile/*/change/": "read-only",
    "/admin/therapists/profile/*/delete/": "superuser",
    "/admin/therapists/profile/*/history/": "read-only",
    "/admin/therapists/user/": "read-only",
    "/admin/therapists/user/*/change/": "read-only",
    "/admin/therapists/user/*/delete/": "superuser",
    "/admin/therapists/user/*/erase/": "superuser",
    "/admin/therapists/user/*/history/": "read-only",
    "/admin/therapists/user/*/password/": "superuser",
    "/admin/therapists/user/add/": "superuser",
    "/admin/health/": "read-only",
    "/admin/second-bests/": "read-only",
    "/admin/sync-status/": "read-only",
    "/admin/week/": "read-only",
}


def page() -> str:
    """Give the readable table."""
    lines = [*TOP, "| | " + " | ".join(WHO) + " |", "|---|" + "---|" * len(WHO)]
    for method, address, _, statuses in API:
        told = " | ".join(WORDS.get(status, str(status)) for status in statuses)
        lines.append(f"| `{method} {address.replace(str(uuid.UUID(int=1)), '{none}')}` | {told} |")
    lines += [*OF_PAGES, "| | " + " | ".join(WHO) + " |", "|---|" + "---|" * len(WHO)]
    for address, sent, statuses in ME:
        told = " | ".join(
            {303: "led on", 200: "yes"}.get(status) or WORDS.get(status, str(status)) for status in statuses
        )
        lines.append(f"| `{address}`{'' if sent is None else ' (sent)'} | {told} |")
    lines += [*MIDDLE, "| | button | " + " | ".join(DESK) + " |", "|---|---|" + "---|" * len(DESK)]
    for address, least in LOOKS.items():
        lines.append(f"| `{address}` | look | {_marks(least)} |")
    lines += [f"| `{address}` | nobody's | {' | '.join('no' for _ in DESK)} |" for address in CLOSED]
    for one in ACTIONS:
        button = f"`{'='.join(filter(None, [one.name, one.value]))}`" if one.name else "the one there is"
        lines.append(f"| `{one.address}` | {button} | {_marks(one.least)} |")
    return "\n".join(lines) + "\n"


def _marks(least: str) -> str:
    return " | ".join("yes" if DESK.index(who) >= DESK.index(least) else "no" for who in DESK)


WORDS = {401: "sign in", 403: "refused", 404: "not there"}
TOP = """\
# Who may do what

Made from `tests/authorization.py` by `python -m tests.authorization`; the tests of permissions are made from the same
table, and an address or a button that is not in it fails them. What a role holds stands in `therapists/roles.py`; it is
read from the source at every request.

## The API

The therapist is whom a row is about; the other therapist and the client are somebody else, and of what is not theirs they
learn nothing: it is *not there*, as if it had never been. *Sign in* is 401, *refused* 403, *not there* 404; 409 is
somebody who may, and finds that there is nothing to be done. Of `/me/` each has their own, and staff have none. Signing in is open to
everybody, and an avatar is sent by its therapist. `/metrics` asks for no person: it is for this machine, or for whoever has
`METRICS_TOKEN`.
""".splitlines()
OF_PAGES = """
## People's own pages

Nobody's address names a person: each sees and changes their own, and of another's booking there is nothing. *Led on* is
303, to signing in or to the page that says what came of it; *(sent)* is a form. 400 and 409 are forms that say nothing, or what somebody may not.
""".splitlines()
MIDDLE = """
## The desk

Addresses with a star are about one thing. *Staff* have an account for the desk and no role. A button that somebody may not
press is not shown to them, and what it sends is refused. Whoever is no staff is led to the sign-in. One's own zone, password
and signing out are everybody's; the drill is for development alone.
""".splitlines()

if __name__ == "__main__":
    PAGE.write_text(page())
