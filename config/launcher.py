"""Run a copy of Keepwell from one terminal: servers, preparation, processes, and a clean end of all of them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from django.conf import settings

from config import processes, stand_ins
from config.embedded.lock import hold, hold_servers
from config.embedded.places import EmbeddedServerError, database_url, is_free, redis_url
from config.embedded.program import Program, folder, guard_command, start_guarded
from config.embedded.running import database_answers, redis_answers
from config.logfollower import LogFollower

EVERYTHING = ("web", "events", "worker", "beat")
SINGLE = ("beat", stand_ins.ROLE)  # two of them would ring every bell twice, or stand at two addresses
SERVICES_SECONDS = 60
APPLICATION_SECONDS = 60
PATIENCE_SECONDS = 15
PORTS_TRIED = 5
# Always a direct connection: a proxy named by the environment knows nothing of this machine's ports.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LaunchError(Exception):
    """This copy cannot be run; the text says why and what to do."""


class PortLostError(Exception):
    """Somebody took a server's port between its choice and its use."""


class StopRequested(BaseException):
    """Somebody asked the launcher to end."""


class Launcher:
    """One run, from the locks to the last process's end."""

    def __init__(self, output: TextIO, *, stop_with_parent: bool) -> None:
        self.output = output
        self.parent = os.getppid() if stop_with_parent else None
        self.locks: list[int] = []
        self.child: subprocess.Popen[bytes] | None = None
        self.runs = "Supervisor"
        self.follower = LogFollower(output)

    def run(self, run: Callable[[], None]) -> None:
        """Do what `run` says until it ends or a signal asks for the end; stop every process in either case."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # nohup stays nohup
                signal.signal(number, _request_stop)
        try:
            run()
        except (StopRequested, BrokenPipeError):
            pass
        except EmbeddedServerError as error:
            raise LaunchError(str(error)) from error
        finally:
            self._stop()

    def run_everything(self) -> None:
        """Start the servers, bring the database up to date, start the rest, say when it is ready, and stay."""
        needs_servers = not (settings.DATABASE_URL_GIVEN and settings.REDIS_URL_GIVEN)
        if needs_servers:
            self.locks.append(hold_servers(settings.VAR_DIR))
        roles = [*([stand_ins.ROLE] if settings.STOOD_IN_FOR else []), *EVERYTHING]
        application = [processes.application(role, self._take_number(role)) for role in roles]
        self._refuse_taken_ports(EVERYTHING)
        mark = self._serve(application)
        self._say("Bringing the database up to date …")
        if self._run_command("dev", "--prepare"):
            raise LaunchError("The database could not be brought up to date: the reason is above.")
        mark.touch()
        self._wait("The web", self._web_answers, APPLICATION_SECONDS)
        self._say(f"Keepwell is ready: http://127.0.0.1:{settings.PORT}/ (Ctrl-C stops it; logs are in {self._logs})")
        if settings.DEMO:
            self._run_command("dev", "--sign-ins")
        self._stay()

    def run_services(self) -> None:
        """Run the embedded servers only."""
        if settings.DATABASE_URL_GIVEN and settings.REDIS_URL_GIVEN:
            raise LaunchError("DATABASE_URL and REDIS_URL name servers: there is none to start.")
        self.locks.append(hold_servers(settings.VAR_DIR))
        self._serve()
        self._say("The servers are ready; `python manage.py dev --env` prints their addresses.")
        self._stay()

    def run_one(self, role: str) -> None:
        """Run one process in the foreground; it heals by itself, so servers that stay away are not waited for for ever."""
        if role == stand_ins.ROLE and not settings.STOOD_IN_FOR:
            raise LaunchError("Nothing stands in for a service here: DEBUG or DEMO is off, or each has its address.")
        number = self._take_number(role)
        self._refuse_taken_ports([role])
        try:
            self._wait_for_services(PATIENCE_SECONDS)
        except LaunchError as error:
            self._say(
                f"{error} {role} starts all the same. (The embedded servers: `python manage.py dev --only services`.)"
            )
        program = processes.application(role, number)
        self._start(program.guarded(settings.VAR_DIR), program)
        self._stay()

    @property
    def _logs(self) -> Path:
        return folder(settings.VAR_DIR, "log")

    def _say(self, text: str) -> None:
        self.output.write(f"{text}\n")
        self.output.flush()

    def _take_number(self, role: str) -> int:
        """The first free number of the role over this directory; its lock is ours from now on."""
        for number in range(1, 2 if role in SINGLE else 100):
            lock = hold(settings.VAR_DIR, f"{role}-{number}", seconds=30)
            if lock is not None:
                self.locks.append(lock)
                (folder(settings.VAR_DIR, "run") / f"{role}-{number}.pid").unlink(missing_ok=True)
                return number
        raise LaunchError(f"A {role} runs already over {settings.VAR_DIR}: stop it, or give another VAR_DIR and PORT.")

    def _refuse_taken_ports(self, roles: Sequence[str]) -> None:
        for role, port in (("web", settings.PORT), ("events", settings.EVENTS_PORT)):
            if role in roles and not is_free(port):
                raise LaunchError(f"Port {port} ({role}) is taken: choose another, as in PORT={settings.PORT + 10}.")

    def _serve(self, application: Sequence[Program] = ()) -> Path:
        """Start the servers, beside programs that wait for the mark that it gives, and wait until the servers answer."""
        for _ in range(PORTS_TRIED):
            servers = processes.services()
            said = [(server, server.log_size(settings.VAR_DIR)) for server in servers]
            mark = self._supervise([*servers, *application])
            try:
                self._wait_for_services(SERVICES_SECONDS, said)
            except PortLostError:
                self._say("Somebody took a server's port before it came: another one is chosen.")
                self._end_child()
            else:
                return mark
        raise LaunchError(f"A server's port was taken before it came, {PORTS_TRIED} times: what opens so many here?")

    def _supervise(self, programs: Sequence[Program]) -> Path:
        """Start the programs under supervisor; give the mark that those of Keepwell itself wait for."""
        mark = folder(settings.VAR_DIR, "run") / "prepared"
        mark.unlink(missing_ok=True)
        logs = {program.name: program.log_file(settings.VAR_DIR) for program in programs}
        self.follower.follow(logs | {"supervisor": processes.supervisor_log()})
        self._start(processes.supervised(programs, mark=mark))
        return mark

    def _start(self, command: Sequence[str], program: Program | None = None) -> None:
        self.runs = program.name if program else self.runs
        output = None if program else subprocess.DEVNULL
        environment = self._environment() | dict(program.environment if program else {})
        self.child = start_guarded(command, locks=self.locks, environment=environment, output=output)

    def _environment(self) -> dict[str, str]:
        # Supervisor's programs run in the project's folder: a VAR_DIR given relative to another one is told in full.
        return {"PYTHONPATH": str(settings.BASE_DIR), "VAR_DIR": str(settings.VAR_DIR)}

    def _run_command(self, *arguments: str) -> int:
        """Run another command to its end, with settings read anew: a server's port may have changed since ours were."""
        command = (sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments)
        environment = os.environ | self._environment()
        guarded = guard_command(command=command)
        return subprocess.run(guarded, env=environment, check=False, stdin=subprocess.DEVNULL).returncode

    def _wait_for_services(self, seconds: float, said: Sequence[tuple[Program, int]] = ()) -> None:
        """`said`: our servers, with how much each had logged; raise PortLostError where one says that its port is lost."""

        def or_lost(answers: bool) -> bool:
            lost = any(server.has_lost_port(settings.VAR_DIR, since=size) for server, size in said)
            if lost and not answers:
                raise PortLostError
            return answers

        self._wait("PostgreSQL", lambda: or_lost(database_answers(database_in_use())), seconds)
        self._wait("Redis", lambda: or_lost(redis_answers(redis_in_use())), seconds)

    def _wait(self, what: str, is_ready: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_ready():
            if time.monotonic() > deadline:
                raise LaunchError(f"{what} does not answer after {seconds:.0f} s.")
            if not self._turn():
                raise LaunchError(f"Supervisor has ended: {processes.supervisor_log()} says why.")

    def _web_answers(self) -> bool:
        return all(answers(f"http://127.0.0.1:{port}/health/live") for port in (settings.PORT, settings.EVENTS_PORT))

    def _turn(self) -> bool:
        """Let a moment pass and show what was logged; tell whether our process still runs."""
        if self.parent is not None and os.getppid() != self.parent:
            raise StopRequested
        self.follower.show()
        time.sleep(0.1)
        return self.child is None or self.child.poll() is None

    def _stay(self) -> None:
        while self._turn():
            pass
        if self.child and self.child.returncode:
            raise LaunchError(f"{self.runs} ended by itself, with status {self.child.returncode}.")

    def _stop(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(BrokenPipeError):
            self._end_child()

    def _end_child(self) -> None:
        if self.child is None:
            return
        self.child.terminate()
        self.child.wait()
        self.follower.show()


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise StopRequested


def database_in_use() -> str:
    """Give the URL of the PostgreSQL in use, read anew."""
    return str(settings.DATABASE_URL) if settings.DATABASE_URL_GIVEN else database_url(settings.VAR_DIR)


def redis_in_use() -> str:
    """Give the URL of the Redis or Valkey in use, read anew."""
    return str(settings.REDIS_URL) if settings.REDIS_URL_GIVEN else redis_url(settings.VAR_DIR)


def answers(url: str) -> bool:
    """Tell whether an HTTP server answers, whatever it says."""
    try:
        DIRECT.open(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
