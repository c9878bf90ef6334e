"""Production settings as docs/operating.md names them pass every check that Django and we know."""

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "3mv8-9aQ_wYx2LrT5bHj7KdNf4ZsVc1PgUe6WiOoAqRlXtBn0M",
    "ALLOWED_HOSTS": "keepwell.example.org",
    "BASE_URL": "https://keepwell.example.org",
    "EMAIL_URL": "smtp+tls://user:secret@mail.example.org:587",
    "ALERT_MAIL_STAFF": "staff@example.org",
    # Nothing is asked of them.
    "DATABASE_URL": "postgresql://keepwell:secret@127.0.0.1:1/keepwell",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def test_production_settings_leave_nothing_to_warn_of(tmp_path: Path) -> None:
    left = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        env=left | PRODUCTION | {"VAR_DIR": str(tmp_path)},
        cwd=settings.BASE_DIR, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stdout + done.stderr
