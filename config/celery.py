"""The Celery application. Messages are doorbells that carry ids; PostgreSQL owns what is due and when."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("keepwell")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
