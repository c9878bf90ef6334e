"""What Django, Celery and the admin run with; what may be given from outside is declared in `config.declared`."""

import sys
from pathlib import Path
from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

from config import declared, embedded, stand_ins
from config.accounts import *
from config.declared import *

EVENTS_PORT = PORT + 1

SECRET_KEY = declared.SECRET_KEY or embedded.secret_key(VAR_DIR, required=not DEBUG)
DATABASE_URL_GIVEN, REDIS_URL_GIVEN = bool(declared.DATABASE_URL), bool(declared.REDIS_URL)
DATABASE_URL = declared.DATABASE_URL or embedded.database_url(VAR_DIR)
REDIS_URL = declared.REDIS_URL or embedded.redis_url(VAR_DIR)
# In the demo alone: what no address is given for is stood in for, once a copy has been started here.
STOOD_IN_FOR = stand_ins.wanted(globals())
STAND_INS = stand_ins.addresses(VAR_DIR, STOOD_IN_FOR)
globals().update(stand_ins.configured(STAND_INS, SECRET_KEY))

IS_WORKER = Path(sys.argv[0]).name == "celery" or "celery" in sys.argv[:2]
DATABASES: dict[str, dict[str, Any]] = {
    "default": ENV.source.db_url_config(DATABASE_URL, engine="django.db.backends.postgresql")
}
DATABASES["default"] |= {
    "CONN_MAX_AGE": 600 if IS_WORKER else 0,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": DATABASES["default"].get("OPTIONS", {}) | {"connect_timeout": 2, "application_name": "keepwell"},
}

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
    "carry": {"task": "sync.tasks.carry", "schedule": SYNC_SWEEP_SECONDS, "options": {"queue": "normal", "expires": 30}},
    "link": {"task": "sync.tasks.link", "schedule": 60, "options": {"queue": "normal", "expires": 60}},
    "identity": {"task": "therapists.tasks.review_identity", "schedule": IDENTITY_SECONDS, "options": {"queue": "normal", "expires": 60}},
    "renew-secrets": {"task": "sync.tasks.renew_secrets", "schedule": 3600, "options": {"queue": "low", "expires": 3600}},
    "forget-events": {"task": "sync.tasks.forget_events", "schedule": 60, "options": {"queue": "low", "expires": 60}},
    "prune": {"task": "sync.tasks.prune", "schedule": 3600, "options": {"queue": "low", "expires": 3600}},
    "remove-unused-avatars": {"task": "therapists.tasks.remove_unused_avatars", "schedule": 3600, "options": {"queue": "low", "expires": 3600}},
    "forget-ended-sessions": {"task": "therapists.tasks.forget_ended_sessions", "schedule": 3600, "options": {"queue": "low", "expires": 3600}},
    "advance-runs": {
        "task": "sync.tasks.advance_runs", "schedule": 5, "options": {"queue": "low", "expires": 5},
    },
    "advance-retry-runs": {
        "task": "sync.tasks.advance_retry_runs", "schedule": 2, "options": {"queue": "normal", "expires": 2},
    },
    "follow-causes": {
        "task": "sync.tasks.follow_causes", "schedule": 5, "options": {"queue": "normal", "expires": 5},
    },
    "alert": {
        "task": "interventions.tasks.alert", "schedule": ALERT_SECONDS,
        "options": {"queue": "normal", "expires": ALERT_SECONDS},
    },
    "prune-alerts": {"task": "interventions.tasks.prune_alerts", "schedule": 3600, "options": {"queue": "low", "expires": 3600}},
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
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.headless",
    "allauth.mfa",
    "axes",
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
    "interventions.middleware.MeasureRequests",
    "interventions.middleware.CountFailures",
    "interventions.api.outside.ProblemsOnly",
    "interventions.api.together.Together",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.csp.allow_eval_in_admin",
    "therapists.middleware.Sessions",
    "therapists.middleware.Looks",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "therapists.accounts.answers.SignInProblems",
    "allauth.account.middleware.AccountMiddleware",
    "therapists.accounts.door.Door",
    "therapists.middleware.ReadersZone",
    "therapists.middleware.SecondFactor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
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

if EMAIL_URL:
    globals().update(ENV.source.email_url_config(EMAIL_URL))
elif DEBUG:
    # The web's log shows the letters.
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

AUTH_USER_MODEL = "therapists.User"
# An address is unique by its normal form, which the check cannot see.
SILENCED_SYSTEM_CHECKS = ["auth.E003", "auth.W004"]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not DEBUG
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^metrics$"]  # probes speak plain HTTP to the process itself
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HSTS_SUBDOMAINS and not DEBUG
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"

# unfold's Alpine build compiles expressions, which needs 'unsafe-eval'; docs/decisions/0006 says where that is allowed.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "connect-src": [
            "'self'",
            *sorted({EVENTS_URL, EVENTS_URL.replace("//127.0.0.1:", "//localhost:")} - {""}),
        ],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = ["config.formats"]
USE_I18N = True
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
MEDIA_URL = "/media/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Whatever keeps them, avatars are served by our own address, with headers that let nothing in them run.
_SCHEME, _, _SITE = BASE_URL.rstrip("/").partition("//")
MEDIA_STORES: dict[str, dict[str, Any]] = {
    "files": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "s3": {
        "BACKEND": "therapists.images.bucket.Bucket",
        "OPTIONS": {
            "bucket_name": MEDIA_BUCKET, "endpoint_url": MEDIA_ENDPOINT or None, "region_name": MEDIA_REGION or None,
            "access_key": MEDIA_ACCESS_KEY or None, "secret_key": MEDIA_SECRET_KEY or None, "default_acl": None,
            "file_overwrite": False, "custom_domain": _SITE + MEDIA_URL.rstrip("/"), "url_protocol": _SCHEME,
        },
    },
}  # fmt: skip
STORAGES = {
    "default": MEDIA_STORES[MEDIA_STORE],
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage" if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}  # fmt: skip
# Said here, for tests switch DEBUG off later: each client of theirs would look through all files first.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 * 2**20

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "therapists.api.authentication.WholeSession",
        "therapists.api.authentication.SessionToken",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["interventions.api.limits.CallerLimit"],
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
    # Four things have a state: what needs a person, its cause, a bulk retry, and a booking.
    "ENUM_NAME_OVERRIDES": {
        "BookingState": "therapists.models.BookingState",
        "InterventionState": "interventions.models.State",
        "CauseState": "interventions.models.CauseState",
        "RunState": "interventions.models.RetryState",
    },
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Keepwell",
    "SITE_HEADER": "Keepwell",
    "SITE_SUBHEADER": "Every copy equal",
    "SITE_SYMBOL": "health_and_safety",
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("sync/mark.svg")}],
    "SCRIPTS": [
        lambda _: static("interventions/reach.js"),
        lambda _: static("interventions/keys.js"),
    ],
    "DASHBOARD_CALLBACK": "sync.admin.front.callback",
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "config.navigation.groups"},
    "ACCOUNT": {"navigation": "therapists.admin.own.links"},
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
LOGGING: dict[str, Any] = {"format": LOG_FORMAT, "level": LOG_LEVEL, "is_open": DEBUG}
