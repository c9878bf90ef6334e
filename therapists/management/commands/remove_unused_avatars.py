"""Delete avatar files that nothing has named for a day."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from therapists import images


class Command(BaseCommand):
    """Beat does the same every hour; harmless at any time."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer a look without a deletion."""
        parser.add_argument("--dry-run", action="store_true", help="Name the files, one a line, and delete none.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete or list, and say how many; fails without deleting where something that may name a file cannot be read."""
        if not options["dry_run"]:
            self.stdout.write(f"Removed {images.remove_unused_avatars(at=timezone.now())} unused avatars.")
            return
        names = list(images.unused_avatars(timezone.now() - images.KEPT_AT_LEAST))
        for name in names:
            self.stdout.write(name)
        self.stdout.write(f"{len(names)} unused avatars; nothing was removed.")
