"""`manage.py dev` as a newcomer meets it: real servers, real processes, real signals."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from config.embedded import servers
from config.embedded.account import account
from config.embedded.places import Place, replace_text
from config.embedded.postgres import installations
from config.embedded.running import database_answers, redis_answers
from config.launcher import answers
from tests.processes import ROLES, Copy, is_alive, until

EVENTS = "/api/v1/events/"


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    """A copy that is not started yet; whatever the test does to it, nothing of it stays."""
    one = Copy(tmp_path / "var")
    yield one
    one.clean_up()


def connected(url: str) -> "psycopg.Connection[tuple[object, ...]]":
    """A session on the database of this URL."""
    return psycopg.connect(url.replace("postgres://", "postgresql://"), autocommit=True)


def cluster_state(copy: Copy) -> str:
    """How PostgreSQL was left, as its own control file tells."""
    program = installations()[0].bin / "pg_controldata"
    told = subprocess.run(
        [program, copy.var_dir / "postgres" / "data"],
        capture_output=True, text=True, check=True, env={"LC_ALL": "C"},
    )  # fmt: skip
    return next(line for line in told.stdout.splitlines() if "cluster state" in line).split(":")[1].strip()


class TestCopyOfKeepwell:
    def test_survives_the_kill_of_anything_and_stops_in_order(self, copy: Copy) -> None:
        """One long test, for a start costs seconds: the steps are the methods below."""
        copy.start()
        self.answers_on_its_ports(copy)
        self.names_its_processes(copy)
        self.prints_the_servers_in_use(copy)
        self.refuses_a_second_start(copy)
        self.restarts_what_dies(copy)
        self.leaves_nothing_when_its_launcher_is_killed_and_starts_again_at_once(copy)
        with connected(copy.database_url):
            assert copy.stop(signal.SIGINT) == 0  # though a session is open
        assert cluster_state(copy) == "shut down"
        assert copy.leftovers() == []
        assert [role for role in ROLES if copy.pid(role)] == []

    def answers_on_its_ports(self, copy: Copy) -> None:
        with socket.create_connection(("127.0.0.1", copy.port), timeout=5):
            pass
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{copy.port + 1}{EVENTS}", timeout=5)
        assert refused.value.code == 401
        refused.value.close()

    def names_its_processes(self, copy: Copy) -> None:
        assert copy.pid("stand-ins") is None, "nothing stands in for a service where there is no demo"
        words = {"postgres": "postgres", "valkey": "valkey", "web": "granian", "events": "uvicorn"}
        for role in ROLES:
            pid = copy.pid(role)
            assert pid
            line = Path(f"/proc/{pid}/cmdline").read_text() if Path("/proc/self").exists() else role
            assert words.get(role, role) in line

    def prints_the_servers_in_use(self, copy: Copy) -> None:
        assert copy.addresses() == {"DATABASE_URL": copy.database_url, "REDIS_URL": copy.redis_url}
        assert database_answers(copy.database_url)
        assert redis_answers(copy.redis_url)

    def refuses_a_second_start(self, copy: Copy) -> None:
        second = copy.run()
        assert second.returncode == 1
        assert "VAR_DIR" in second.stderr
        assert len(second.stderr.splitlines()) == 1

    def restarts_what_dies(self, copy: Copy) -> None:
        before = {role: copy.pid(role) for role in ROLES}
        for pid in before.values():
            assert pid
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(copy.pid(role) not in {None, before[role]} for role in ROLES), seconds=30)
        until(lambda: database_answers(copy.database_url), seconds=30)
        until(lambda: redis_answers(copy.redis_url), seconds=30)

    def leaves_nothing_when_its_launcher_is_killed_and_starts_again_at_once(self, copy: Copy) -> None:
        with connected(copy.database_url) as session:
            session.execute("CREATE TABLE kept (word text)")
        pids = [copy.pid(role) for role in ROLES]
        log = copy.var_dir / "log" / "postgres-1.log"
        seen = len(log.read_text())
        assert copy.stop(signal.SIGKILL) == -signal.SIGKILL
        copy.start()  # waits for the end of the killed one
        assert [pid for pid in pids if pid and is_alive(pid)] == []
        assert "not properly shut down" not in log.read_text()[seen:]
        with connected(copy.database_url) as session:
            assert session.execute("SELECT * FROM kept").fetchall() == []

    def test_runs_beside_another(self, copy: Copy, tmp_path: Path) -> None:
        other = Copy(tmp_path / "other")
        try:
            for one in (copy, other):
                one.start("--only", "services", until_said="servers are ready")
            urls = {one.database_url for one in (copy, other)} | {one.redis_url for one in (copy, other)}
            assert len(urls) == 4
            assert database_answers(copy.database_url)
            assert database_answers(other.database_url)
            assert other.stop() == 0
            assert redis_answers(copy.redis_url)
        finally:
            other.clean_up()

    def test_chooses_another_port_where_somebody_takes_it_between_its_choice_and_its_use(self, copy: Copy) -> None:
        kept = {urlsplit(url).port for url in (copy.database_url, copy.redis_url)}
        with ExitStack() as stack:
            bound = []
            for port in kept:
                bound.append(stack.enter_context(socket.socket()))
                bound[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # free for who looks, until we listen
                bound[-1].bind(("127.0.0.1", port))
            taking = threading.Thread(target=self.take_ports, args=(copy, bound))
            taking.start()
            copy.start("--only", "services", until_said="servers are ready")
            taking.join()
            assert "another one is chosen" in copy.said
            assert database_answers(copy.database_url)
            assert redis_answers(copy.redis_url)
            assert not kept & {urlsplit(url).port for url in (copy.database_url, copy.redis_url)}
            assert copy.stop() == 0
        assert copy.leftovers() == []

    def take_ports(self, copy: Copy, bound: list[socket.socket]) -> None:
        """Take them when they are chosen: supervisor's configuration is there, and supervisor is not yet."""
        until((copy.var_dir / "run" / "supervisord.conf").exists, seconds=60)
        for one in bound:
            one.listen()

    @pytest.mark.parametrize(("role", "offset"), [("web", 0), ("events", 1)])
    def test_says_which_port_is_taken(self, copy: Copy, role: str, offset: int) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", copy.port + offset))
            listener.listen()
            ended = copy.run()
        assert ended.returncode == 1
        assert f"Port {copy.port + offset} ({role}) is taken" in ended.stderr
        assert "PORT=" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


class TestOneProcess:
    def test_of_services_starts_both_servers_and_no_more_twice_in_a_row(self, copy: Copy) -> None:
        copy.start("--only", "services", until_said="servers are ready")
        assert [role for role in ROLES if copy.pid(role)] == ["postgres", "valkey"]
        assert copy.stop(signal.SIGTERM) == 0
        assert copy.leftovers() == []
        copy.start("--only", "services", until_said="servers are ready")
        assert copy.stop(signal.SIGINT) == 0
        assert cluster_state(copy) == "shut down"

    def test_runs_alone_and_takes_the_next_number(self, copy: Copy) -> None:
        first, second, third = (Copy(copy.var_dir, port=copy.port) for _ in range(3))
        copy.start("--only", "services", until_said="servers are ready")
        try:
            for one, role in ((first, "beat"), (second, "events")):
                one.start("--only", role, until_said="")
            until(lambda: bool(copy.pid("beat") and copy.pid("events")), seconds=30)
            third.port += 2
            third.start("--only", "events", until_said="")
            until(lambda: copy.pid("events", 2) is not None, seconds=30)
            again = copy.run("--only", "beat")  # two of them would ring every bell twice
            assert again.returncode == 1
            assert "beat runs already" in again.stderr
            assert [one.stop() for one in (first, second, third)] == [0, 0, 0]
        finally:
            for one in (first, second, third):
                if one.launcher and one.launcher.poll() is None:
                    one.stop(signal.SIGTERM)

    def test_of_stand_ins_is_for_the_demo_alone_and_listens_where_the_settings_say(self, copy: Copy) -> None:
        refused = copy.run("--only", "stand-ins")
        assert (refused.returncode, "DEMO is off" in refused.stderr) == (1, True)
        copy.is_demo, copy.settings = True, {"SMS_URL": "https://sms.example"}
        copy.start("--only", "services", until_said="servers are ready")
        beside = Copy(copy.var_dir, port=copy.port, is_demo=True, settings=copy.settings)
        try:
            beside.start("--only", "stand-ins", until_said="")
            until(lambda: copy.pid("stand-ins") is not None, seconds=30)
            told = copy.manage(
                "shell", "--no-imports", "-c", "from django.conf import settings as s; print(s.LISTING_URL, s.SMS_URL)"
            )
            listing, sms = told.split()
            assert sms == "https://sms.example"
            until(lambda: answers(listing), seconds=30)
            assert beside.stop() == 0
            until(lambda: not answers(listing), seconds=30)
        finally:
            if beside.launcher and beside.launcher.poll() is None:
                beside.stop(signal.SIGTERM)

    def test_of_services_has_nothing_to_do_when_servers_are_named(
        self, copy: Copy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command, environment = copy.command("--only", "services")
        named = {"DATABASE_URL": "postgres://a:b@127.0.0.1:1/c", "REDIS_URL": "redis://127.0.0.1:1/0"}
        ended = subprocess.run(command, env=environment | named, capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert "there is none to start" in ended.stderr
        assert not (copy.var_dir / "postgres" / "data").exists()


def test_servers_of_a_block_take_another_port_where_theirs_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Place.settle_port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        choices = [taken]

        def settle_late(place: Place) -> int:
            settle(place)
            if choices:
                replace_text(place.directory / "port", str(choices.pop()))
            return place.port

        monkeypatch.setattr(Place, "settle_port", settle_late)
        with servers(tmp_path) as running:
            assert urlsplit(running.database_url).port != taken
            assert database_answers(running.database_url)
            assert redis_answers(running.redis_url)


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root runs every other test here as an ordinary user")
class TestStartedByRoot:
    @pytest.mark.skipif(not account().prefix, reason="this machine allows no user namespaces")
    def test_runs_for_an_ordinary_user(self, copy: Copy) -> None:
        # Inside the namespace we are user 1000 without any of root's powers, and may read the same files.
        copy.python = (*account().prefix, sys.executable)
        copy.start("--only", "services", until_said="servers are ready")
        assert database_answers(copy.database_url)
        assert copy.stop() == 0
        assert cluster_state(copy) == "shut down"

    def test_falls_back_to_a_system_user_without_namespaces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("config.embedded.account.NAMESPACE", ("--no-such-option",))
        with tempfile.TemporaryDirectory(prefix="keepwell-") as name:
            home = Path(name)
            home.chmod(0o755)
            with servers(home / "var") as running:
                assert database_answers(running.database_url)
                assert (home / "var" / "postgres" / "data").stat().st_uid != 0
                assert home.stat().st_uid == 0
