"""The how-to pages: their commands, code and queries run as they stand."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.docs_page import block, commands
from support.world_cache import cached_demo

from geocorrect.__main__ import run

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"


def page(name: str) -> str:
    return (HOWTO / f"{name}.md").read_text(encoding="utf-8")


def run_all(script: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the commands in this process, each in the folder where the shell would be; how many there were."""
    ran = 0
    monkeypatch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
    lines: list[str] = []
    for line in script.splitlines():
        enters = " && cd " in line
        arguments = commands("\n".join([*lines, line.split(" && cd ")[0]]), Path.cwd())
        for command in arguments:
            assert run(command) == 0, command
        ran += len(arguments)
        if enters:
            monkeypatch.chdir(line.split(" && cd ")[1])
        lines = [*lines, line] if line.startswith("DRIVE=") else lines
    return ran


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `make demo` has run, on the small street."""
    folder = tmp_path_factory.mktemp("howto")
    finished = cached_demo()
    shutil.copytree(finished, folder / "out" / "demo", ignore=shutil.ignore_patterns("images"))
    (folder / "out" / "demo" / "images").symlink_to(finished / "images")
    return folder


def test_own_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "anchors.csv").write_text(block(page("own_rig"), "table") + "\n")
    (tmp_path / "front").mkdir()
    for name in ("0001", "0002"):
        cv2.imwrite(str(tmp_path / "front" / f"{name}.jpg"), np.zeros((240, 320, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    *script, doctor = block(page("own_rig"), "commands").splitlines()
    assert doctor == "geocorrect doctor"  # complains about the token: what it says is tested with the command
    assert run_all("\n".join(script), monkeypatch) == 3
    assert rows("corrections.gpkg", "SELECT count(*) FROM anchor") == [(2,)]


@pytest.mark.long
def test_vbr(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    assert run_all(block(page("vbr"), "commands"), monkeypatch) == 3
    assert rows("corrections.gpkg", "SELECT count(*) > 0 FROM anchor") == [(1,)]


@pytest.mark.data
def test_kitti(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evaluate` is run by evaluate/test_kitti_protocol.py."""
    (tmp_path / "kitti_raw").symlink_to(shared_data / "kitti_raw")
    monkeypatch.chdir(tmp_path)
    assert run_all(block(page("kitti"), "commands"), monkeypatch) == 3
    assert rows("corrections.gpkg", "SELECT count(*) FROM anchor") == [(20,)]
    assert block(page("kitti"), "evaluate") == "geocorrect evaluate kitti-raw kitti_raw"


@pytest.mark.long
def test_choose(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    *lists, doctor = block(page("choose"), "commands").splitlines()
    assert doctor.endswith(" doctor")
    assert run_all("\n".join([*lists, block(page("choose"), "compare")]), monkeypatch) == 3
    assert (demo / "triangulated.png").stat().st_size > 50_000


@pytest.mark.long
def test_trust(demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(demo)
    exec(compile(block(page("trust"), "python"), "trust.md", "exec"), {"__name__": "__main__"})
    expected_error_m, ellipse = capsys.readouterr().out.splitlines()
    assert 0.001 < float(expected_error_m) < 0.1
    assert ellipse.startswith("Ellipse(semi_major_m=")
    assert (demo / "photo.png").exists()
    queries = [query for query in block(page("trust"), "sql").split(";") if query.strip()]
    answers = [rows("out/demo/corrections.gpkg", query) for query in queries]
    assert len(answers) == 3
    assert len(answers[0]) == 3
    assert answers[1] == [("lidar", 1, 3)]


def rows(catalog: str, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(catalog)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
