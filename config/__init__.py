"""Keepwell's project: settings, entry points and the launcher."""

import gc

# What a start imports stays for as long as the process: to look through it for garbage after each 700 objects was a
# sixth of every start. Set before the first import that counts.
gc.set_threshold(50_000, 20, 20)

from config.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
