"""The shape of the code: sizes, names and places that no linter knows."""

import ast
import statistics
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("config", "therapists", "sync", "interventions")
MODULE_LINES, TEST_MODULE_LINES, FUNCTION_LINES, TASK_LINES = 300, 400, 50, 8
BANNED_MODULES = {"utils", "helpers", "common", "misc", "services", "managers"}
BANNED_VERBS = {"process", "handle", "do", "manage", "perform"}
# Frameworks call these by name.
GIVEN_NAMES = {"handle", "perform_content_negotiation", "process_exception", "process_response", "process_view"}
# Imports that must wait: until the apps are loaded, or for a program that need not be there.
LOCAL_IMPORTS = {"manage.py", "config/settings.py", "sync/apps.py", "therapists/apps.py", "interventions/apps.py"}
TOP_LEVEL = {"manage.py", "pyproject.toml", "config", "therapists", "sync", "interventions", "templates", "tests"}


def modules(*folders: str) -> list[Path]:
    found = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
    return sorted(p for p in found if "migrations" not in p.parts)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring, which is for its caller."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_modules_stay_small() -> None:
    sizes = {name(p): len(p.read_text().splitlines()) for p in modules(*APPS)}
    assert {n: s for n, s in sizes.items() if s > MODULE_LINES} == {}
    assert statistics.median(s for s in sizes.values() if s > 3) <= 120


def test_test_modules_stay_small() -> None:
    sizes = {name(p): len(p.read_text().splitlines()) for p in modules("tests")}
    assert {n: s for n, s in sizes.items() if s > TEST_MODULE_LINES} == {}


def test_functions_stay_small() -> None:
    sizes = {f"{name(p)}:{f.name}": length(f) for p in modules(*APPS) for f in functions(p)}
    assert {n: s for n, s in sizes.items() if s > FUNCTION_LINES} == {}
    ordered = sorted(sizes.values())
    assert ordered[len(ordered) * 9 // 10] <= 30


def test_task_bodies_only_call() -> None:
    sizes = {f"{name(p)}:{f.name}": length(f) - 1 for p in modules(*APPS) if p.stem == "tasks" for f in functions(p)}
    assert sizes, "no tasks found"
    assert {n: s for n, s in sizes.items() if s > TASK_LINES} == {}


def test_no_module_is_a_drawer() -> None:
    assert [
        name(p) for p in modules(*APPS, "tests") if p.stem in BANNED_MODULES or p.parent.name in BANNED_MODULES
    ] == []


def test_no_function_hides_behind_an_empty_verb() -> None:
    found = [
        f"{name(p)}:{f.name}"
        for p in modules(*APPS)
        for f in functions(p)
        if f.name.lstrip("_").split("_")[0] in BANNED_VERBS and f.name not in GIVEN_NAMES
    ]
    assert found == []


def test_imports_stand_at_the_top() -> None:
    found = {
        name(p)
        for p in modules(*APPS)
        for f in functions(p)
        for node in ast.walk(f)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert found - LOCAL_IMPORTS == set()


def test_broad_excepts_stand_only_at_the_isolation_points() -> None:
    found = {
        name(p)
        for p in modules(*APPS)
        for node in ast.walk(ast.parse(p.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
    }
    assert found == {"sync/receivers.py", "sync/fallback.py"}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name(p) for p in modules(*APPS) if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize("app", ["therapists", "sync", "interventions"])
def test_every_app_explains_itself_on_one_page(app: str) -> None:
    assert len((ROOT / app / "README.md").read_text().splitlines()) <= 60


def test_every_direct_dependency_has_its_line_of_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    wanted = tomllib.loads(text)["project"]["dependencies"]
    reasons = [line for line in text.splitlines() if line.strip().startswith('"') and "==" in line and "#" in line]
    assert len(reasons) == len(wanted)


def test_the_locks_name_no_host() -> None:
    locks = [*ROOT.glob("requirements*.lock"), *(ROOT / "tests" / "peers" / "locks").iterdir()]
    assert len(locks) > 4
    assert [name(lock) for lock in locks if "://" in lock.read_text()] == []


def test_the_top_level_is_as_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    found = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    beside = {
        n for n in found if n.startswith(".") or n.endswith((".md", ".lock")) or n in {"LICENSE", "Makefile", "docs"}
    }
    assert found >= TOP_LEVEL
    assert found - beside == TOP_LEVEL
