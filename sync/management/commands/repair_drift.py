"""`manage.py repair_drift`: plan a repair, apply it, take it up again, undo it."""

import signal
import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import timezone

from sync import repair, runs, surveys
from sync.models import Run, RunState

BAR, BY = 30, "system"


class Command(BaseCommand):
    """Thin over `sync.runs` and `sync.repair`."""

    help = "Says what a repair would write; with --apply writes it, in a run that can be resumed and undone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--run", type=uuid.UUID, metavar="ID", help="take up a run that was interrupted or paused")
        choice.add_argument("--undo", type=uuid.UUID, metavar="RUN", help="give back what a run replaced")
        parser.add_argument(
            "--apply", action="store_true", help="write; without it the plan is printed and that is all"
        )

    def handle(self, *args: Any, apply: bool, **options: Any) -> None:
        """Print the plan, or work."""
        try:
            if options["run"] is not None:
                self._advance(self._taken_up(options["run"]))
            elif options["undo"] is not None:
                self._advance(runs.ask_for_undo(of=options["undo"], by=BY))
            elif apply:
                run = runs.write_plan(run_id=runs.ask_for_repair(by=BY).pk)
                self._print_plan(run.plan)
                self._advance(runs.switch(run_id=run.pk, action="start", by=BY, at=timezone.now()))
            else:
                self._print_plan(surveys.everybody().as_json())
                self.stdout.write("Nothing was written. `repair_drift --apply` writes it.")
        except Run.DoesNotExist:
            raise CommandError("There is no such run.", returncode=2) from None
        except runs.WrongState:
            raise CommandError("The run is not in a state in which that can be done.", returncode=2) from None
        except Error as error:
            raise CommandError(f"The database did not go along: {type(error).__name__}.", returncode=2) from error

    def _taken_up(self, run_id: uuid.UUID) -> Run:
        run = Run.objects.get(pk=run_id)
        action = "start" if run.state == RunState.PLANNED else "resume"
        return runs.switch(run_id=run_id, action=action, by=BY, at=timezone.now(), for_workers=False)

    def _advance(self, run: Run) -> None:
        """Work until the run is done or somebody pauses it; Ctrl-C pauses it too."""
        self.stdout.write(f"Run {run.pk}")
        self.stdout.flush()
        # A step under way is finished first: Ctrl-C pauses, it does not break off.
        stopped: list[int] = []
        before = signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
        try:
            while not stopped and repair.advance(run.pk):
                run.refresh_from_db()
                self._show(run)
        finally:
            signal.signal(signal.SIGINT, before)
        if stopped:
            runs.switch(run_id=run.pk, action="pause", by=BY, at=timezone.now())
        run.refresh_from_db()
        self._show(run, is_last=True)
        self._report(run)

    def _report(self, run: Run) -> None:
        for outcome, number in sorted(runs.report(run).items()):
            self.stdout.write(f"{outcome}: {number}")
        if run.state != RunState.DONE:
            raise CommandError(f"{RunState(run.state).label}. `repair_drift --run {run.pk}` takes it up again.")

    def _show(self, run: Run, *, is_last: bool = False) -> None:
        """Draw the bar where a person looks on."""
        if not self.stdout.isatty():
            return
        share = runs.progress(run)
        done = round(share * BAR)
        self.stdout.write(f"\r[{'#' * done}{'.' * (BAR - done)}] {share:4.0%}", ending="\n" if is_last else "")
        self.stdout.flush()

    def _print_plan(self, plan: dict[str, Any]) -> None:
        for target, kinds in plan["targets"].items():
            if kinds["out_of_reach"]:
                self.stdout.write(f"{target}: cannot be read ({kinds['out_of_reach']})")
                continue
            for fact, number in kinds["differs"].items():
                self.stdout.write(f"{target}: {fact} differs: {number}")
            for fact, number in kinds["unreadable"].items():
                self.stdout.write(f"{target}: {fact} has a source that cannot be read: {number}")
            for kind in ("missing", "owed", "accepted"):
                if kinds[kind]:
                    self.stdout.write(f"{target}: {kind}: {kinds[kind]}")
        for table, kinds in plan["strays"].items():
            for kind, number in kinds.items():
                if number:
                    self.stdout.write(f"{table}: {kind}: {number}")
        total = sum(n for kinds in plan["targets"].values() for n in kinds["differs"].values())
        self.stdout.write(f"{total} facts to write")
