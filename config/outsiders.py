"""The settings of outside services; `config.declared` has the others, and these with them."""

from config.source import ENV

# Which outside services are told what is known of a therapist; without its address a service is owed nothing.
LISTING_URL = ENV.text("LISTING_URL", "", "A public directory that takes signed messages; staff may enter more.")
LISTING_SECRET = ENV.text("LISTING_SECRET", "", "Signs what is sent there: whsec_ and base64.", is_secret=True)
LISTING_READ_URL = ENV.text(
    "LISTING_READ_URL", "", "Where it shows whom it published, as URL/ID; empty: it cannot be read back."
)
ANALYTICS_URL = ENV.text("ANALYTICS_URL", "", "Is told by id that somebody's data changed, and nothing of what it is.")
ANALYTICS_SECRET = ENV.text("ANALYTICS_SECRET", "", "The bearer's token there.", is_secret=True)
MAIL_NOTICES = ENV.flag("MAIL_NOTICES", False, "Mail therapists what was decided about them; needs EMAIL_URL.")
ASSISTANT_URL = ENV.text("ASSISTANT_URL", "", "A language model that speaks POST /v1/chat/completions; suggests a bio.")
ASSISTANT_SECONDS = ENV.number("ASSISTANT_SECONDS", 8, "Longest call to it, while somebody waits.", least=1, most=9)
ASSISTANT_SECRET = ENV.text("ASSISTANT_SECRET", "", "The bearer's token there.", is_secret=True)
ASSISTANT_MODEL = ENV.text("ASSISTANT_MODEL", "gpt-4o-mini", "Which of its models is asked.")
SMS_URL = ENV.text("SMS_URL", "", "Takes short messages as JSON by POST: reminders, and what an applicant is told.")
SMS_SECRET = ENV.text("SMS_SECRET", "", "The bearer's token there.", is_secret=True)
SYNC_SERVICE_PROBE_SECONDS = ENV.number(
    "SYNC_SERVICE_PROBE_SECONDS", 25, "A service that is left alone is asked again after so long at most, with one call.",
    least=1,
)  # fmt: skip
SYNC_CALL_SECONDS = ENV.number("SYNC_CALL_SECONDS", 5, "Longest call to an outside service.", least=1, most=60)
SYNC_CALL_LEASE_SECONDS = ENV.number(
    "SYNC_CALL_LEASE_SECONDS", 60, "After so long somebody else calls in place of a worker that says nothing.", least=10
)
SYNC_PRIVATE_ADDRESSES = ENV.flag(
    "SYNC_PRIVATE_ADDRESSES", False, "Call services at private and loopback addresses too; for demo and tests alone."
)
ENDPOINT_KEYS = ENV.names(
    "ENDPOINT_KEYS", [], "Encrypt secrets that staff enter: the first one new ones, each the old ones; empty: SECRET_KEY.",
    is_secret=True,
)  # fmt: skip
