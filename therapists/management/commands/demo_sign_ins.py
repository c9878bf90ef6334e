"""`manage.py demo_sign_ins`: who of the demo's people can sign in, and how."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from therapists.demo.cast import PASSWORD, present


class Command(BaseCommand):
    """Reads only."""

    help = "Prints the demo's addresses and passwords, where there are any."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line a person; nothing is told where DEBUG is off."""
        if not settings.DEBUG:
            self.stdout.write("DEBUG is off: there are no demo sign-ins.")
            return
        for member in present():
            self.stdout.write(f"{member.email:<24} {PASSWORD}   {member.does}")
