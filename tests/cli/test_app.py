"""The command line as a user meets it: help, exit codes, where text goes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from geocorrect.__main__ import run
from geocorrect.errors import ExitCode


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def geocorrect(*arguments: str, cwd: Path, **environment: str) -> Ended:
    """Run a command in this process, in a bare environment."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in set(os.environ) - set(clean_environment()):
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(cwd)
        code = run(list(arguments))
    return Ended(code, *(said.buffer.getvalue().decode() for said in (out, err)))


def program(*arguments: str, cwd: Path) -> Ended:
    """Run the real program in a process of its own."""
    command = [sys.executable, "-m", "geocorrect", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=clean_environment(), timeout=120)
    return Ended(done.returncode, done.stdout, done.stderr)


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("GEOCORRECT__", "MAPILLARY"))}


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


@pytest.mark.long
def test_correct_without_anchors_says_what_to_do(tmp_path: Path) -> None:
    geocorrect("init", cwd=tmp_path)
    ended = program("correct", cwd=tmp_path)
    assert ended.returncode == ExitCode.INPUT
    assert "geocorrect anchors add" in ended.stderr
    assert "Traceback" not in ended.stderr


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
    assert well.returncode == ExitCode.INPUT
    assert [line for line in well.stderr.splitlines() if line.startswith("FAIL")] == [
        "FAIL anchors: none, and without them every photo is rejected: add some with `geocorrect anchors add`"
    ]
    assert "0123456789abcdef" not in well.stdout + well.stderr


def test_unknown_words_are_usage_errors(tmp_path: Path) -> None:
    for arguments in (["corect"], ["correct", "--fast"], ["--log-level", "loud", "status"]):
        ended = geocorrect(*arguments, cwd=tmp_path)
        assert ended.returncode == ExitCode.USAGE
        assert "Traceback" not in ended.stderr


def test_version(tmp_path: Path) -> None:
    assert program("--version", cwd=tmp_path).stdout.startswith("geocorrect ")
