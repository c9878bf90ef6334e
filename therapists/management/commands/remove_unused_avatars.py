"""Delete avatar files that no place has named for a day."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from therapists import images


class Command(BaseCommand):
    """Runs nightly; harmless at any time."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete, and say how many; fails without deleting where a place cannot be read."""
        self.stdout.write(f"Removed {images.remove_unused_avatars(at=timezone.now())} unused avatars.")
