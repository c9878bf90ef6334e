"""P7: a failure that PostgreSQL does not take reaches the disk, and from there the log, once."""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from interventions import intake, spool
from interventions.models import History, Intervention, Resolution
from interventions.operations import log_manual_intervention_needed
from sync import tasks
from sync.models import Debt
from tests import fakes
from tests.anything import anything
from tests.factories import Cast, therapists
from therapists.models import Enrollment, Profile, Status

TARGET = "therapist_profiles"
REFUSED = "manual_intervention_log"


@contextmanager
def insert_revoked() -> Iterator[None]:
    """Work as a role that may do everything but add to the log."""
    fakes.sql(
        "DROP ROLE IF EXISTS no_log; CREATE ROLE no_log; GRANT ALL ON ALL TABLES IN SCHEMA public TO no_log;"
        " GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO no_log;"
        " REVOKE INSERT ON manual_intervention_log FROM no_log; SET ROLE no_log"
    )
    try:
        yield
    finally:
        fakes.sql("RESET ROLE; DROP OWNED BY no_log; DROP ROLE no_log")


def files(spool_dir: Path) -> list[Path]:
    return sorted(spool_dir.glob("*"))


def log(entity_id: object = "7", error: object = "no profile", operation: str = "approve") -> bool:
    return log_manual_intervention_needed(operation=operation, entity_id=entity_id, error=error)


@pytest.mark.usefixtures("transactional_db")
class TestARefusedRow:
    def test_p7_is_on_the_disk_and_taken_in_by_the_sweep(self, spool_dir: Path) -> None:
        with insert_revoked():
            assert log()
            assert not Intervention.objects.exists()
            tasks.sweep()
            assert spool.standing().waiting == 1, "what is still refused stays"
        tasks.sweep()
        item = Intervention.objects.get()
        assert (item.operation, item.entity_id, item.error, item.payload) == ("approve", "7", "no profile", None)
        assert History.objects.of("intervention", str(item.pk)).get().action == "opened"
        assert files(spool_dir) == []

    def test_p7_counts_only_once_it_is_synced(self, spool_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[bool] = []
        fsync = os.fsync

        def watched(handle: int) -> None:
            whole = os.fstat(handle).st_size > 100 or stat.S_ISDIR(os.fstat(handle).st_mode)
            synced.append(whole)
            fsync(handle)

        monkeypatch.setattr(os, "fsync", watched)
        spool_dir.mkdir(parents=True)
        with insert_revoked():
            assert log()
        assert synced == [True, True], "the whole file, then its name"

    @pytest.mark.parametrize("number", [1, 2])
    def test_p7_is_not_noted_when_the_disk_fails(
        self, spool_dir: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        calls = []

        def failing(handle: int) -> None:
            calls.append(handle)
            if len(calls) == number:
                raise OSError(5, "Input/output error")

        spool_dir.mkdir(parents=True)
        monkeypatch.setattr(os, "fsync", failing)
        with insert_revoked():
            assert not log()
        assert files(spool_dir) == []

    def test_p7_is_not_noted_where_the_spool_cannot_be_made(self, settings: Any, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        settings.SYNC_SPOOL_DIR = tmp_path / "file" / "spool"
        with insert_revoked():
            assert not log()
        assert not spool.is_usable()

    def test_p10_is_for_its_owner_alone_and_holds_no_address(self, spool_dir: Path) -> None:
        with insert_revoked():
            log("ada@example.org", "refused 'Ada Quist' at ada@example.org")
        (path,) = files(spool_dir)
        assert (spool_dir.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
        assert b"example.org" not in path.read_bytes()
        assert b"Quist" not in path.read_bytes()

    def test_p3_holds_nobody_up_when_the_log_is_locked(self) -> None:
        with fakes.locked_table(REFUSED):
            assert fakes.milliseconds(lambda: log()) < 1000
        assert intake.take_in().taken == 1
        assert fakes.sql("SHOW lock_timeout") == [("0",)]


class TestInATransaction:
    def test_p7_that_is_broken_the_failure_is_kept_and_nothing_else_happens(self, cast: Cast) -> None:
        with pytest.raises(DatabaseError), transaction.atomic():
            Enrollment.objects.filter(user=cast.ada).update(status=Status.REJECTED)
            try:
                fakes.sql("SELECT nonsense")
            except DatabaseError:
                assert log()
                assert not connection.needs_rollback, "whether to go on is the caller's to say"
            fakes.sql("SELECT 1")
        assert intake.take_in().taken == 1
        assert Intervention.objects.get(operation="approve").error == "no profile"

    def test_p7_the_callers_own_savepoint_still_mends_it(self, cast: Cast) -> None:
        with transaction.atomic():
            Enrollment.objects.filter(user=cast.ada).update(status=Status.REJECTED)
            before = transaction.savepoint()
            with pytest.raises(DatabaseError):
                fakes.sql("SELECT nonsense")
            assert log()
            transaction.savepoint_rollback(before)
        assert Enrollment.objects.get(user=cast.ada).status == Status.REJECTED
        assert spool.standing().waiting == 1

    def test_p7_that_must_roll_back_already(self, transactional_db: None) -> None:
        with transaction.atomic():
            transaction.set_rollback(True)
            assert log()
        assert spool.standing().waiting == 1

    def test_p3_a_locked_log_costs_no_more_than_its_bound_and_breaks_nothing(self, cast: Cast) -> None:
        with fakes.locked_table(REFUSED), transaction.atomic():
            Enrollment.objects.filter(user=cast.ada).update(status=Status.REJECTED)
            assert log()
            assert fakes.sql("SHOW lock_timeout") == [("0",)]
        assert Enrollment.objects.get(user=cast.ada).status == Status.REJECTED


@pytest.mark.usefixtures("transactional_db")
class TestTakingIn:
    def test_p7_what_was_known_when_it_failed_says_nothing_new(self) -> None:
        assert log()
        with insert_revoked():
            log()
            log("8")
        Intervention.objects.update(resolved=True)
        assert intake.take_in().taken == 2
        assert list(Intervention.objects.filter(resolved=False).values_list("entity_id", flat=True)) == ["8"]

    def test_p7_again_is_the_same_as_once_also_after_it_was_resolved(self, spool_dir: Path) -> None:
        with insert_revoked():
            log()
        (path,) = files(spool_dir)
        again = path.read_bytes()
        intake.take_in()
        Intervention.objects.update(resolved=True)
        path.write_bytes(again)
        intake.take_in()
        assert Intervention.objects.get().resolved
        assert files(spool_dir) == []

    def test_p9_what_is_refused_holds_back_nobody(self, spool_dir: Path) -> None:
        with insert_revoked():
            for number in range(40):
                log(number)
        with fakes.refusing(REFUSED, "entity_id NOT IN ('3', '17')"):
            done = intake.take_in()
            assert (done.taken, done.refused) == (38, 2)
            assert spool.standing().waiting == 2
        assert intake.take_in().taken == 2
        assert Intervention.objects.count() == 40

    @pytest.mark.parametrize("damage", [b"", b"torn", b"\xff" * 200, b"0" * 64 + b"\n[]"])
    def test_p7_what_is_torn_is_no_record_and_blocks_no_later_one(self, spool_dir: Path, damage: bytes) -> None:
        with insert_revoked():
            log("torn")
            (torn,) = files(spool_dir)
            log("whole")
        torn.write_bytes(damage)
        assert intake.take_in().taken == 1
        assert torn.exists(), "its writer may still be at it"
        os.utime(torn, (time.time() - 100,) * 2)
        assert intake.take_in().set_aside == 1
        assert [path.suffix for path in files(spool_dir)] == [".unreadable"]
        assert files(spool_dir)[0].read_bytes() == damage
        assert Intervention.objects.get().entity_id == "whole"
        assert spool.standing().unreadable == 1

    @pytest.mark.parametrize("records", [{}, {"target": 1}, [7], [{"target": "x"}], [{"id": "x"}], ["x"]])
    def test_p7_what_is_no_record_is_set_aside(self, spool_dir: Path, records: Any) -> None:
        spool.append([{}])
        (path,) = files(spool_dir)
        body = json.dumps(records or [{}]).encode()
        path.write_bytes(spool._checksum(body) + b"\n" + body)
        assert (intake.take_in().set_aside, spool.standing().unreadable) == (1, 1)

    def test_p7_a_whole_record_whose_writer_died_before_it_could_say_so_counts(self, spool_dir: Path) -> None:
        with insert_revoked():
            log()
        spool._counted.clear()
        assert intake.take_in().taken == 1


@pytest.mark.usefixtures("transactional_db")
class TestTheBound:
    def test_p9_says_what_found_no_room_and_counts_it(
        self, settings: Any, spool_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.SYNC_SPOOL_MOST = 3
        with insert_revoked():
            assert [log(number) for number in range(5)] == [True, True, True, False, False]
        assert (spool.standing().waiting, spool.standing().refused) == (3, 2)
        assert [r.getMessage() for r in caplog.records if r.levelname == "CRITICAL"] == [
            "interventions.spool.full", "interventions.log.lost",
        ] * 2  # fmt: skip
        assert intake.take_in().taken == 3, "the count is closed first and told the next time"
        assert intake.take_in().taken == 1
        item = Intervention.objects.get(operation="spool")
        assert item.payload == {"failures": 2}
        assert "2 failures found no room" in item.error
        assert spool.standing().is_empty
        assert files(spool_dir) == []


class TestTheEngine:
    @pytest.mark.parametrize("mended", [False, True])
    def test_p7_a_failure_whose_item_is_refused_is_taken_in_later(self, cast: Cast, mended: bool) -> None:
        with fakes.refusing(TARGET, "bio NOT LIKE '%refused%'"):
            with fakes.refusing(REFUSED, "target = ''"):
                Enrollment.objects.filter(user=cast.ada).update(bio="refused")
                fakes.settled()
                assert fakes.states(cast.ada.pk)[TARGET] == "blocked", "no more than its item was refused"
                assert spool.standing().waiting >= 1
            if mended:
                Enrollment.objects.filter(user=cast.ada).update(bio="fine")
                fakes.settled()
            intake.take_in()
            fakes.settled()
            item = Intervention.objects.get(person_id=cast.ada.pk, target=TARGET)
            assert (item.resolved, item.code) == (mended, "23514")
            assert item.resolution == (Resolution.AUTO if mended else None)
        assert spool.standing().is_empty

    def test_p3_a_log_that_refuses_holds_back_nobody(self, transactional_db: None, copying_off: None) -> None:
        people = therapists(20)
        with fakes.refusing(TARGET, "bio NOT LIKE '%refused%'"), fakes.refusing(REFUSED, "target = ''"):
            Enrollment.objects.filter(user=people[3]).update(bio="refused")
            Enrollment.objects.exclude(user=people[3]).update(bio="good")
            fakes.settled()
            assert Profile.objects.filter(bio="good").count() == 19
        assert not Debt.objects.exists()

    def test_p7_where_the_spool_takes_nothing_either_it_stays_owed(
        self, cast: Cast, settings: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        settings.SYNC_SPOOL_DIR = tmp_path / "file" / "spool"
        with fakes.refusing(TARGET, "bio NOT LIKE '%refused%'"), fakes.refusing(REFUSED, "target = ''"):
            Enrollment.objects.filter(user=cast.ada).update(bio="refused")
            with pytest.raises(DatabaseError):
                fakes.settled()
        assert fakes.silently_behind() <= {(cast.ben.pk, TARGET)}


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    operation=st.one_of(st.text(max_size=50), anything()), entity_id=anything(), error=anything(), payload=anything()
)
@pytest.mark.parametrize("is_refused", [False, True])
def test_p7_anything_is_one_row_or_one_record(
    transactional_db: None, is_refused: bool, operation: Any, entity_id: object, error: object, payload: object
) -> None:
    Intervention.objects.filter(resolved=False).update(resolved=True)
    before = Intervention.objects.count() + spool.standing().waiting
    with fakes.refusing(REFUSED, "resolved") if is_refused else nullcontext():
        assert log_manual_intervention_needed(operation=operation, entity_id=entity_id, error=error, payload=payload)
    assert Intervention.objects.count() + spool.standing().waiting == before + 1
    assert spool.standing().waiting == int(is_refused)
    assert intake.take_in().taken == int(is_refused)
    assert Intervention.objects.count() == before + 1


@pytest.mark.usefixtures("transactional_db")
class TestWhatIsSaid:
    def checked(self, *words: str) -> tuple[int, str]:
        try:
            call_command("check_interventions", *words)
        except CommandError as error:
            return error.returncode, str(error)
        return 0, ""

    def test_p7_the_daily_check_is_not_green_while_something_waits(self, capsys: pytest.CaptureFixture[str]) -> None:
        with insert_revoked():
            log()
        code, said = self.checked("--max", "9", "--json")
        assert (code, "1 failures wait in the spool" in said) == (1, True)
        assert json.loads(capsys.readouterr().out)["spool"]["waiting"] == 1
        call_command("take_in_spool")
        assert self.checked("--max", "9") == (0, "")

    def test_p7_taking_in_by_hand_says_what_is_left(self) -> None:
        with insert_revoked():
            log()
            with pytest.raises(CommandError, match="left"):
                call_command("take_in_spool")
