"""Outside services that are told what is known about a person: one small module each, all of one shape."""

from sync.integrations import analytics, listing, mail
from sync.integrations.base import Integration

# Adding one is its module and its line here; docs/add-a-target.md goes through it.
KINDS: dict[str, Integration] = {
    "listing": listing.Listing(),
    "mail": mail.Mail(),
    "analytics": analytics.Analytics(),
}
