"""The rollout guide: what it tells people to run is run here, as it stands there."""

import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands, load_command_class

from sync import net, repair, triggers
from sync.mirrors import declaration
from sync.models import Debt
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile

pytestmark = pytest.mark.django_db(transaction=True)
GUIDE = (Path(settings.BASE_DIR) / "docs" / "rollout.md").read_text()
BLOCKS = re.findall(r"^```(\w+)(?: ([\w-]+))?\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)


def blocks(kind: str, word: str) -> list[str]:
    return [text for found, given, text in BLOCKS if (found, given) == (kind, word)]


def commands(*words: str) -> list[list[str]]:
    lines = [line for word in words for text in blocks("bash", word) for line in text.splitlines()]
    return [shlex.split(line.removeprefix("python manage.py ")) for line in lines]


@pytest.mark.parametrize("command", commands("run"), ids=" ".join)
def test_a_command_ends_well_where_everything_is(command: list[str]) -> None:
    therapists(2)
    call_command(*command, stdout=StringIO())


def test_the_first_weeks_figures_are_told_and_judged() -> None:
    therapists(2)
    (command,) = commands("run-any")
    said = StringIO()
    call_command(*command, stdout=said)
    assert "bio: 100 % consistent (2 of 2)" in said.getvalue()
    with fakes.asleep():
        fakes.sql("UPDATE therapist_profiles SET bio = 'other'")
    with pytest.raises(CommandError, match="Not on target"):
        call_command(*command, stdout=StringIO())


def test_one_person_is_brought_in_line() -> None:
    person = therapists(1)[0]
    (command,) = commands("person")
    said = StringIO()
    call_command(*[word.replace("PERSON", str(person.pk)) for word in command], stdout=said)
    assert "therapist_profiles: in_sync" in said.getvalue()


def test_the_repair_writes_and_is_given_back() -> None:
    person = therapists(1)[0]
    with fakes.asleep():
        fakes.sql("UPDATE therapist_profiles SET bio = 'other'")
    said = StringIO()
    (command,) = commands("")
    call_command(*command, stdout=said)
    assert Profile.objects.get(user=person).bio == Enrollment.objects.get(user=person).bio
    run = re.search(r"Run (\S+)", said.getvalue())
    assert run
    call_command("repair_drift", undo=run[1], stdout=StringIO())
    assert Profile.objects.get(user=person).bio == "other"


def test_the_indexes_are_the_declared_ones() -> None:
    (text,) = blocks("sql", "concurrently")
    given = [line.removesuffix(";") for line in text.splitlines()]
    assert given == net.indexes(declaration(), concurrently=True)
    for statement in given:
        fakes.sql(statement)


def test_p4_the_rollback_runs_verbatim_and_loses_nothing() -> None:
    person = therapists(1)[0]
    (text,) = blocks("sql", "rollback")
    try:
        fakes.sql(text)
        assert (triggers.status().debt, triggers.status().copying) == ("on", "off")
        fakes.psql(f"UPDATE therapist_enrollments SET bio = 'After the rollback.' WHERE user_id = {person.pk}")
        assert Debt.objects.exists()
        fakes.settled()
        assert Profile.objects.get(user=person).bio == "After the rollback."
    finally:
        triggers.install()
    assert triggers.status().copying == "on"
    assert repair.audit(owe=False)["therapist_profiles"] == 0


def test_names_no_command_or_option_that_is_not_there() -> None:
    for name, options in re.findall(r"manage\.py (\w+)((?: --?[\w-]+)*)", GUIDE):
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(options.split()) <= known, (name, options)


@pytest.mark.parametrize(
    "part",
    ["Before you deploy", "The steps", "Test procedures", "The first 48 hours", "The first week", "Rollback",
     "Troubleshooting", "What to tell"],
)  # fmt: skip
def test_has_the_part(part: str) -> None:
    assert f"\n## {part}\n" in GUIDE
