"""The words of what is sent: a sentence, numbers, an age and the address of the list. Nobody's data."""

import datetime as dt
from zoneinfo import ZoneInfo

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone

from interventions import digest
from interventions.alerts import spell_age
from interventions.channels import Message
from interventions.ladder import Kind, Level
from interventions.models import Alert, AlertDelivery, Digest

TEST = "test"
OPENINGS = {Kind.RAISED: "", Kind.REPEATED: "Still: ", Kind.RECOVERED: "Over: "}
FOR = {Level.STAFF: "for staff", Level.LEAD: "for a lead", Level.PAGE: "urgent"}


def compose(delivery: AlertDelivery) -> Message:
    """Give what a message says, as its alert stands on record."""
    if delivery.alert is not None:
        return of_alert(delivery.alert, Kind(delivery.kind))
    return of_digest(delivery.digest) if delivery.digest is not None else of_test()


def of_alert(alert: Alert, kind: Kind) -> Message:
    """Say what is the matter, how many it is about, since when, what can be done and where to look."""
    title = f"[Keepwell, {FOR[Level(alert.level)]}] {OPENINGS[kind]}{alert.says}"
    text = [OPENINGS[kind] + alert.says, numbers(alert, kind, alert.told_at)]
    if kind is not Kind.RECOVERED and alert.advice:
        text.append(alert.advice)
    return Message(" ".join(title.split()), "\n\n".join([*text, link(alert.path)]))


def of_digest(made: Digest) -> Message:
    """Say what a day brought, as text and as HTML, with times in the digest's zone."""
    told = digest.told(made)
    words = {"told": told, "base": settings.BASE_URL.rstrip("/")}
    title = (
        f"[Keepwell] {count(told['open'], 'intervention')} open, {told['opened']:,} new, {told['resolved']:,} resolved"
    )
    with timezone.override(ZoneInfo(settings.DIGEST_ZONE)):
        text, html = (render_to_string(f"admin/interventions/digest_mail.{kind}", words) for kind in ("txt", "html"))
    return Message(title, text, html)


def of_test() -> Message:
    """Say that nothing is the matter."""
    text = "This is a test of this channel. Nothing is the matter, and nothing has to be done."
    return Message("[Keepwell] A test of this channel", f"{text}\n\n{link('/admin/')}")


def numbers(alert: Alert, kind: Kind, at: dt.datetime) -> str:
    """Say how many it was about when it was told last, and how long it has lasted by now, or lasted."""
    counted = [count(alert.items, "intervention")] if alert.items else []
    counted += [count(alert.people, "person", "people")] if alert.people else []
    age = spell_age(alert.since, alert.ended_at or at)
    lasted = f"lasted for {age}" if kind is Kind.RECOVERED else f"for {age}"
    said = ", ".join([*counted, lasted])
    return f"{said[0].upper()}{said[1:]}."


def count(number: int, one: str, many: str = "") -> str:
    """Say a number of something."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def link(path: str) -> str:
    """Give the whole address of a page."""
    return f"{settings.BASE_URL.rstrip('/')}{path}"
