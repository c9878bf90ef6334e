"""`manage.py settings_table`: every setting with its value, default and meaning."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.declared import ENV


class Command(BaseCommand):
    """Prints what `config.declared` declares; values of secrets are masked."""

    help = "Prints name, value (secrets masked), default and meaning of every setting."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the table as Markdown, or as JSON."""
        rows = [
            {"name": s.name, "value": s.shown, "default": _shown(s.default), "meaning": s.meaning}
            for s in sorted(ENV.declared.values(), key=lambda s: s.name)
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        self.stdout.write("| name | value | default | meaning |\n|---|---|---|---|")
        for row in rows:
            cells = (row[column].replace("|", r"\|") for column in ("name", "value", "default", "meaning"))
            self.stdout.write(f"| {' | '.join(cells)} |")


def _shown(default: object) -> str:
    return ",".join(default) if isinstance(default, list) else str(default)
