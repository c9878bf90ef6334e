"""The processes of a running copy, and the configuration that tells supervisor how to keep them."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from config import stand_ins
from config.embedded import postgres, valkey
from config.embedded.program import Program, folder, guard_command

HOST = "127.0.0.1"
SERVICES = ("postgres", "valkey")
UNPREPARED = (*SERVICES, stand_ins.ROLE)  # they wait for no table
# They restart when they die, for ever; a start that fails at once is tried again after 1, 2, 3 … seconds.
PROGRAM_SECTION = """\
[program:{name}]
command={command}
directory={directory}
priority={priority}
autorestart=true
startsecs=1
startretries=1000000
stopsignal={stop_signal}
stopwaitsecs={patience}
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
environment={environment}
"""
# A group ends together, the last group first: the servers outlive those who use them.
GROUPS = {"services": SERVICES, "outside": (stand_ins.ROLE,), "application": ("worker", "beat", "web", "events")}
PRIORITIES = {"postgres": 10, "valkey": 10, stand_ins.ROLE: 15, "worker": 20, "beat": 20, "web": 30, "events": 30}


def services() -> list[Program]:
    """Give the servers that the environment does not name, ready to be started."""
    wanted = []
    if not settings.DATABASE_URL_GIVEN:
        wanted.append(postgres.prepared(settings.VAR_DIR))
    if not settings.REDIS_URL_GIVEN:
        wanted.append(valkey.prepared(settings.VAR_DIR))
    return wanted


def application(role: str, number: int) -> Program:
    """Give a process of Keepwell itself, or the one that stands in for the demo's services."""
    celery = (_script("celery"), "--quiet", "-A", "config")
    if role == stand_ins.ROLE:
        names, key = settings.STOOD_IN_FOR, settings.SECRET_KEY
        return stand_ins.prepared(settings.VAR_DIR, settings.BASE_DIR, names, key, sys.executable)
    if role == "web":
        return Program(role, _web(), number=number)
    if role == "events":
        return Program(role, _events(), number=number)
    if role == "worker":
        command = (*celery, "worker", "-Q", "high,normal,low", "-n", f"worker-{number}@%h", "--loglevel", "INFO")
        # A soft stop: running tasks get a few seconds, the rest goes back to its queue.
        return Program(role, command, number=number, grace=15, environment={"REMAP_SIGTERM": "SIGQUIT"})
    schedule = folder(settings.VAR_DIR, "beat") / "schedule"
    return Program("beat", (*celery, "beat", "--schedule", str(schedule), "--loglevel", "INFO"), number=number)


def _web() -> tuple[str, ...]:
    return (
        _script("granian"), "--interface", "wsgi", "--host", HOST, "--port", str(settings.PORT),
        "--blocking-threads", str(settings.WEB_THREADS), "--workers-kill-timeout", "3",
        "--respawn-failed-workers", "--respawn-interval", "0.5", "config.wsgi:application",
    )  # fmt: skip


def _events() -> tuple[str, ...]:
    return (
        _script("uvicorn"), "--host", HOST, "--port", str(settings.EVENTS_PORT), "--lifespan", "on",
        "--timeout-graceful-shutdown", "3", "--no-access-log", "config.events:application",
    )  # fmt: skip


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def supervised(programs: Sequence[Program], *, mark: Path) -> list[str]:
    """Write supervisor's configuration; give the command line that keeps the programs, Keepwell's own from the mark on."""
    configuration = folder(settings.VAR_DIR, "run") / "supervisord.conf"
    configuration.write_text(
        "\n".join([_head(), *(_section(program, mark) for program in programs), *_groups(programs)])
    )
    supervisor = (sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration))
    # When supervisor itself is killed its programs end themselves in order; only who takes too long is killed.
    return guard_command("--grace", "60", "--linger", "40", command=supervisor)


def _head() -> str:
    var_dir = settings.VAR_DIR
    stay_root = "user=root\n" if os.geteuid() == 0 else ""
    return (
        "[supervisord]\n"
        f"logfile={_escaped(str(supervisor_log()))}\nloglevel=warn\nlogfile_maxbytes=1MB\nlogfile_backups=1\n"
        f"{stay_root}pidfile={_escaped(str(folder(var_dir, 'run') / 'supervisord.pid'))}\n"
        f"childlogdir={_escaped(str(folder(var_dir, 'log')))}\n"
    )


def supervisor_log() -> Path:
    """Where supervisor tells of processes that died."""
    return folder(settings.VAR_DIR, "log") / "supervisord.log"


def _section(program: Program, mark: Path) -> str:
    command = program.guarded(settings.VAR_DIR, after=None if program.role in UNPREPARED else mark)
    return PROGRAM_SECTION.format(
        name=program.name,
        command=_escaped(shlex.join(command)),
        directory=_escaped(str(settings.BASE_DIR)),
        priority=PRIORITIES[program.role],
        stop_signal=program.stop_signal,
        patience=program.grace + 5,
        log=_escaped(str(program.log_file(settings.VAR_DIR))),
        environment=",".join(f'{name}="{value}"' for name, value in program.environment.items()),
    )


def _groups(programs: Sequence[Program]) -> list[str]:
    sections = []
    for priority, (group, roles) in enumerate(GROUPS.items(), start=1):
        names = [program.name for program in programs if program.role in roles]
        if names:
            sections.append(f"[group:{group}]\nprograms={','.join(names)}\npriority={priority}\n")
    return sections


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
