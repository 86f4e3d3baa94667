"""docs/tutorial.md is executable: its commands, code and queries; so is the README's example."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.docs_page import block, commands
from support.world_cache import cached_demo, cached_world

from geocorrect.__main__ import run
from geocorrect.demo.demo import CONFIGURATION
from geocorrect.demo.serve import PROCESS
from geocorrect.demo.world.build import open_world
from geocorrect.errors import ExitCode

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `geocorrect demo` has run on the small street."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(cached_demo(), folder / "out" / "demo")
    return folder


def test_commands_work_as_they_stand(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the small street, in this process; what the shell does between the commands is done by bash."""
    shutil.copytree(demo / "out" / "demo", tmp_path / "out" / "demo")
    monkeypatch.chdir(tmp_path)
    _, serve, init, enter, *others = block(TUTORIAL, "commands").splitlines()
    assert serve == 'eval "$(geocorrect demo --serve)"'
    assert run(["demo", "--serve"]) == ExitCode.OK
    environment = dict(re.findall(r"export (\w+)='([^']*)'", capsys.readouterr().out))
    try:
        for name, value in {**environment, "GEOCORRECT__BATCH__ENGINE": "in-process"}.items():
            monkeypatch.setenv(name, value)
        assert run(init.split()[1:]) == ExitCode.OK
        subprocess.run(["bash", "-euc", enter], check=True)
        monkeypatch.chdir(tmp_path / "rome")
        assert others.pop() == f'kill "${PROCESS}"'
        called: list[str] = []
        for script in ("\n".join(others[:3]), *others[3:]):  # the loop; later lines find what earlier ones have made
            for arguments in commands(script, Path.cwd()):
                called.append(arguments[0])
                assert run(arguments) == ExitCode.OK, arguments
    finally:
        os.kill(int(environment[PROCESS]), signal.SIGTERM)
    assert called == ["anchors", "anchors", "harvest", "correct", "review", "sequences", "export", "status", "localize"]
    assert "4 of 4 due images computed: 3 accepted" in " ".join(capsys.readouterr().err.split())
    assert len(json.loads((tmp_path / "rome" / "corrections.geojson").read_text())["features"]) == 3


@pytest.mark.slow
def test_a_fresh_shell_gets_what_the_tutorial_says(tmp_path: Path) -> None:
    """The whole street, exactly as printed; only the place of the program is another."""
    cached_world(tmp_path / "out" / "demo" / "world", size="full")
    written = tmp_path / "out" / "demo" / "geocorrect.toml"
    written.write_text(CONFIGURATION.format(file=written, catalog="corrections.gpkg", depth="lidar", workers=2))
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "geocorrect").write_text(f'#!/bin/sh\nexec {sys.executable} -m geocorrect "$@"\n')
    (programs / "geocorrect").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GEOCORRECT", "MAPILLARY"))}
    done = subprocess.run(
        ["bash", "-euc", block(TUTORIAL, "commands")], cwd=tmp_path, env=kept | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    promised = re.search(r"once more: (\d+) accepted, (\d+) that waits? for a review,\s(\d+) rejected", TUTORIAL)
    assert promised is not None
    accepted, review, rejected = promised.groups()
    assert f"80 of 80 due images computed: {accepted} accepted, {review} for review, {rejected} rejected" in said
    assert accepted == "68"
    assert len(json.loads((tmp_path / "rome" / "corrections.geojson").read_text())["features"]) >= 68


def test_python_examples_run(demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(demo)
    photo: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(block(README, "python, a photo"), "README.md", "exec"), photo)
    assert capsys.readouterr().out.startswith("accepted 12.5")
    result, truth = photo["result"], open_world(demo / "out" / "demo" / "world").truth.photos["286263330248634"]
    here_m = result.frame.enu_from_wgs84(result.lon_deg, result.lat_deg, result.height_m)
    assert np.linalg.norm(here_m - truth.world_from_cam.translation_m) < 0.05
    found: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(block(TUTORIAL, "python, a catalog"), "tutorial.md", "exec"), found)
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 3
    assert "(6, 6)" in shown
    assert len(found["table"]) == 3
    assert found["table"].crs.to_epsg() == 4326


def test_queries_run(demo: Path) -> None:
    queries = [query for query in block(TUTORIAL, "sql").split(";") if query.strip()]
    assert len(queries) == 5
    connection = sqlite3.connect(demo / "out" / "demo" / "corrections.gpkg")
    answers = [connection.execute(query).fetchall() for query in queries]
    connection.close()
    assert len(answers[0]) == 3
    assert answers[1][0][1] == 1
    assert all(answers)
