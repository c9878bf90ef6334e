"""Addresses, ports, locks and the guard of the embedded servers: no server is started here."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.embedded import EmbeddedServerError, account, database_url, lock, postgres, program, redis_url, secret_key
from config.embedded.places import Place, is_free, kept
from tests.processes import is_alive, until

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def listening_socket(port: int = 0) -> socket.socket:
    """Listen on a port of 127.0.0.1."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


class TestAddresses:
    def test_stay_the_same_for_one_directory(self, tmp_path: Path) -> None:
        assert database_url(tmp_path) == database_url(tmp_path)
        assert redis_url(tmp_path) == redis_url(tmp_path)

    def test_differ_between_directories(self, tmp_path: Path) -> None:
        assert database_url(tmp_path / "a") != database_url(tmp_path / "b")
        assert redis_url(tmp_path / "a") != redis_url(tmp_path / "b")

    def test_are_readable_by_their_owner_only(self, tmp_path: Path) -> None:
        database_url(tmp_path)
        redis_url(tmp_path)
        secret_key(tmp_path, required=False)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
        assert modes == {0o600}

    def test_of_processes_that_come_first_together_are_equal(self, tmp_path: Path) -> None:
        barrier = threading.Barrier(8)

        def first_look(number: int) -> str:
            def make() -> str:
                barrier.wait()  # everybody has seen that there is none
                return str(number)

            return kept(tmp_path / "port", make)

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(first_look, range(8)))) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["port"]

    def test_are_told_in_one_line_when_the_directory_is_somebody_elses(self, tmp_path: Path) -> None:
        def make() -> str:
            raise PermissionError(13, "Permission denied", str(tmp_path))

        with pytest.raises(ImproperlyConfigured, match="VAR_DIR"):
            kept(tmp_path / "port", make)


class TestSecretKey:
    def test_survives_a_restart(self, tmp_path: Path) -> None:
        assert secret_key(tmp_path, required=False) == secret_key(tmp_path, required=False)

    def test_is_never_made_up_where_a_real_one_is_required(self, tmp_path: Path) -> None:
        with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
            secret_key(tmp_path, required=True)


class TestPort:
    def test_is_kept_while_it_is_free(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        assert place.settle_port() == place.port == place.settle_port()

    def test_is_chosen_anew_when_somebody_has_taken_it(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        taken = place.port
        with listening_socket(taken):
            assert not is_free(taken)
            assert place.settle_port() != taken
        assert str(place.port) in (tmp_path / "port").read_text()


class TestPrograms:
    def test_of_the_wheel_come_first(self) -> None:
        assert postgres.installations()[0].is_wheel

    def test_that_made_the_data_are_chosen_again(self, tmp_path: Path) -> None:
        found = [postgres.Installation(Path("new"), 18), postgres.Installation(Path("old"), 15)]
        assert postgres._for_data(found, tmp_path / "data").major == 18
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "PG_VERSION").write_text("15\n")
        assert postgres._for_data(found, tmp_path / "data").major == 15

    def test_that_are_missing_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(EmbeddedServerError, match="DATABASE_URL"):
            postgres._for_data([], tmp_path / "data")
        (tmp_path / "PG_VERSION").write_text("16\n")
        with pytest.raises(EmbeddedServerError, match="PostgreSQL 16"):
            postgres._for_data([postgres.Installation(Path("new"), 18)], tmp_path)

    def test_keep_every_acknowledged_row(self) -> None:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert postgres.SETTINGS[setting] == "on"


class TestAccount:
    def test_of_an_ordinary_user_is_their_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert account.account() == account.Account()

    def test_of_root_without_namespaces_is_a_system_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr("config.embedded.account.shutil.which", lambda name: None)
        assert account.account().uid

    def test_of_a_system_user_does_not_reach_into_private_folders(self, tmp_path: Path) -> None:
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        assert not account.Account(uid=65534, gid=65534).can_reach(private / "var")
        assert account.Account().can_reach(private / "var")


class TestLock:
    def test_is_had_by_one(self, tmp_path: Path) -> None:
        first = lock.hold(tmp_path, "services")
        assert first is not None
        asked_at = time.monotonic()
        assert lock.hold(tmp_path, "services", seconds=30) is None
        assert time.monotonic() - asked_at < 5  # its holder is alive: there is nothing to wait for
        with pytest.raises(EmbeddedServerError, match="VAR_DIR"):
            lock.hold_servers(tmp_path)
        os.close(first)
        again = lock.hold(tmp_path, "services")
        assert again is not None
        os.close(again)

    def test_of_a_dead_holder_is_waited_for_until_its_descendants_have_ended(self, tmp_path: Path) -> None:
        # The holder dies at once and leaves a descendant that holds the lock until somebody has looked.
        descendant = (
            f"import pathlib, time; pathlib.Path({str(tmp_path / 'here')!r}).touch()\n"
            f"while not pathlib.Path({str(tmp_path / 'seen')!r}).exists(): time.sleep(0.01)\n"
            "time.sleep(0.2)"
        )
        holder = (
            "import pathlib, subprocess, sys; from config.embedded.lock import hold;"
            f"lock = hold(pathlib.Path({str(tmp_path)!r}), 'services');"
            f"subprocess.Popen([sys.executable, '-c', {descendant!r}], pass_fds=[lock])"
        )
        subprocess.run([sys.executable, "-c", holder], check=True)
        until((tmp_path / "here").exists)
        assert lock.hold(tmp_path, "services") is None
        (tmp_path / "seen").touch()
        taken = lock.hold(tmp_path, "services", seconds=30)
        assert taken is not None
        os.close(taken)


class TestLeftoverOfPostgres:
    def test_that_is_dead_is_removed_though_another_program_has_its_id(self, tmp_path: Path) -> None:
        mark = tmp_path / "postmaster.pid"
        other = subprocess.Popen(SLEEP)
        mark.write_text(f"{other.pid}\n{tmp_path}\n")
        postgres._end_leftover(tmp_path)
        assert not mark.exists()
        assert other.poll() is None
        other.kill()
        other.wait()

    def test_that_still_runs_is_ended_first(self, tmp_path: Path) -> None:
        # Whoever runs the tests in the background of a script has them, and what they start, ignore it.
        heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        other = subprocess.Popen([*SLEEP, str(tmp_path)], preexec_fn=heeding)
        (tmp_path / "postmaster.pid").write_text(f"{other.pid}\n{tmp_path}\n")
        until(lambda: str(tmp_path) in postgres.command_line(other.pid))
        postgres._end_leftover(tmp_path)
        assert other.wait(5) == -signal.SIGINT


class TestGuard:
    def started(self, tmp_path: Path, code: str, **options: object) -> "subprocess.Popen[bytes]":
        """Start a program under the guard and wait for its pid file."""
        one = program.Program("web", (sys.executable, "-c", code), **options)  # type: ignore[arg-type]
        guard = one.start(tmp_path, locks=[], output=subprocess.DEVNULL)
        until(self.pid_file(tmp_path).exists)
        return guard

    def pid_file(self, tmp_path: Path) -> Path:
        """Where the program's id is."""
        return tmp_path / "run" / "web-1.pid"

    def pid(self, tmp_path: Path) -> int:
        """The program's id."""
        return int(self.pid_file(tmp_path).read_text())

    def test_passes_the_programs_own_stop_signal_on(self, tmp_path: Path) -> None:
        said = tmp_path / "said"
        code = (
            "import pathlib, signal, sys;"
            f"signal.signal(signal.SIGINT, lambda *_: (pathlib.Path({str(said)!r}).write_text('INT'), sys.exit(0)));"
            f"pathlib.Path({str(tmp_path / 'ready')!r}).touch(); signal.pause()"
        )
        guard = self.started(tmp_path, code, stop_signal="INT")
        until((tmp_path / "ready").exists)
        guard.terminate()
        assert guard.wait(10) == 0
        assert said.read_text() == "INT"
        assert not self.pid_file(tmp_path).exists()

    def test_kills_a_program_that_does_not_stop(self, tmp_path: Path) -> None:
        code = (
            "import pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
            f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\nwhile True: signal.pause()"
        )
        guard = self.started(tmp_path, code, grace=1)
        until((tmp_path / "ready").exists)
        pid = self.pid(tmp_path)
        guard.terminate()
        guard.wait(10)
        assert not is_alive(pid)

    def test_tells_how_the_program_ended(self, tmp_path: Path) -> None:
        one = program.Program("web", (sys.executable, "-c", "raise SystemExit(3)"))
        assert one.start(tmp_path, locks=[]).wait(10) == 3

    def test_leaves_no_child_of_a_killed_program(self, tmp_path: Path) -> None:
        child = tmp_path / "child"
        code = (  # a child that hides in a session of its own, as PostgreSQL's do
            "import pathlib, subprocess, sys, time;"
            "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True);"
            f"pathlib.Path({str(child)!r}).write_text(str(one.pid)); time.sleep(60)"
        )
        guard = self.started(tmp_path, code)
        until(lambda: child.exists() and bool(child.read_text()))
        os.kill(self.pid(tmp_path), signal.SIGKILL)
        assert guard.wait(10) == 128 + signal.SIGKILL
        assert not is_alive(int(child.read_text()))

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
    def test_that_is_killed_itself_takes_the_program_with_it(self, tmp_path: Path) -> None:
        guard = self.started(tmp_path, "import time; time.sleep(60)")
        pid = self.pid(tmp_path)
        guard.kill()
        guard.wait(10)
        until(lambda: not is_alive(pid))

    def test_stops_when_its_parent_is_killed(self, tmp_path: Path) -> None:
        launcher = (
            "import pathlib, sys, time; from config.embedded.program import Program;"
            f"Program('web', {SLEEP!r}).start(pathlib.Path({str(tmp_path)!r}), locks=[]); time.sleep(60)"
        )
        parent = subprocess.Popen([sys.executable, "-c", launcher])
        until(self.pid_file(tmp_path).exists)
        pid = self.pid(tmp_path)
        parent.kill()
        parent.wait(10)
        until(lambda: not is_alive(pid) and not self.pid_file(tmp_path).exists())

    def test_waits_for_the_mark(self, tmp_path: Path) -> None:
        mark, done = tmp_path / "mark", tmp_path / "done"
        one = program.Program("web", (sys.executable, "-c", f"open({str(done)!r}, 'w')"))
        guard = program.start_guarded(one.guarded(tmp_path, after=mark), locks=[], environment={})
        with pytest.raises(subprocess.TimeoutExpired):
            guard.wait(0.4)
        assert not done.exists()
        mark.touch()
        assert guard.wait(10) == 0
        assert done.exists()
