"""The web process's application, with a pool of connections for its threads, each of which is bounded."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config.database import bounded, pooled

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["OPTIONS"] = pooled(bounded(settings.DATABASES["default"]["OPTIONS"]))

application = get_wsgi_application()

from interventions.watchman import Watchman  # noqa: E402 - needs every app to be loaded

# The web lives where workers and beat are dead, and can say so.
Watchman().start()
