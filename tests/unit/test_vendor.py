"""Nothing that others wrote is served but what is recorded, byte for byte."""

import gzip
import hashlib
import json

from tests.vendor import FOLDER, RECORD


def test_the_script_of_others_is_the_recorded_one() -> None:
    told = json.loads(RECORD.read_text())
    assert (told["package"], told["version"].count(".")) == ("idb", 2)
    assert hashlib.sha256((FOLDER / told["file"]).read_bytes()).hexdigest() == told["sha256"], "run `make vendor`"
    assert "Permission to use, copy, modify" in told["licence"]


def test_no_other_script_was_packed_by_others() -> None:
    # What a person wrote by hand has lines that a person can read.
    scripts = [path for path in FOLDER.parents[2].glob("*/static/**/*.js") if path.name != "idb.js"]
    assert len(scripts) >= 5
    assert [path.name for path in scripts if max(map(len, path.read_text().splitlines())) > 300] == []


def test_the_elements_are_small() -> None:
    files = [FOLDER / name for name in ("elements.js", "elements.css", "idb.js")]
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) <= 25 * 1024
