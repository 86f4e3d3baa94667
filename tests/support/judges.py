"""Programs that read what we write, kept apart from our own libraries because their versions exclude each other.

python3 -m venv .judges && .judges/bin/pip install mapillary_tools geoparquet-io
GEOCORRECT_JUDGES=.judges/bin python -m pytest tests/export
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def judge(name: str) -> str:
    """The path of a program from GEOCORRECT_JUDGES or PATH; without it the test skips, or fails if it must not."""
    folder = os.environ.get("GEOCORRECT_JUDGES", "")
    found = shutil.which(name, path=folder or None) or (shutil.which(name) if name != "python" else None)
    if found is not None and (name != "python" or folder):
        return str(Path(found).absolute())
    if os.environ.get("GEOCORRECT_REQUIRE_JUDGES"):
        pytest.fail(f"{name} is required (GEOCORRECT_REQUIRE_JUDGES) and not installed")
    pytest.skip(f"{name} is not installed (tests/support/judges.py)")


def schema_file(name: str) -> Path:
    """A published JSON schema in the folder GEOCORRECT_SCHEMAS; the test skips without it."""
    path = Path(os.environ.get("GEOCORRECT_SCHEMAS", "")) / name
    if not path.is_file():
        pytest.skip(f"no {name} in the folder GEOCORRECT_SCHEMAS (.ci/run says where it is published)")
    return path


def run(*command: str) -> str:
    """What a program prints; the test fails with its messages when it does not end well."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
