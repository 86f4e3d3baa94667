"""The commands that docs/accuracy.md shows, on one query each; and that the page is what they print."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "accuracy.md"


def commands() -> list[list[str]]:
    """Every benchmark command of the page, without its environment and its `python`."""
    shown = re.findall(r"^(?:\w+=\S+ )*python (benchmarks/\S+.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in shown]


def run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_shows_commands() -> None:
    assert {Path(c[0]).name for c in commands()} == {
        "estimator.py",
        "estimator_bars.py",
        "calibrate_gate.py",
    }


IN_TURN = """
import json, runpy, sys
commands = json.loads(sys.argv[1])
sys.path[0] = "benchmarks"
for sys.argv in commands:
    print("\\f", end="")
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""
"""Scripts in one process, which imports everything once."""


def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    """In a copy: the fit writes the gate's model and a picture."""
    for name in ("benchmarks", "geocorrect", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    (tmp_path / "docs" / "img").mkdir(exist_ok=True)
    scripts = []
    for shown in commands():
        shown = shown[: shown.index("--real")] if "--real" in shown else shown  # stores of other commands
        small = [re.sub(r"^300$|^20$", "1", word) for word in shown]
        if shown[1:2] == ["run"] and "calibrate_gate.py" in shown[0]:
            if "--first-seed" not in shown:
                small[small.index("--queries") + 1] = "6"  # fewer cannot be fitted to
            small += ["--cells", "1 anchor", "2 anchors", "1 anchor, half wrong"]
        elif shown[1:2] == ["run"]:
            small += ["--cells", "k1"]
        scripts.append(small)
    _, *printed = run(["-c", IN_TURN, json.dumps(scripts)], tmp_path).split("\f")
    for script, said in zip(scripts, printed, strict=True):
        if "estimator.py" in script[0]:
            assert "| n |" in said, script
        if script[1] == "judge":
            assert "| 1 anchor | 2 |" in said, "one query, two kinds of depth: of the unseen seeds alone"
    assert (tmp_path / "docs" / "img" / "trust.png").exists()
    assert "COVARIANCE_INFLATION" in (tmp_path / "geocorrect" / "localize" / "gate_model.py").read_text()


def test_a_second_run_continues_and_computes_nothing_twice(tmp_path: Path) -> None:
    store = tmp_path / "estimator.jsonl"
    arguments = [
        str(ROOT / "benchmarks" / "estimator.py"),
        "run",
        "--queries",
        "1",
        "--cells",
        "k1",
        "--store",
        str(store),
    ]
    run(arguments, tmp_path)
    before = store.read_text()
    assert {json.loads(line)["cell"] for line in before.splitlines()} == {"k1"}
    run(arguments, tmp_path)
    assert store.read_text() == before


@pytest.mark.parametrize("name", ["trust.png", "reliability.png"])
def test_pictures_of_the_page_exist(name: str) -> None:
    assert f"img/{name}" in PAGE.read_text(encoding="utf-8")
    assert (ROOT / "docs" / "img" / name).stat().st_size > 5_000
