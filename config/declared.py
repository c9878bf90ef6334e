"""
Every setting that may be given from outside, with its kind, default, bounds and meaning; nothing else reads it there.

`manage.py settings_table` prints them; docs/operating.md explains when to change one.
"""

from pathlib import Path

from config import source
from config.outsiders import *

BASE_DIR: Path = source.BASE_DIR
ENV = source.ENV

# The process and its servers.
DEBUG = ENV.flag("DEBUG", True, "Development mode: demo data, the drill and readable error pages. Off in production.")
SECRET_KEY = ENV.text("SECRET_KEY", "", "Signs sessions and tokens; required when DEBUG is off.", is_secret=True)
ALLOWED_HOSTS = ENV.names("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"], "Host names that the web answers to.")
HSTS_SUBDOMAINS = ENV.flag(
    "HSTS_SUBDOMAINS", True, "Tell browsers to use HTTPS alone for every subdomain too; only while DEBUG is off."
)
PORT = ENV.number("PORT", 8000, "The web's port; the streams process takes the next one.", least=1, most=65534)
EVENTS_URL = ENV.text(
    "EVENTS_URL", f"http://127.0.0.1:{PORT + 1}", "Where browsers reach the streams process; empty behind one proxy."
)
VAR_DIR = Path(ENV.text("VAR_DIR", str(BASE_DIR / "var"), "Everything that a running copy writes.")).resolve()
DATABASE_URL = ENV.text("DATABASE_URL", "", "PostgreSQL >= 15; empty: the embedded one.", is_secret=True)
REDIS_URL = ENV.text("REDIS_URL", "", "Redis >= 6.2 or Valkey >= 8; empty: the embedded one.", is_secret=True)
MEDIA_ROOT = Path(ENV.text("MEDIA_ROOT", str(VAR_DIR / "media"), "Where uploaded avatars are kept."))
MEDIA_STORE = ENV.one_of(
    "MEDIA_STORE", ["files", "s3"], "files", "What keeps them: a directory, or a bucket, which needs the extra `s3`."
)
MEDIA_BUCKET = ENV.text("MEDIA_BUCKET", "", "The bucket's name; nobody but Keepwell need read it.")
MEDIA_ENDPOINT = ENV.text(
    "MEDIA_ENDPOINT", "", "Where the bucket is, where that is not Amazon, such as https://s3.example.org."
)
MEDIA_REGION = ENV.text("MEDIA_REGION", "", "The bucket's region.")
MEDIA_ACCESS_KEY = ENV.text(
    "MEDIA_ACCESS_KEY", "", "Who reads and writes there; empty: as the machine's role.", is_secret=True
)
MEDIA_SECRET_KEY = ENV.text("MEDIA_SECRET_KEY", "", "The secret that belongs to it.", is_secret=True)
LOG_FORMAT = ENV.one_of("LOG_FORMAT", ["console", "json"], "console" if DEBUG else "json", "How logs are written.")
LOG_LEVEL = ENV.one_of("LOG_LEVEL", ["DEBUG", "INFO", "WARNING", "ERROR"], "INFO", "The least level that is logged.")
DEMO = ENV.flag("DEMO", True, "Fill an empty database with demo data at the first `make run`; only while DEBUG is on.")
WEB_THREADS = ENV.number("WEB_THREADS", 32, "Threads, and PostgreSQL connections at most, of one web process.", least=1)
WEB_STATEMENT_SECONDS = ENV.number(
    "WEB_STATEMENT_SECONDS",
    15,
    "Longest statement of a request; most set themselves a shorter bound.",
    least=1,
    most=600,
)
WEB_LOCK_SECONDS = ENV.number(
    "WEB_LOCK_SECONDS", 5, "Longest wait of a request for somebody's lock, likewise.", least=1, most=600
)
WEB_IDLE_SECONDS = ENV.number(
    "WEB_IDLE_SECONDS", 15, "PostgreSQL ends a request's transaction in which nothing was asked for so long.", least=1, most=600
)  # fmt: skip
WORKER_CONCURRENCY = ENV.number("WORKER_CONCURRENCY", 2, "Processes of one worker.", least=1)

# What happens right after a commit, and when workers come.
SYNC_INLINE_BUDGET_MS = ENV.number(
    "SYNC_INLINE_BUDGET_MS", 40,
    "Time after a commit in which the request itself brings copies in line; 0: workers do it.",
)  # fmt: skip
SYNC_RECEIVERS = ENV.flag("SYNC_RECEIVERS", True, "Fan out from post_save receivers right after the commit.")
SYNC_SWEEP_SECONDS = ENV.number("SYNC_SWEEP_SECONDS", 3, "How often beat looks for owed rows.", least=1, most=3600)
SYNC_BATCH_SIZE = ENV.number("SYNC_BATCH_SIZE", 500, "Debt rows taken up in one transaction.", least=1, most=10_000)
SYNC_BATCH_TIMEOUT_MS = ENV.number(
    "SYNC_BATCH_TIMEOUT_MS", 1000, "Longest statement of a worker; a batch that exceeds it is taken apart.", least=100
)
SYNC_TABLE_LEASE_SECONDS = ENV.number(
    "SYNC_TABLE_LEASE_SECONDS", 20, "How long a stopped worker keeps the rows it has locked.", least=1, most=600
)
SYNC_LEASE_SECONDS = ENV.number(
    "SYNC_LEASE_SECONDS", 600,
    "How long a retry asked for by staff may take; without an answer the intervention needs a person again.", least=10,
)  # fmt: skip
RETRY_RUN_PER_SECOND = ENV.number(
    "RETRY_RUN_PER_SECOND", 200, "How many interventions a second one bulk retry has tried, once the first ones went well.",
    least=1, most=250,
)  # fmt: skip

# When what failed is tried again, and when a person is told.
SYNC_BACKOFF_BASE_SECONDS = ENV.number(
    "SYNC_BACKOFF_BASE_SECONDS", 5,
    "Longest wait after a first failure; it doubles with each failure, and the wait is a random part of it.", least=1,
)  # fmt: skip
SYNC_BACKOFF_CAP_SECONDS = ENV.number(
    "SYNC_BACKOFF_CAP_SECONDS", 3600, "Longest wait between two tries, however often it failed.", least=1
)
SYNC_BACKOFF_URGENT_CAP_SECONDS = ENV.number(
    "SYNC_BACKOFF_URGENT_CAP_SECONDS", 900, "Longest wait between two tries of a place that repeats verification.", least=1
)  # fmt: skip
SYNC_ITEM_AFTER_ATTEMPTS = ENV.number(
    "SYNC_ITEM_AFTER_ATTEMPTS", 5, "An intervention opens after so many failed tries.", least=1
)
SYNC_ITEM_AFTER_SECONDS = ENV.number(
    "SYNC_ITEM_AFTER_SECONDS", 900, "An intervention opens for what has been failing for so long.", least=1
)

# When a failing place is left alone, and how its rows come back.
SYNC_BREAKER_FAILURES = ENV.number(
    "SYNC_BREAKER_FAILURES", 5, "A place is left alone after so many failed batches in a row.", least=1
)
SYNC_BREAKER_WINDOW_PERCENT = ENV.number(
    "SYNC_BREAKER_WINDOW_PERCENT", 50, "A place is left alone when so many of a hundred recent batches failed.",
    least=1, most=100,
)  # fmt: skip
SYNC_BREAKER_WINDOW_SECONDS = ENV.number(
    "SYNC_BREAKER_WINDOW_SECONDS", 60, "Batches of the last so many seconds count as recent.", least=1
)
SYNC_BREAKER_WINDOW_CALLS = ENV.number(
    "SYNC_BREAKER_WINDOW_CALLS", 20, "The share of failed batches counts only where so many are recent.", least=1
)
SYNC_BREAKER_PROBE_SECONDS = ENV.number(
    "SYNC_BREAKER_PROBE_SECONDS", 60,
    "A place that is left alone is tried with one row after so long; each failure doubles the wait.", least=1,
)  # fmt: skip
SYNC_BREAKER_PROBE_CAP_SECONDS = ENV.number(
    "SYNC_BREAKER_PROBE_CAP_SECONDS", 900, "Longest wait until such a place is tried with one row again.", least=1
)
SYNC_BREAKER_RAMP_PER_SECOND = ENV.number(
    "SYNC_BREAKER_RAMP_PER_SECOND", 5, "Rows a second that follow at first when a place answers again.", least=1
)
SYNC_BREAKER_RAMP_DOUBLES_SECONDS = ENV.number(
    "SYNC_BREAKER_RAMP_DOUBLES_SECONDS", 5, "How long it takes until twice as many rows a second follow.", least=1
)
SYNC_BREAKER_RAMP_SECONDS = ENV.number(
    "SYNC_BREAKER_RAMP_SECONDS", 120, "How long after a place answered again its rows are held to that pace.", least=1
)

# What is kept, where, and for how long.
SYNC_ATTEMPTS_KEPT_DAYS = ENV.number(
    "SYNC_ATTEMPTS_KEPT_DAYS",
    90,
    "How long records of single tries, and bulk retries that are over, are kept.",
    least=1,
)
SYNC_LOST_VALUES_KEPT_DAYS = ENV.number(
    "SYNC_LOST_VALUES_KEPT_DAYS", 90, "How long a value that a repair replaced is kept for adoption.", least=1
)
SYNC_ALIASES_KEPT_DAYS = ENV.number(
    "SYNC_ALIASES_KEPT_DAYS", 365, "How long an address that somebody gave up still finds them.", least=1
)
SYNC_TOMBSTONES_KEPT_DAYS = ENV.number(
    "SYNC_TOMBSTONES_KEPT_DAYS", 90,
    "How long a deletion is remembered, so that nobody is linked to what a deleted person left.", least=1,
)  # fmt: skip
SYNC_SPOOL_DIR = Path(
    ENV.text("SYNC_SPOOL_DIR", str(VAR_DIR / "spool"), "Where failures wait that PostgreSQL did not take.")
).resolve()
SYNC_SPOOL_MOST = ENV.number(
    "SYNC_SPOOL_MOST", 20_000, "Failures that may wait there; more are counted and logged, not kept.", least=1
)

# What is looked for.
SYNC_AUDIT_SECONDS = ENV.number(
    "SYNC_AUDIT_SECONDS", 60, "How often what was written since the last audit is compared.", least=1
)
AUDIT_INTERVAL_HOURS = ENV.number("AUDIT_INTERVAL_HOURS", 24, "How often every copy is compared.", least=1)
IDENTITY_SECONDS = ENV.number("IDENTITY_SECONDS", 15, "How often beat looks who is who.", least=1, most=3600)
SYNC_MASS_DELETION_MINUTES = ENV.number(
    "SYNC_MASS_DELETION_MINUTES", 10, "Deletions from a table within so many minutes count as one mass.", least=1
)
SYNC_MASS_DELETIONS = ENV.number(
    "SYNC_MASS_DELETIONS", 20, "A mass of more deletions than this waits for a lead before copies follow."
)
SYNC_MASS_DELETION_PERCENT = ENV.number(
    "SYNC_MASS_DELETION_PERCENT", 2, "So does a mass of more than this many of a hundred rows of the table.", most=100
)
SYNC_MASS_DELETION_LEAST = ENV.number(
    "SYNC_MASS_DELETION_LEAST", 10, "Fewer deletions than this never wait because of their share of the table.", least=1
)

# Who is told of what, when, and how.
BASE_URL = ENV.address(
    "BASE_URL", f"http://127.0.0.1:{PORT}", "Where people reach the admin: what links in alerts begin with."
)
ALERT_URLS_STAFF = ENV.channels(
    "ALERT_URLS_STAFF", "apprise URLs for staff, with commas between; a comma in one is written %2C."
)
ALERT_URLS_LEAD = ENV.channels("ALERT_URLS_LEAD", "Likewise for leads; without any channel, those of staff.")
ALERT_URLS_PAGE = ENV.channels("ALERT_URLS_PAGE", "Likewise for what is urgent; without any, those of leads.")
ALERT_MAIL_STAFF = ENV.mail_addresses("ALERT_MAIL_STAFF", "E-mail addresses for staff, with commas between.")
ALERT_MAIL_LEAD = ENV.mail_addresses("ALERT_MAIL_LEAD", "Likewise for leads.")
ALERT_MAIL_PAGE = ENV.mail_addresses("ALERT_MAIL_PAGE", "Likewise for what is urgent.")
EMAIL_URL = ENV.mail_server(
    "EMAIL_URL", "The mail server, as smtp+tls://USER:PASSWORD@HOST:PORT; required to mail anything."
)
DEFAULT_FROM_EMAIL = ENV.text("DEFAULT_FROM_EMAIL", "keepwell@localhost", "Whom mail comes from.")
EMAIL_TIMEOUT = ENV.number("EMAIL_TIMEOUT", 10, "Longest wait for a mail server's answer; a letter takes twice that at most.", least=1, most=30)  # fmt: skip
ALERT_SECONDS = ENV.number("ALERT_SECONDS", 15, "How often beat looks whom to tell of what.", least=1, most=3600)
ALERT_LEAD_MINUTES = ENV.number(
    "ALERT_LEAD_MINUTES", 60, "A lead is told of a cause that nobody acknowledged for so long."
)
ALERT_LEAD_PEOPLE = ENV.number("ALERT_LEAD_PEOPLE", 20, "A lead is told at once of a cause that concerns more people.")
ALERT_PAGE_HOURS = ENV.number(
    "ALERT_PAGE_HOURS",
    24,
    "What nobody acknowledged for so long, and what has been owed unnoticed for so long, is urgent.",
)
ALERT_URGENT_MINUTES = ENV.number(
    "ALERT_URGENT_MINUTES", 5, "Verification that is behind, and workers or beat that are silent, for longer is urgent."
)
ALERT_OWED_MINUTES = ENV.number(
    "ALERT_OWED_MINUTES",
    30,
    "A lead is told of what has been owed for longer though no intervention says why.",
    least=1,
)
ALERT_REPEAT_HOURS = ENV.number(
    "ALERT_REPEAT_HOURS", 24, "How often that is said again while nobody sees to it.", least=1
)
DIGEST_MAIL = ENV.mail_addresses("DIGEST_MAIL", "Whom the daily digest is mailed to, with commas between.")
DIGEST_HOUR = ENV.number("DIGEST_HOUR", 7, "The full hour from which on the day's digest is made.", most=23)
DIGEST_ZONE = ENV.one_of_zones("DIGEST_ZONE", "UTC", "The time zone of that hour, as in Europe/Berlin.")
ALERTS_KEPT_DAYS = ENV.number("ALERTS_KEPT_DAYS", 90, "How long alerts that are over, and digests, are kept.", least=1)

# What monitors are told.
METRICS_TOKEN = ENV.text(
    "METRICS_TOKEN",
    "",
    "Who sends it as a bearer token may read `/metrics`; empty: this machine alone.",
    is_secret=True,
)
DISK_FREE_PERCENT = ENV.number(
    "DISK_FREE_PERCENT",
    10,
    "Less room on the disk of the spool or of avatars than so many of a hundred is bad.",
    most=99,
)

BOOKINGS_OPEN_MOST = ENV.number(
    "BOOKINGS_OPEN_MOST", 100, "Bookings of one client that may wait to be confirmed; more are refused.", least=1
)

# What is sent twice.
IDEMPOTENCY_RETENTION_HOURS = ENV.number(
    "IDEMPOTENCY_RETENTION_HOURS", 240, "How long an idempotency key is kept with the answer it got; 8 days at least.",
    least=192,
)  # fmt: skip
IDEMPOTENCY_WARN_ROWS = ENV.number(
    "IDEMPOTENCY_WARN_ROWS", 2_000_000, "More keys than this are a warning in the log and in `/health/`.", least=1
)

# Streams of events.
STREAMS_MOST = ENV.number("STREAMS_MOST", 10_000, "Streams of events that one streams process holds open.", least=1)
STREAMS_PER_PERSON = ENV.number(
    "STREAMS_PER_PERSON", 20, "How many of them one person may have; a browser needs one, whatever its tabs.", least=1
)
STREAMS_CHECK_SECONDS = ENV.number(
    "STREAMS_CHECK_SECONDS", 10, "How often it is read anew who may hear what; after 30 s without an answer a stream ends.",
    least=1, most=20,
)  # fmt: skip
STREAMS_KEPT_MINUTES = ENV.number(
    "STREAMS_KEPT_MINUTES", 60, "How long events are kept, for streams that broke off and go on.", least=1, most=1440
)

# Who may sign in, from where, and for how long.
LOCKOUT_FAILURES = ENV.number(
    "LOCKOUT_FAILURES",
    5,
    "After so many wrong passwords or codes for one account from one IP address, both wait.",
    least=1,
)
LOCKOUT_MINUTES = ENV.number("LOCKOUT_MINUTES", 15, "How long they wait, from the last try that counted.", least=1)
PROXIES = ENV.number(
    "PROXIES", 0, "How many proxies of yours stand in front, each of which adds to X-Forwarded-For; 0: nobody reads it."
)
STAFF_IDLE_MINUTES = ENV.number(
    "STAFF_IDLE_MINUTES", 30, "A session of staff ends when it was not used for so long.", least=1
)
STAFF_SESSION_HOURS = ENV.number(
    "STAFF_SESSION_HOURS", 12, "A session of staff ends so long after they signed in.", least=1
)
STAFF_SECOND_FACTOR = ENV.flag(
    "STAFF_SECOND_FACTOR", not DEBUG, "Staff must have a second factor, and show it within ten minutes of a decision."
)
SECOND_FACTOR_KEYS = ENV.names(
    "SECOND_FACTOR_KEYS", [], "Encrypt second factors: the first one new ones, each the old ones; empty: SECRET_KEY.",
    is_secret=True,
)  # fmt: skip
API_CALLS_PER_MINUTE = ENV.number(
    "API_CALLS_PER_MINUTE",
    0 if DEBUG else 1200,
    "Calls a minute of one person, or of one IP address without one; 0: any.",
)

AVATAR_MAX_BYTES = ENV.number("AVATAR_MAX_BYTES", 10 * 2**20, "Largest avatar upload in bytes.", least=1024)
ALLOW_FAILPOINTS = ENV.flag(
    "ALLOW_FAILPOINTS", False, "Let FAILPOINTS_FILE end processes, to test crashes; never in production."
)
FAILPOINTS_FILE = Path(
    ENV.text("FAILPOINTS_FILE", str(VAR_DIR / "failpoints.json"), "What happens at which failpoint, as JSON.")
)
ENV.refuse_unknown("SYNC_")
