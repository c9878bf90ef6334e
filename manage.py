#!/usr/bin/env python
"""Keepwell's commands; `python manage.py help` lists them."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Run the command; a setting that cannot be used is told in one line, not in a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if "--traceback" in sys.argv:
            raise
        # 2, as for everything that could not be found out: 1 says that something was found.
        sys.stderr.write(f"keepwell: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
