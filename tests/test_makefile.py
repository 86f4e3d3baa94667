"""`make test` runs types beside the tests: what either finds must be seen and must fail it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize("failing", ["ruff", "mypy", "python", None])
def test_each_tool_that_fails_fails_make_test_and_says_why(tmp_path: Path, failing: str | None) -> None:
    """With stand-ins for the tools: mypy ends long before the tests, or after them."""
    (tmp_path / "bin").mkdir()
    for name, seconds in (("ruff", 0), ("mypy", 0.3), ("python", 0 if failing == "mypy" else 0.6)):
        tool = tmp_path / "bin" / name
        tool.write_text(f"#!/bin/sh\nsleep {seconds}\necho {name} has spoken\nexit {int(name == failing)}\n")
        tool.chmod(0o755)
    for made in ("versions.txt", "dev.stamp"):
        (tmp_path / made).touch()
    command = ["make", "--no-print-directory", "test", f"VENV={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    spoken = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("has spoken")]
    assert bool(done.returncode) == (failing is not None), done.stderr
    assert spoken == (["ruff"] if failing == "ruff" else ["ruff", "ruff", "python", "mypy"])
