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


def test_no_other_script_of_others_is_there() -> None:
    root = FOLDER.parents[2]
    found = {path.name for path in root.glob("*/static/**/*.js")}
    ours = {"elements.js", "pages.js", "streams.js", "desk.js", "inbox.js", "keys.js", "reach.js"}
    assert found - ours == {"idb.js"}


def test_the_elements_are_small() -> None:
    files = [FOLDER / name for name in ("elements.js", "elements.css", "idb.js")]
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) <= 25 * 1024
