"""As whom PostgreSQL runs: it refuses root, and a copy of Keepwell may well be started by root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.embedded.places import EmbeddedServerError

SYSTEM_USERS = ("postgres", "nobody")
NAMESPACE = ("--user", "--map-user=1000", "--map-group=1000")


@dataclass(frozen=True)
class Account:
    """Who runs the server: ourselves, ourselves without root's powers, or a system user."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def user(self) -> str | None:
        """The guard's word for a change of user."""
        return None if self.uid is None else f"{self.uid}:{self.gid}"

    def own(self, path: Path) -> None:
        """Give a file or folder that we just made to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Tell whether the account may walk into every folder above `path`."""
        return self.uid is None or all(parent.stat().st_mode & 0o001 for parent in path.parents)

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], stdin: str = "") -> None:
        """Run a command of PostgreSQL to its end; raise EmbeddedServerError with what it said when it fails."""
        finished = subprocess.run(
            [*self.prefix, *command],
            check=False,
            env=os.environ | dict(environment),
            input=stdin,
            capture_output=True,
            text=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            cwd="/",
        )
        if finished.returncode:
            said = (finished.stderr.strip() or finished.stdout.strip()).splitlines()
            raise EmbeddedServerError(f"{Path(command[0]).name} failed: {' '.join(said[-3:])}")


def account() -> Account:
    """Choose the account: ourselves; as root a user namespace; where that is forbidden a system user."""
    if os.geteuid() != 0:
        return Account()
    unshare = shutil.which("unshare")
    if unshare and not subprocess.run([unshare, *NAMESPACE, "true"], check=False, capture_output=True).returncode:
        return Account(prefix=(unshare, *NAMESPACE))
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in SYSTEM_USERS:
        if name in known:
            return Account(uid=known[name].pw_uid, gid=known[name].pw_gid)
    raise EmbeddedServerError("PostgreSQL does not run as root, and there is no other user: give DATABASE_URL=…")


def public_copy(folders: Sequence[Path], *, to: Path) -> Path:
    """Copy the folders side by side into `to`, where everybody may read them; give `to`."""
    if not to.exists():
        public_folder(to.parent)
        fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=to.parent))
        for folder in folders:
            shutil.copytree(folder, fresh / folder.name, symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(to)
    return to


def public_folder(path: Path) -> Path:
    """Give a folder of ours that everybody may walk into; folders that exist are left as they are."""
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o755)
    return path
