"""`manage.py safety_net`: install the net, look at it, switch copying, print its SQL."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sync import net, triggers
from sync.mirrors import declaration
from sync.models import Gap

CHANGES: dict[str, tuple[Callable[[], None], str]] = {
    "install": (triggers.install, "The safety net is installed: debt on, copying on."),
    "disable": (triggers.disable, "Copying is off. Debt stays on; workers keep the copies equal."),
    "enable": (triggers.enable, "Copying is on."),
    "uninstall": (
        triggers.uninstall,
        "The safety net is removed: writes are not seen from now on. Run `safety_net install`, then"
        " `audit_drift --owe`.",
    ),
}


class Command(BaseCommand):
    """Thin over `sync.triggers` and `sync.net`."""

    help = "Installs, shows, switches or prints the safety net (the triggers that see every write)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("action", choices=[*CHANGES, "status", "sql"])
        parser.add_argument("--rollback", action="store_true", help="with sql: what switches copying off for good")

    def handle(self, *args: Any, action: str, rollback: bool, **options: Any) -> None:
        """Do the one thing that was asked for."""
        if rollback and action != "sql":
            raise CommandError("--rollback goes with sql.", returncode=2)
        if action == "sql":
            self.stdout.write(net.rollback(declaration()) if rollback else net.install(declaration()))
        elif action == "status":
            self._show()
        else:
            change, sentence = CHANGES[action]
            try:
                change()
            except triggers.NetBusy as error:
                raise CommandError(
                    "A table is held by somebody else: nothing was changed. Try again.", returncode=2
                ) from error
            self.stdout.write(sentence)

    def _show(self) -> None:
        status = triggers.status()
        width = max(len(part.name) for part in status.parts)
        for part in status.parts:
            kind = "copying" if part.is_copying else "debt"
            self.stdout.write(f"{part.kind:<9} {part.name:<{width}} {kind:<8} {part.state}")
        self.stdout.write(f"debt {status.debt}, copying {status.copying}")
        for gap in Gap.objects.filter(audited_at=None).order_by("opened_at"):
            until = f" until {gap.closed_at:%Y-%m-%d %H:%M:%S %Z}, no audit since" if gap.closed_at else ""
            self.stdout.write(f"unverified since {gap.opened_at:%Y-%m-%d %H:%M:%S %Z}: the net was off{until}")
        others = [part for part in status.parts if part.state != "installed"]
        if others:
            raise CommandError(f"{len(others)} of {len(status.parts)} parts are not installed as declared.")
