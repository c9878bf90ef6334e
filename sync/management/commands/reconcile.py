"""`manage.py reconcile PERSON`: bring one person's copies in line now."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from sync import delivery, identity, queries


class Command(BaseCommand):
    """Thin over `sync.delivery.bring_in_line`."""

    help = "Brings one person's copies in line and prints each target's state; exit 1 when something is still owed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("person", help="id or e-mail address, also an earlier one")

    def handle(self, *args: Any, person: str, **options: Any) -> None:
        """Bring in line, then say what debt and ledger say."""
        person_id = _find(person)
        delivery.bring_in_line([person_id])
        states = queries.sync_states([person_id])
        for state in states:
            why = f" ({state.last_error_code})" if state.last_error_code else ""
            self.stdout.write(f"{state.target}: {state.state}{why}")
        owed = [state for state in states if state.applies and not state.is_synced]
        if owed:
            raise CommandError(f"Still owed: {', '.join(state.target for state in owed)}.")


def _find(person: str) -> int:
    users = get_user_model()._default_manager
    try:
        found = users.get(pk=int(person)) if person.isdecimal() else users.get_by_natural_key(person)
    except get_user_model().DoesNotExist:
        person_id = identity.find_by_address(person)
        if person_id is None:
            raise CommandError("There is no such person.", returncode=2) from None
        return person_id
    return int(found.pk)
