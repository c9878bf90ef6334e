"""
The one script of others that pages load: `make vendor` fetches the recorded version anew, `VERSION=…` another one.

npm checks what it fetches against the registry's hash; ours is written down for the test, which asks nobody.
"""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "sync" / "static" / "sync"
RECORD = FOLDER / "vendor.json"


def main() -> None:
    """Fetch the package, take the file and its licence, and write down what they are."""
    known = json.loads(RECORD.read_text())
    version = os.environ.get("VERSION") or known["version"]
    with tempfile.TemporaryDirectory() as place:
        command = ["npm", "pack", f"{known['package']}@{version}", "--silent", "--pack-destination", place]
        subprocess.run(command, check=True, cwd=place, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(place).glob("*.tgz"))) as packed:
            content, licence = (_read(packed, name) for name in (known["from"], "LICENSE"))
    (FOLDER / known["file"]).write_bytes(content)
    told = known | {"version": version, "sha256": hashlib.sha256(content).hexdigest(), "licence": licence.decode()}
    RECORD.write_text(json.dumps(told, indent=2) + "\n")


def _read(packed: tarfile.TarFile, name: str) -> bytes:
    found = packed.extractfile(f"package/{name}")
    if found is None:
        raise FileNotFoundError(name)
    return found.read()


if __name__ == "__main__":
    main()
