"""The command line as a user meets it: help, exit codes, where text goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geocorrect.errors import ExitCode


def geocorrect(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real program in a process of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("GEOCORRECT__", "MAPILLARY"))}
    return subprocess.run(
        [sys.executable, "-m", "geocorrect", *arguments],
        cwd=cwd, capture_output=True, text=True, env=clean | environment, timeout=120,
    )  # fmt: skip


COMMANDS = [
    [], ["init"], ["anchors", "add"], ["harvest"], ["correct"], ["run"], ["export"], ["status"], ["demo"], ["doctor"],
    ["config", "show"], ["evaluate", "kitti-raw"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str], tmp_path: Path) -> None:
    shown = geocorrect(*command, "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout
    assert "--help" in shown.stdout


def test_a_new_scene_from_nothing(tmp_path: Path) -> None:
    assert geocorrect("init", cwd=tmp_path).returncode == 0
    assert (tmp_path / "geocorrect.toml").is_file()
    shown = geocorrect("status", "--json", cwd=tmp_path)
    facts = json.loads(shown.stdout)
    assert (facts["n_anchors"], facts["n_images"]) == (0, 0)
    again = geocorrect("init", cwd=tmp_path)
    assert again.returncode == ExitCode.OUTPUT
    assert "--force" in again.stderr


def test_correct_without_anchors_says_what_to_do(tmp_path: Path) -> None:
    geocorrect("init", cwd=tmp_path)
    run = geocorrect("correct", cwd=tmp_path)
    assert run.returncode == ExitCode.INPUT
    assert "geocorrect anchors add" in run.stderr
    assert "Traceback" not in run.stderr


def test_config_show_names_origins(tmp_path: Path) -> None:
    (tmp_path / "geocorrect.toml").write_text("[batch]\nworkers = 2\n")
    shown = geocorrect("config", "show", cwd=tmp_path, GEOCORRECT__BATCH__SEED="7")
    assert "batch.workers = 2  # geocorrect.toml" in shown.stdout
    assert "batch.seed = 7  # environment GEOCORRECT__BATCH__SEED" in shown.stdout


def test_doctor_fails_and_says_how_to_mend(tmp_path: Path) -> None:
    geocorrect("init", cwd=tmp_path)
    ill = geocorrect("doctor", "--json", cwd=tmp_path)
    findings = {finding["check"]: finding for finding in json.loads(ill.stdout)}
    assert ill.returncode == ExitCode.CONFIG
    assert not findings["token"]["ok"]
    assert "MAPILLARY_TOKEN" in findings["token"]["text"]
    assert findings["catalog"]["ok"]
    well = geocorrect("doctor", cwd=tmp_path, MAPILLARY_TOKEN="MLY|1|0123456789abcdef")
    assert well.returncode == 0
    assert "0123456789abcdef" not in well.stdout + well.stderr


def test_unknown_words_are_usage_errors(tmp_path: Path) -> None:
    for arguments in (["corect"], ["correct", "--fast"], ["--log-level", "loud", "status"]):
        run = geocorrect(*arguments, cwd=tmp_path)
        assert run.returncode == ExitCode.USAGE
        assert "Traceback" not in run.stderr


def test_version(tmp_path: Path) -> None:
    assert geocorrect("--version", cwd=tmp_path).stdout.startswith("geocorrect ")
