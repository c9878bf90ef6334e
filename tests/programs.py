"""Programs of the machine that a test needs."""

import os
import shutil

import pytest


def needed(*names: str, package: str) -> str:
    """Find the first of a program's names; without it the test says that it was not run, and under CI that is a failure."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = f"not run: {names[0]} is missing (Debian: apt-get install {package})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
