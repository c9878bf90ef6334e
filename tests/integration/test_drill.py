"""The drill breaks one target for real: the person is answered as ever, an intervention comes, and goes when mended."""

import os
import subprocess
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from interventions.models import Intervention, Resolution
from tests import fakes
from tests.factories import Cast
from therapists import drill
from therapists.models import Enrollment

NAMES = ["refuse", "rename", "lock", "hang"]
# Far below any wait for a lock or a timeout; the exact bound is measured where nothing else runs.
NORMAL_MS = 400


@pytest.fixture(autouse=True)
def _mended(settings: Any, transactional_db: None) -> Iterator[None]:
    settings.DEBUG = True
    yield
    drill.mend_all()


def on() -> set[str]:
    return {fault.name for fault in drill.faults() if fault.is_on}


def holders() -> int:
    return int(fakes.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'keepwell drill%%'")[0][0])


class TestFaults:
    def test_are_four_told_in_words_and_off(self) -> None:
        assert [fault.name for fault in drill.faults()] == NAMES
        assert all(fault.title and len(fault.explanation) > 40 for fault in drill.faults())
        assert on() == set()

    @pytest.mark.parametrize("name", NAMES)
    def test_come_and_go_and_twice_is_once(self, name: str) -> None:
        for change, expected in ((drill.break_target, {name}), (drill.mend, set())):
            change(name)
            assert on() == expected
            change(name)
            assert on() == expected
        assert holders() == 0

    def test_all_of_them_are_mended_at_once(self) -> None:
        for name in ("refuse", "rename", "lock"):
            drill.break_target(name)
        assert on() == {"refuse", "rename", "lock"}
        drill.mend_all()
        assert on() == set()

    def test_a_held_table_blocks_the_others_and_says_so(self) -> None:
        drill.break_target("lock")
        with pytest.raises(drill.DrillBlocked, match="Mend the faults that lock it first"):
            drill.break_target("refuse")
        drill.mend("lock")
        drill.break_target("refuse")
        assert on() == {"refuse"}

    @pytest.mark.parametrize("act", [drill.break_target, drill.mend, drill.hold])
    def test_unknown_ones_are_refused(self, act: Any) -> None:
        with pytest.raises(drill.UnknownFault):
            act("sabotage")

    def test_p10_nothing_is_broken_when_debug_is_off(self, settings: Any) -> None:
        settings.DEBUG = False
        with pytest.raises(drill.DrillForbidden):
            drill.break_target("refuse")
        with pytest.raises(CommandError, match="DEBUG is off"):
            call_command("drill", "break", "refuse")
        assert on() == set()

    def test_a_holder_is_no_child_of_whoever_started_it(self) -> None:
        drill.break_target("lock")
        children = subprocess.run(
            ["ps", "-ww", "-eo", "ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        parents = [int(line.split()[0]) for line in children.splitlines() if line.endswith("drill hold lock")]
        assert parents
        assert os.getpid() not in parents


class TestADrill:
    @pytest.mark.parametrize(
        ("name", "code"), [("refuse", "23514"), ("rename", "42703"), ("lock", "55P03"), ("hang", "55P03")]
    )
    def test_p3_the_edit_is_kept_an_intervention_comes_and_goes(self, cast: Cast, name: str, code: str) -> None:
        fakes.settled()
        drill.break_target(name)
        assert fakes.milliseconds(lambda: self.edit(cast)) < NORMAL_MS
        assert Enrollment.objects.get(user=cast.ada).bio == "Edited during the drill."
        assert fakes.states(cast.ada.pk)["therapist_profiles"] in {"due", "backing_off", "blocked"}
        for _ in range(5):
            fakes.settled()
        item = Intervention.objects.get(person_id=cast.ada.pk, target="therapist_profiles")
        assert (item.resolved, item.code) == (False, code)
        drill.mend(name)
        fakes.settled()
        item.refresh_from_db()
        assert (item.resolved, item.resolution) == (True, Resolution.AUTO)
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "in_sync"

    def edit(self, cast: Cast) -> None:
        enrollment = Enrollment.objects.get(user=cast.ada)
        enrollment.bio = "Edited during the drill."
        enrollment.save(update_fields=["bio", "updated_at"])


class TestTheCommand:
    def test_says_what_is_broken(self) -> None:
        output = StringIO()
        call_command("drill", "break", "refuse", stdout=output)
        assert [line.split()[:2] for line in output.getvalue().splitlines()] == [
            ["refuse", "ON"], ["rename", "off"], ["lock", "off"], ["hang", "off"],
        ]  # fmt: skip
        call_command("drill", "mend-all", stdout=output)
        assert on() == set()

    def test_names_the_known_faults(self) -> None:
        with pytest.raises(CommandError, match="refuse, rename, lock, hang") as refusal:
            call_command("drill", "mend", "sabotage")
        assert refusal.value.returncode == 2
