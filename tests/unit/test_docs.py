"""The documents: links lead somewhere, lists are complete, words are in order, and nothing private is in them."""

import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("config", "therapists", "sync", "interventions")
LONGEST_DECISION = 40
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<img[^>]+src=\"([^\"]+)\"")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
DECISION_PARTS = ("## Context", "## Decision", "## Rejected", "## How we would know we were wrong")
# What a document must not hold: places of one machine, a package index, numbers of somebody's task list.
PRIVATE = re.compile(
    "|".join(
        [*(re.escape(f"{path}/") for path in (ROOT, tempfile.gettempdir())), "/simple/", "index-url", r"\bissues? \d+"]
    ),
    re.IGNORECASE,
)


def documents() -> list[Path]:
    beside = [path for app in APPS for path in (ROOT / app).rglob("README.md")]
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *beside])


def links(text: str) -> Iterator[str]:
    for written, picture in LINK.findall(CODE.sub("", text)):
        target = written or picture
        if not re.match(r"[a-z]+:", target):
            yield target


def headings(path: Path) -> set[str]:
    """Give the anchors of a document's headings, as the usual renderers make them."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    words = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in words}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
class TestEveryDocument:
    def test_links_to_files_that_exist(self, path: Path) -> None:
        lost = []
        for link in links(path.read_text()):
            name, _, anchor = unquote(link).partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in headings(target)):
                lost.append(link)
        assert lost == []

    def test_names_no_machine_no_index_and_no_task(self, path: Path) -> None:
        assert PRIVATE.findall(path.read_text()) == []


class TestTheGlossary:
    def entries(self) -> list[str]:
        text = (ROOT / "docs" / "glossary.md").read_text()
        return re.findall(r"^- \*\*(.+?)\*\*: \S.*\.$", text, flags=re.MULTILINE)

    def test_gives_each_word_one_line(self) -> None:
        lines = [line for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line.startswith("- ")]
        assert len(lines) == len(self.entries())

    def test_is_alphabetical_and_names_no_word_twice(self) -> None:
        words = self.entries()
        assert words == sorted(set(words), key=str.casefold)

    @pytest.mark.parametrize(
        "word",
        ["fact", "place", "source", "copy", "mirror", "target", "revision", "debt", "ledger", "owed", "drift", "reconcile",
         "repair", "net", "person", "run", "keyed request", "attempt", "outcome", "item", "cause", "breaker", "parked",
         "strict operation", "degraded", "flow", "pair", "fold", "claim", "routine", "handshake"],
    )  # fmt: skip
    def test_explains(self, word: str) -> None:
        assert word in self.entries()


class TestTheDecisions:
    def pages(self) -> list[Path]:
        return sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))

    def test_are_numbered_without_a_hole(self) -> None:
        assert [int(page.name[:4]) for page in self.pages()] == list(range(1, len(self.pages()) + 1))

    def test_say_context_decision_alternatives_and_what_would_prove_them_wrong(self) -> None:
        incomplete = {p.name: [part for part in DECISION_PARTS if part not in p.read_text()] for p in self.pages()}
        assert {name: parts for name, parts in incomplete.items() if parts} == {}

    def test_are_short(self) -> None:
        lengths = {page.name: len(page.read_text().splitlines()) for page in self.pages()}
        assert {name: length for name, length in lengths.items() if length > LONGEST_DECISION} == {}


class TestTheListOfDependencies:
    def declared(self) -> set[str]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        lines: list[str] = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
        for extra in project["project"].get("optional-dependencies", {}).values():
            lines += extra
        return {re.split(r"[\[=<>!~; ]", line)[0].lower() for line in lines}

    def test_has_one_line_of_reason_for_each_direct_dependency(self) -> None:
        text = (ROOT / "docs" / "dependencies.md").read_text()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
        listed = {row[0]: row for row in rows if row[0] != "package"}
        assert sorted(listed) == sorted(self.declared())
        assert {name: row for name, row in listed.items() if len(row) != 4 or not all(row)} == {}
