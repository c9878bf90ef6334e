"""What stands in for outside services stands in the demo alone, and where no address is given."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config import stand_ins

ROOT = Path(__file__).resolve().parents[2]
DEMO: dict[str, Any] = {"DEBUG": True, "DEMO": True, "BASE_DIR": ROOT} | {
    f"{n.upper()}_URL": "" for n in stand_ins.NAMES
}


def test_stands_in_for_each_service_without_an_address() -> None:
    assert stand_ins.wanted(DEMO) == list(stand_ins.NAMES)
    assert stand_ins.wanted(DEMO | {"LISTING_URL": "https://directory.example"}) == ["analytics", "assistant", "sms"]


@pytest.mark.parametrize("off", [{"DEBUG": False}, {"DEMO": False}, {"BASE_DIR": Path("/nowhere")}])
def test_p10_stands_in_for_none_in_production_nor_without_the_demo(off: dict[str, Any]) -> None:
    assert stand_ins.wanted(DEMO | off) == []


def test_p10_configures_nothing_where_nothing_stands_in(tmp_path: Path) -> None:
    assert stand_ins.addresses(tmp_path, stand_ins.NAMES) == {}, "before the first start"
    assert stand_ins.configured({}, "key") == {}


def test_keeps_its_ports_from_start_to_start_and_gives_both_sides_one_secret(tmp_path: Path) -> None:
    first = stand_ins.prepared(tmp_path, ROOT, stand_ins.NAMES, "key", sys.executable)
    assert stand_ins.prepared(tmp_path, ROOT, stand_ins.NAMES, "key", sys.executable) == first
    found = stand_ins.addresses(tmp_path, stand_ins.NAMES)
    values = stand_ins.configured(found, "key")
    assert [f"{name}:{url.rpartition(':')[2]}" for name, url in found.items()] == list(first.command[2:])
    assert all(values[name] == secret for name, secret in first.environment.items())
    assert values["SYNC_PRIVATE_ADDRESSES"] is True
    assert values["LISTING_READ_URL"] == f"{values['LISTING_URL']}/profiles"


def test_needs_no_package() -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / stand_ins.PROGRAM), "--until-input-ends", *stand_ins.NAMES]
    ended = subprocess.run(command, input="", capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout.count("http://127.0.0.1:") == len(stand_ins.NAMES)
