"""`make mutants`: break each promise on purpose, in a copy of the tree, and see whether its test notices."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis",
    ".import_linter_cache", ".coverage*", "*.pyc",
)  # fmt: skip
# A broken lock may make a test wait for ever; none of them takes half as long when nothing is broken.
SECONDS_A_TEST = 40


@dataclass(frozen=True)
class Mutant:
    """One way to break one promise: in `file` the only `find` becomes `replace`; then `test` must fail."""

    promise: str
    breaks: str
    file: str
    find: str
    replace: str
    test: str

    def break_in(self, tree: Path) -> str:
        """Apply the patch to a tree and give the file's text from before; raises ValueError when it does not fit."""
        path = tree / self.file
        before = path.read_text()
        if before.count(self.find) != 1:
            raise ValueError(f"{self.file} holds the text to replace {before.count(self.find)} times, not once.")
        path.write_text(before.replace(self.find, self.replace))
        return before


def listed() -> list[Mutant]:
    """Read mutants.toml."""
    return [Mutant(**mutant) for mutant in tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())["mutant"]]


def run(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests in a tree; give pytest's exit code (1: a test failed) and its last words."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        f"--timeout={SECONDS_A_TEST}",
        # A busy machine may take as long to start the servers, and a start that is cut off is no verdict.
        "-o",
        "timeout_func_only=true",
        *tests,
    ]
    done = subprocess.run(
        command,
        cwd=tree,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    words = [line for line in done.stdout.splitlines() if re.match(r"(E  |FAILED|ERROR|\d+ )", line)]
    return done.returncode, " ".join(words[-1:]) or done.stderr[-200:]


def verdict(mutant: Mutant, tree: Path) -> str:
    """Break the tree, run the test, mend the tree; give `caught`, or what is wrong instead."""
    try:
        before = mutant.break_in(tree)
    except ValueError as error:
        return f"STALE: {error}"
    try:
        code, words = run(tree, [mutant.test])
    finally:
        (tree / mutant.file).write_text(before)
    if code == 1:
        return "caught"
    return "SURVIVED" if code == 0 else f"NOT RUN (pytest says {code}): {words}"


def verdicts(mutants: Sequence[Mutant], tree: Path) -> Iterator[str]:
    """Give each mutant's verdict, in their order; as many at once as there are processors, each in a tree of its own."""
    free: Queue[Path] = Queue()
    for number in range(os.cpu_count() or 1):
        free.put(shutil.copytree(tree, tree.with_name(f"tree{number}")))

    def judged(mutant: Mutant) -> str:
        mine = free.get()
        try:
            return verdict(mutant, mine)
        finally:
            free.put(mine)

    with ThreadPoolExecutor(free.qsize()) as pool:
        yield from pool.map(judged, mutants)


def main() -> int:
    """Print a table; 1 when a mutant survives, or a test fails although nothing is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="P3", help="the mutants of one promise")
    parser.add_argument("--about", metavar="WORD", default="", help="the mutants whose line holds a word")
    chosen = parser.parse_args()
    mutants = [m for m in listed() if chosen.only in (None, m.promise) and chosen.about in m.breaks]
    if not mutants:
        parser.error("mutants.toml has none of these.")
    with tempfile.TemporaryDirectory(prefix="keepwell-mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        code, words = run(tree, sorted({mutant.test for mutant in mutants}))
        if code:
            print(f"Nothing was broken yet, and a test fails: {words}")
            return 1
        found = []
        for mutant, came in zip(mutants, verdicts(mutants, tree), strict=True):
            found.append(came)
            print(f"{mutant.promise:4} {came:9} {mutant.breaks}", flush=True)
    print(f"{found.count('caught')} of {len(found)} caught.")
    return int(found.count("caught") < len(found))


if __name__ == "__main__":
    raise SystemExit(main())
