"""Everything that proves Keepwell, piece by piece: what `make test` runs."""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

# Name to command line, cheapest first: a slip should be told within seconds.
PIECES: dict[str, list[str]] = {
    "style": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "imports": ["lint-imports", "--no-logo"],
    "types": ["mypy", "."],
    # Whether the models have moved is read from files: that no server runs is no matter.
    "migrations": ["-W", "ignore:Got an error checking a consistent migration history:RuntimeWarning",
                   "manage.py", "makemigrations", "--check", "--dry-run"],
    "schema": ["manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null"],
    "tests": ["-m", "pytest"],
}  # fmt: skip
# Only where it is asked for by name: the tracer took two and a half minutes of a run of fourteen.
COVERAGE = {"coverage": [*PIECES["tests"], "--cov", "--cov-report=term:skip-covered"]}
TESTS = {"tests", *COVERAGE}
# A process of tests for each core and one more, because they wait a good deal; each has servers of its own.
SIDE_BY_SIDE = ["-n", str(min((os.cpu_count() or 1) + 1, 4)), "--dist", "loadscope", "--no-loadscope-reorder"]


class Command(BaseCommand):
    """Run every piece, say which failed, and fail if one did."""

    help = "Run every check; exit code 1 when one fails."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Offer one piece alone."""
        parser.add_argument("--only", choices=[*PIECES, *COVERAGE], help="Run this piece alone.")

    def handle(self, *args: object, **options: str | None) -> None:
        """Run the pieces; raises CommandError naming those that failed."""
        wanted = [options["only"]] if options["only"] else list(PIECES)
        checks = [name for name in wanted if name not in TESTS]
        # A check keeps one processor busy and leaves the others idle.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            passed = dict(zip(checks, pool.map(self._passes, checks), strict=True))
        passed |= {name: self._passes(name) for name in wanted if name in TESTS}
        if failed := [name for name in wanted if not passed[name]]:
            raise CommandError(f"Not verified: {', '.join(failed)}.", returncode=1)
        self.stdout.write(f"Verified: {', '.join(wanted)}.")

    def _passes(self, name: str) -> bool:
        started = time.monotonic()
        # pytest would read the settings for this name before the tests' own servers are in the environment.
        environment = {word: value for word, value in os.environ.items() if word != "DJANGO_SETTINGS_MODULE"}
        # Servers that somebody named are there once.
        is_alone = bool(environment.get("DATABASE_URL") and environment.get("REDIS_URL"))
        words = (PIECES | COVERAGE)[name] + (SIDE_BY_SIDE if name in TESTS and not is_alone else [])
        # What checks say beside each other is shown when they end; how tests go on is seen as they do.
        kept = None if name in TESTS else subprocess.PIPE
        done = subprocess.run(
            _command(words), cwd=settings.BASE_DIR, env=environment, check=False,
            stdout=kept, stderr=kept and subprocess.STDOUT, text=True,
        )  # fmt: skip
        verdict = "ok" if done.returncode == 0 else "FAILED"
        self.stdout.write(f"{done.stdout or ''}== {name}: {verdict} in {time.monotonic() - started:.0f} s")
        self.stdout.flush()
        return done.returncode == 0


def _command(words: list[str]) -> list[str]:
    if words[0] in {"manage.py", "-m", "-W"}:
        return [sys.executable, *words]
    module = {"lint-imports": ["-c", "from importlinter.cli import lint_imports_command as run; run()"]}
    return [sys.executable, *module.get(words[0], ["-m", words[0]]), *words[1:]]
