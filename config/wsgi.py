"""The web process's application, with a pool of connections for its threads."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["OPTIONS"]["pool"] = settings.WEB_POOL

application = get_wsgi_application()
