"""`manage.py staff list|give|withdraw|leaves|factor`: who is at the desk, for operators."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from interventions.messages import count
from therapists import staff
from therapists.models import User
from therapists.roles import ROLES


class Command(BaseCommand):
    """Thin over `therapists.staff`."""

    help = "Lists who is at the desk, gives a role, withdraws it, ends everything for somebody who leaves, or forgets a lost factor."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what can be done."""
        ways = parser.add_subparsers(dest="way", required=True)
        ways.add_parser("list", help="who may sign in to the desk, and as what")
        give = ways.add_parser("give", help="let somebody with an account work at the desk in this role alone")
        give.add_argument("address")
        give.add_argument("role", choices=list(ROLES))
        for way, told in (("withdraw", "not at the desk any more"), ("leaves", "cannot sign in to anything any more")):
            ways.add_parser(way, help=f"{told}; what they saw to is nobody's again").add_argument("address")
        lost = ways.add_parser("factor", help="forget a second factor that was lost; their sessions end")
        lost.add_argument("address")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say in numbers what came of it."""
        try:
            self.stdout.write(self._done(options["way"], options.get("address", ""), options.get("role", "")))
        except User.DoesNotExist:
            raise CommandError("Nobody signs in with this address.", returncode=2) from None
        except staff.LastSuperuser:
            raise CommandError(
                "Nobody else may do everything: make another superuser first (createsuperuser)."
            ) from None

    def _done(self, way: str, address: str, role: str) -> str:
        if way == "list":
            lines = [f"{who.email}: {role or 'no role'}, {_last(who)}" for who, role in staff.listed()]
            return "\n".join(lines or ["Nobody."])
        if way == "give":
            staff.give(address=address, role=role, by="command")
            return f"{role}: from their next page on."
        if way == "factor":
            had = staff.withdraw_factor(address=address, by="command")
            return "Forgotten; their sessions have ended." if had else "There was none; their sessions have ended."
        gone = staff.withdraw(address=address, by="command", leaves=way == "leaves")
        left = f"{count(gone.causes, 'cause')}, {count(gone.items, 'intervention')}"
        return f"Done, from their next page on. Nobody's again: {left}."


def _last(who: User) -> str:
    return f"last signed in on {who.last_login:%Y-%m-%d}" if who.last_login else "never signed in"
