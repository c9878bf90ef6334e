"""The Celery application. Messages are doorbells that carry ids; PostgreSQL owns what is due and when."""

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("keepwell")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@task_prerun.connect(dispatch_uid="keepwell.sessions")
def look_after_sessions(**_: Any) -> None:
    """
    Let each task begin with a session that works, as each request does.

    Connections are kept between tasks, and Django opens a new one only where it was told that the old one is broken: a
    worker that was idle while PostgreSQL went down would fail every task from then on.
    """
    close_old_connections()
