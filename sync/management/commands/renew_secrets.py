"""`manage.py renew_secrets`: seal the directories' secrets by the newest key, at once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sync import endpoints


class Command(BaseCommand):
    """Thin over `sync.endpoints`; beat does the same every hour."""

    help = "Seals secrets of directories by the first of ENDPOINT_KEYS; 1 where one is left that no key opens."

    def handle(self, *args: Any, **options: Any) -> None:
        """Say how many were sealed anew."""
        found = endpoints.renew_secrets()
        self.stdout.write(f"{found.sealed} sealed anew.")
        if found.unopened:
            raise CommandError(
                f"No key opens a secret of: {', '.join(found.unopened)}. Make each a new one at the desk."
            )
