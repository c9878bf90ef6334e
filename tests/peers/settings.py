"""Django's settings in a peer's process: the tables of the therapist, the peer's own app, and nothing of Keepwell."""

import os
from urllib.parse import urlsplit

from tests.peers.registry import peer

_PEER = peer(os.environ["PEER"])
_DATABASE = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "of-a-benchmark"
DEBUG = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "peers.User"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "tests.peers", *_PEER.apps]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _DATABASE.path.lstrip("/"),
        "USER": _DATABASE.username,
        "PASSWORD": _DATABASE.password,
        "HOST": _DATABASE.hostname,
        "PORT": _DATABASE.port,
        "CONN_MAX_AGE": 600,
    }
}
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}}
CELERY_BROKER_URL = os.environ["REDIS_URL"]
globals().update(_PEER.settings)
