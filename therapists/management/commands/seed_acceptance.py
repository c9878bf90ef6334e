"""`manage.py seed_acceptance`: the cast, and headers that sign calls in as each of them."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from therapists.demo.cast import CAST, PASSWORD, seed_cast, signed_in, totp_secret


class Command(BaseCommand):
    """Thin over `therapists.demo.cast`."""

    help = "Makes the acceptance cast and prints their sign-ins as JSON; refused when DEBUG is off."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the cast, sign everybody in, print."""
        if not settings.DEBUG:
            raise CommandError("Refused: known passwords are for development only, and DEBUG is off.")
        cast = seed_cast()
        answer = {
            member.key: {
                "id": cast[member.key].pk, "email": member.email, "password": PASSWORD,
                # Before the session, which has shown it.
                "totp_secret": totp_secret(cast[member.key]), "headers": signed_in(cast[member.key]),
            }
            for member in CAST
        }  # fmt: skip
        self.stdout.write(json.dumps(answer, indent=2))
