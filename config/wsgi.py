"""The web process's application, with a pool of connections for its threads."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["OPTIONS"]["pool"] = settings.WEB_POOL

application = get_wsgi_application()

from interventions.watchman import Watchman  # noqa: E402 - needs every app to be loaded

# The web lives where workers and beat are dead, and can say so.
Watchman().start()
