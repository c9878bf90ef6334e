"""`manage.py dev`: run a copy of Keepwell, whole or one process of it."""

import sys
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError

from config import stand_ins
from config.launcher import EVERYTHING, Launcher, LaunchError, database_in_use, redis_in_use


class Command(BaseCommand):
    """Thin over `config.launcher`."""

    help = "Runs Keepwell: servers, web, events, worker and beat; Ctrl-C stops them."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--only", choices=[*EVERYTHING, "services", stand_ins.ROLE], help="run this one in the foreground"
        )
        parser.add_argument("--env", action="store_true", help="print the addresses of the servers in use and end")
        parser.add_argument("--prepare", action="store_true", help="bring the database up to date and end")
        parser.add_argument(
            "--sign-ins", action="store_true", help="print the demo's sign-ins, if there are any, and end"
        )
        parser.add_argument("--stop-with-parent", action="store_true", help="stop also when the parent process dies")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run what was asked for."""
        if options["env"]:
            self.stdout.write(f"DATABASE_URL={database_in_use()}\nREDIS_URL={redis_in_use()}")
        elif options["prepare"]:
            prepare()
        elif options["sign_ins"]:
            call_where_known("demo_sign_ins")
        else:
            self._launch(options["only"], stop_with_parent=options["stop_with_parent"])

    def _launch(self, only: str | None, *, stop_with_parent: bool) -> None:
        launcher = Launcher(sys.stdout, stop_with_parent=stop_with_parent)
        if only == "services":
            run = launcher.run_services
        else:
            run = partial(launcher.run_one, only) if only else launcher.run_everything
        try:
            launcher.run(run)
        except LaunchError as error:
            raise CommandError(str(error)) from error


def prepare() -> None:
    """Bring the database up to date: its tables, its safety net and, in an empty one, the demo."""
    call_command("migrate", interactive=False, verbosity=0)
    if settings.DEMO and settings.DEBUG:
        call_where_known("seed_demo", "--if-empty")


def call_where_known(name: str, *arguments: str) -> None:
    """Run a command of one of the installed apps."""
    if name in get_commands():
        call_command(name, *arguments)
