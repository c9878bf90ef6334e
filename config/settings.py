"""Every setting of Keepwell, read from the environment; `manage.py settings_table` prints them with their meaning."""

import sys
from pathlib import Path
from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

from config import embedded
from config.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
ENV = Environment()
ENV.load_file(BASE_DIR / ".env")

DEBUG = ENV.flag("DEBUG", True, "Development mode: demo data, the drill and readable error pages. Off in production.")
SECRET_KEY = ENV.text("SECRET_KEY", "", "Signs sessions and tokens; required when DEBUG is off.", is_secret=True)
ALLOWED_HOSTS = ENV.names("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"], "Host names that the web answers to.")
PORT = ENV.number("PORT", 8000, "The web's port; the streams process takes the next one.", least=1, most=65534)
EVENTS_PORT = PORT + 1
EVENTS_URL = ENV.text(
    "EVENTS_URL", f"http://127.0.0.1:{EVENTS_PORT}", "Where browsers reach the streams process; empty behind one proxy."
)
VAR_DIR = Path(ENV.text("VAR_DIR", str(BASE_DIR / "var"), "Everything that a running copy writes.")).resolve()
DATABASE_URL = ENV.text("DATABASE_URL", "", "PostgreSQL >= 15; empty: the embedded one.", is_secret=True)
REDIS_URL = ENV.text("REDIS_URL", "", "Redis >= 6.2 or Valkey >= 8; empty: the embedded one.", is_secret=True)
MEDIA_ROOT = Path(ENV.text("MEDIA_ROOT", str(VAR_DIR / "media"), "Where uploaded avatars are kept."))
LOG_FORMAT = ENV.one_of("LOG_FORMAT", ["console", "json"], "console" if DEBUG else "json", "How logs are written.")
LOG_LEVEL = ENV.one_of("LOG_LEVEL", ["DEBUG", "INFO", "WARNING", "ERROR"], "INFO", "The least level that is logged.")
DEMO = ENV.flag("DEMO", True, "Fill an empty database with demo data at the first `make run`; only while DEBUG is on.")
WEB_THREADS = ENV.number("WEB_THREADS", 8, "Threads, and PostgreSQL connections at most, of one web process.", least=1)
WORKER_CONCURRENCY = ENV.number("WORKER_CONCURRENCY", 2, "Processes of one worker.", least=1)

# What the engine may be told; docs/operating.md explains when to change one.
SYNC_INLINE_BUDGET_MS = ENV.number(
    "SYNC_INLINE_BUDGET_MS",
    40,
    "Time after a commit in which the request itself brings copies in line; 0: workers do it.",
)
SYNC_RECEIVERS = ENV.flag("SYNC_RECEIVERS", True, "Fan out from post_save receivers right after the commit.")
SYNC_SWEEP_SECONDS = ENV.number("SYNC_SWEEP_SECONDS", 3, "How often beat looks for owed rows.", least=1, most=3600)
SYNC_BATCH_SIZE = ENV.number("SYNC_BATCH_SIZE", 500, "Debt rows taken up in one transaction.", least=1, most=10_000)
SYNC_BATCH_TIMEOUT_MS = ENV.number(
    "SYNC_BATCH_TIMEOUT_MS", 1000, "Longest statement of a worker; a batch that exceeds it is taken apart.", least=100
)
SYNC_TABLE_LEASE_SECONDS = ENV.number(
    "SYNC_TABLE_LEASE_SECONDS", 20, "How long a stopped worker keeps the rows it has locked.", least=1, most=600
)
SYNC_LEASE_SECONDS = ENV.number("SYNC_LEASE_SECONDS", 600, "How long a retry asked for by staff may take.", least=10)
SYNC_BACKOFF_BASE_SECONDS = ENV.number("SYNC_BACKOFF_BASE_SECONDS", 5, "First bound of the jittered backoff.", least=1)
SYNC_BACKOFF_CAP_SECONDS = ENV.number("SYNC_BACKOFF_CAP_SECONDS", 3600, "Largest bound of the backoff.", least=1)
SYNC_BACKOFF_URGENT_CAP_SECONDS = ENV.number(
    "SYNC_BACKOFF_URGENT_CAP_SECONDS", 900, "The same for verification.", least=1
)
SYNC_ITEM_AFTER_ATTEMPTS = ENV.number("SYNC_ITEM_AFTER_ATTEMPTS", 5, "Failed tries until an item opens.", least=1)
SYNC_ITEM_AFTER_SECONDS = ENV.number("SYNC_ITEM_AFTER_SECONDS", 900, "Age of a failure that opens an item.", least=1)
SYNC_BREAKER_FAILURES = ENV.number("SYNC_BREAKER_FAILURES", 5, "Failed calls in a row that open a breaker.", least=1)
SYNC_BREAKER_WINDOW_SECONDS = ENV.number("SYNC_BREAKER_WINDOW_SECONDS", 60, "Span that is looked at.", least=1)
SYNC_BREAKER_WINDOW_CALLS = ENV.number("SYNC_BREAKER_WINDOW_CALLS", 20, "Calls before their share counts.", least=1)
SYNC_BREAKER_WINDOW_PERCENT = ENV.number("SYNC_BREAKER_WINDOW_PERCENT", 50, "Failed share to open.", least=1, most=100)
SYNC_BREAKER_PROBE_SECONDS = ENV.number("SYNC_BREAKER_PROBE_SECONDS", 60, "First wait for a probe.", least=1)
SYNC_BREAKER_PROBE_CAP_SECONDS = ENV.number("SYNC_BREAKER_PROBE_CAP_SECONDS", 900, "Largest wait for a probe.", least=1)
SYNC_BREAKER_RAMP_PER_SECOND = ENV.number("SYNC_BREAKER_RAMP_PER_SECOND", 5, "Parked rows a second at first.", least=1)
SYNC_BREAKER_RAMP_DOUBLES_SECONDS = ENV.number("SYNC_BREAKER_RAMP_DOUBLES_SECONDS", 10, "Its doubling time.", least=1)
SYNC_BREAKER_RAMP_SECONDS = ENV.number("SYNC_BREAKER_RAMP_SECONDS", 120, "Length of the ramp.", least=1)
SYNC_ATTEMPTS_KEPT_DAYS = ENV.number("SYNC_ATTEMPTS_KEPT_DAYS", 90, "How long records of attempts are kept.", least=1)
SYNC_LOST_VALUES_KEPT_DAYS = ENV.number(
    "SYNC_LOST_VALUES_KEPT_DAYS", 90, "How long a value that a repair replaced is kept for adoption.", least=1
)
SYNC_ALIASES_KEPT_DAYS = ENV.number("SYNC_ALIASES_KEPT_DAYS", 365, "How long a given-up address finds people.", least=1)
SYNC_SPOOL_DIR = Path(
    ENV.text("SYNC_SPOOL_DIR", str(VAR_DIR / "spool"), "Where failures wait that PostgreSQL did not take.")
).resolve()
SYNC_SPOOL_MOST = ENV.number(
    "SYNC_SPOOL_MOST", 20_000, "Failures that may wait there; more are counted and logged, not kept.", least=1
)
SYNC_AUDIT_SECONDS = ENV.number(
    "SYNC_AUDIT_SECONDS", 60, "How often what was written since the last audit is compared.", least=1
)
SYNC_TOMBSTONES_KEPT_DAYS = ENV.number("SYNC_TOMBSTONES_KEPT_DAYS", 90, "How long tombstones stand.", least=1)
SYNC_MASS_DELETIONS = ENV.number("SYNC_MASS_DELETIONS", 20, "More deletions from a table at once are held.")
SYNC_MASS_DELETION_PERCENT = ENV.number("SYNC_MASS_DELETION_PERCENT", 2, "So are more than this share of it.", most=100)
SYNC_MASS_DELETION_LEAST = ENV.number("SYNC_MASS_DELETION_LEAST", 10, "Fewer are never held for their share.", least=1)
SYNC_MASS_DELETION_MINUTES = ENV.number("SYNC_MASS_DELETION_MINUTES", 10, "What counts as at once.", least=1)
IDENTITY_SECONDS = ENV.number("IDENTITY_SECONDS", 15, "How often beat looks who is who.", least=1, most=3600)
AUDIT_INTERVAL_HOURS = ENV.number("AUDIT_INTERVAL_HOURS", 24, "How often every copy is compared.", least=1)
AVATAR_MAX_BYTES = ENV.number("AVATAR_MAX_BYTES", 10 * 2**20, "Largest avatar upload in bytes.", least=1024)
ALLOW_FAILPOINTS = ENV.flag(
    "ALLOW_FAILPOINTS", False, "Let FAILPOINTS_FILE end processes, to test crashes; never in production."
)
FAILPOINTS_FILE = Path(
    ENV.text("FAILPOINTS_FILE", str(VAR_DIR / "failpoints.json"), "What happens at which failpoint, as JSON.")
)
ENV.refuse_unknown("SYNC_")

if not SECRET_KEY:
    SECRET_KEY = embedded.secret_key(VAR_DIR, required=not DEBUG)

DATABASE_URL_GIVEN = bool(DATABASE_URL)
REDIS_URL_GIVEN = bool(REDIS_URL)
DATABASE_URL = DATABASE_URL or embedded.database_url(VAR_DIR)
REDIS_URL = REDIS_URL or embedded.redis_url(VAR_DIR)

# A prefork worker must not inherit a pool's sockets: the child would share its parent's backends.
IS_WORKER = Path(sys.argv[0]).name == "celery" or "celery" in sys.argv[:2]
DATABASES: dict[str, dict[str, Any]] = {
    "default": ENV.source.db_url_config(DATABASE_URL, engine="django.db.backends.postgresql")
}
DATABASES["default"] |= {
    "CONN_MAX_AGE": 600 if IS_WORKER else 0,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": DATABASES["default"].get("OPTIONS", {}) | {"connect_timeout": 2, "application_name": "keepwell"},
}
if not IS_WORKER:
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1, "max_size": WEB_THREADS + 2, "timeout": 2, "reconnect_timeout": 2,
    }  # fmt: skip

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "normal"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_CONCURRENCY = WORKER_CONCURRENCY
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 3
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_DB_REUSE_MAX = 1000  # a new connection a task cost three quarters of the throughput
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Against a frozen server, publishing blocks for ever by default; these bound it to one second.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 1, "socket_connect_timeout": 1, "visibility_timeout": 3600,
    "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
}  # fmt: skip
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
CELERY_BEAT_SCHEDULE = {
    # A tick that nobody took within its interval is worthless: expire it, or a stopped worker comes back to a heap.
    "sweep": {"task": "sync.tasks.sweep", "schedule": SYNC_SWEEP_SECONDS, "options": {"queue": "high", "expires": 30}},
    "link": {"task": "sync.tasks.link", "schedule": 60, "options": {"queue": "normal", "expires": 60}},
    "identity": {"task": "therapists.tasks.review_identity", "schedule": IDENTITY_SECONDS, "options": {"queue": "normal", "expires": 60}},
    "prune": {"task": "sync.tasks.prune", "schedule": 3600, "options": {"queue": "low", "expires": 3600}},
    "remove-unused-avatars": {"task": "therapists.tasks.remove_unused_avatars", "schedule": 3600, "options": {"queue": "low", "expires": 3600}},
    "advance-runs": {
        "task": "sync.tasks.advance_runs", "schedule": 5, "options": {"queue": "low", "expires": 5},
    },
    "audit-recent": {
        "task": "sync.tasks.audit_recent", "schedule": SYNC_AUDIT_SECONDS,
        "options": {"queue": "low", "expires": SYNC_AUDIT_SECONDS},
    },
    "audit": {
        "task": "sync.tasks.audit", "schedule": AUDIT_INTERVAL_HOURS * 3600,
        "options": {"queue": "low", "expires": 3600},
    },
}  # fmt: skip

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config",
    "therapists",
    "sync",
    "interventions",
]
MIDDLEWARE = [
    "interventions.middleware.RequestId",
    "interventions.middleware.CountFailures",
    "interventions.api.outside.ProblemsOnly",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.csp.allow_eval_in_admin",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_USER_MODEL = "therapists.User"
# An address is unique by its normal form, which the check cannot see.
SILENCED_SYSTEM_CHECKS = ["auth.E003"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not DEBUG
SECURE_REDIRECT_EXEMPT = [r"^health/"]  # probes speak plain HTTP to the process itself
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"

# unfold's Alpine build compiles expressions, which needs 'unsafe-eval'; docs/decisions/0006 says where that is allowed.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'", *([EVENTS_URL] if EVENTS_URL else [])],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
MEDIA_URL = "/media/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage" if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}  # fmt: skip
WHITENOISE_USE_FINDERS = DEBUG
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 * 2**20

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["interventions.api.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "interventions.api.problems.problem_response",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Keepwell",
    "DESCRIPTION": "Keeps the copies of a therapist's data equal. Every answer about copies is read from debt and ledger.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Keepwell",
    "SITE_HEADER": "Keepwell",
    "SITE_SUBHEADER": "Every copy equal",
    "SITE_SYMBOL": "health_and_safety",
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("sync/mark.svg")}],
    "DASHBOARD_CALLBACK": "sync.admin.front.callback",
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "config.navigation.groups"},
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "240 253 250", "100": "204 251 241", "200": "153 246 228", "300": "94 234 212",
            "400": "45 212 191", "500": "20 184 166", "600": "15 118 110", "700": "17 94 89",
            "800": "19 78 74", "900": "15 60 57", "950": "4 47 46",
        }
    },
}  # fmt: skip

LOGGING_CONFIG = "config.logs.configure"
LOGGING: dict[str, Any] = {"format": LOG_FORMAT, "level": LOG_LEVEL}
