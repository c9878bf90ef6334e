"""`manage.py drill`: break one target on purpose, and mend it."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from therapists import drill, outages


class Command(BaseCommand):
    """Thin over `therapists.drill`."""

    help = "Breaks the profile table or a service of the demo on purpose and mends it; refused when DEBUG is off."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("action", choices=["list", "break", "mend", "mend-all", "hold"])
        parser.add_argument(
            "name",
            nargs="?",
            default="",
            help="refuse, rename, lock or hang; or a service and how it fails, as in listing:5xx",
        )

    def handle(self, *args: Any, action: str, name: str, **options: Any) -> None:
        """Do the one thing that was asked for, then say what is broken."""
        if not settings.DEBUG:
            raise CommandError(drill.DrillForbidden.__doc__ or "")
        if action == "hold":
            hold(name)
            return
        try:
            if action == "break":
                drill.break_target(name)
            elif action == "mend":
                drill.mend(name)
            elif action == "mend-all":
                drill.mend_all()
        except drill.UnknownFault:
            known = ", ".join(drill.names())
            raise CommandError(f"There is no fault {name!r}: choose from {known}.", returncode=2) from None
        except (drill.DrillBlocked, outages.ServiceAway) as error:
            raise CommandError(str(error)) from error
        for fault in drill.faults():
            self.stdout.write(f"{fault.name:<7} {'ON ' if fault.is_on else 'off'}  {fault.title}")
        for service in drill.services():
            word = "away" if service.is_away else "ON " if service.way else "off"
            said = f"{service.title}: {service.way.name}, {service.way.title}" if service.way else service.title
            self.stdout.write(f"{service.name:<7} {word}  {said}")


def hold(name: str) -> None:
    """Let go of whoever started us, then hold the locks."""
    if os.fork() == 0:
        os.setsid()
        drill.hold(name)
