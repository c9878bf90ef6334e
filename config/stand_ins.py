"""The demo's outside services: servers on this machine that stand in for them, told of by a file of the copy."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from config.embedded.places import HOST, free_port, is_free, replace_text
from config.embedded.program import Program, folder

ROLE = "stand-ins"
NAMES = ("listing", "analytics", "assistant", "sms")
# Started by path and never imported; it needs no package at all.
PROGRAM = Path("tests") / "stand_ins"


def wanted(given: Mapping[str, Any]) -> list[str]:
    """Name the services that these settings give no address for: in the demo something stands in for each."""
    is_demo = given["DEBUG"] and given["DEMO"] and (given["BASE_DIR"] / PROGRAM / "__main__.py").exists()
    return [name for name in NAMES if is_demo and not given[f"{name.upper()}_URL"]]


def addresses(var_dir: Path, names: Sequence[str]) -> dict[str, str]:
    """Give where each of them stands in; nothing before the copy has been started for the first time."""
    known = _ports(var_dir)
    return {name: f"http://{HOST}:{known[name]}" for name in names if name in known}


def configured(found: Mapping[str, str], key: str) -> dict[str, Any]:
    """Give the settings by which these are the copy's services; there are none where nothing stands in."""
    values: dict[str, Any] = {"SYNC_PRIVATE_ADDRESSES": True} if found else {}
    for name, address in found.items():
        values |= {f"{name.upper()}_URL": address, f"{name.upper()}_SECRET": _secret(name, key)}
    if "listing" in found:
        values["LISTING_READ_URL"] = f"{found['listing']}/profiles"
    return values


def prepared(var_dir: Path, base_dir: Path, names: Sequence[str], key: str, python: str) -> Program:
    """Choose their ports, kept where they are free, and give the one program of all of them."""
    ports = _ports(var_dir)
    chosen = {name: port if (port := ports.get(name, 0)) and is_free(port) else free_port() for name in names}
    replace_text(_file(var_dir), json.dumps(chosen))
    command = (python, str(base_dir / PROGRAM), *(f"{name}:{port}" for name, port in chosen.items()))
    return Program(ROLE, command, environment={f"{name.upper()}_SECRET": _secret(name, key) for name in names})


def _file(var_dir: Path) -> Path:
    return folder(var_dir, ROLE) / "ports.json"


def _ports(var_dir: Path) -> dict[str, int]:
    try:
        return dict(json.loads((var_dir / ROLE / "ports.json").read_text()))
    except (OSError, ValueError):
        return {}


def _secret(name: str, key: str) -> str:
    """A secret that both sides find, and that is worth nothing anywhere else."""
    return f"whsec_{base64.b64encode(hmac.digest(key.encode(), name.encode(), hashlib.sha256)).decode()}"
