"""`geocorrect anchors calibrate` and what runs make of it, as a user types it; killed runs go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.child_process import child
from support.depth_world import FRAME, NETWORK, NETWORK_SCALE, DepthWorld, write_depth_world
from support.warm_program import WarmStart

from geocorrect.__main__ import run
from geocorrect.catalog.store import Catalog
from geocorrect.errors import ExitCode
from geocorrect.records import Correction

pytestmark = pytest.mark.long

ADD = "anchors add anchors.csv --format table --crs EPSG:4326 --height-reference ellipsoid"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> DepthWorld:
    """A scene with anchors and photos in its catalog, nothing calibrated."""
    world = write_depth_world(tmp_path_factory.mktemp("wall") / "scene")
    config = world.folder / "geocorrect.toml"
    text = config.read_text()
    assert run(["init", str(world.folder), "--force"]) == 0
    config.write_text(text)
    here = Path.cwd()
    os.chdir(world.folder)
    try:
        assert run(ADD.split()) == 0
        assert run(["import", "photos"]) == 0
    finally:
        os.chdir(here)
    return world


@pytest.fixture
def scene(prepared: DepthWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DepthWorld:
    """A copy to work in; pictures stay where the catalog says they are."""
    folder = tmp_path / "scene"
    folder.mkdir()
    for name in ("corrections.gpkg", "geocorrect.toml"):
        shutil.copy(prepared.folder / name, folder / name)
    (folder / "depth").symlink_to(prepared.folder / "depth")
    monkeypatch.chdir(folder)
    return DepthWorld(folder, prepared.anchors_m, prepared.photos_m)


def in_processes(patch: pytest.MonkeyPatch, workers: int) -> None:
    patch.setenv("GEOCORRECT__BATCH__ENGINE", "local")
    patch.setenv("GEOCORRECT__BATCH__WORKERS", str(workers))


def in_this_process(patch: pytest.MonkeyPatch) -> None:
    """For what is not about processes: a worker takes seconds to start."""
    patch.setenv("GEOCORRECT__BATCH__ENGINE", "in-process")
    patch.setenv("GEOCORRECT__BATCH__WORKERS", "1")


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    in_this_process(monkeypatch)


def calibrate(capsys: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["anchors", "calibrate", "--json", *more]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def results(scene: DepthWorld) -> dict[str, Any]:
    with Catalog.open(str(scene.folder / "corrections.gpkg")) as catalog:
        frame = catalog.frame()
        assert frame is not None
        return {stored.result.image_id: (stored, frame) for stored in catalog.current()}


def errors_m(scene: DepthWorld) -> list[float]:
    found = []
    for image_id, (stored, frame) in results(scene).items():
        assert isinstance(stored.result, Correction), stored.result
        truth = frame.this_from(FRAME).apply(scene.photos_m[image_id.removesuffix(".jpg")])
        found.append(float(np.linalg.norm((stored.result.world_from_cam.translation_m - truth)[:2])))
    return found


def test_calibrated_depth_from_the_command_line(
    scene: DepthWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One anchor per photo: nothing but its depth can tell the scale.
    monkeypatch.setenv("GEOCORRECT__RETRIEVE__MAX_CANDIDATES", "1")
    assert run(["correct"]) == ExitCode.CONFIG
    said = " ".join(capsys.readouterr().err.split())
    assert "no depth calibration" in said
    assert "run `geocorrect anchors calibrate`" in said
    assert results(scene) == {}

    before = calibrate(capsys, "--dry-run")
    assert (before["n_anchors"], before["n_reused"]) == (5, 0)
    assert not (scene.folder / "calibrations").exists()
    done = calibrate(capsys)
    assert (done["n_done"], done["n_reused"], done["n_without_neighbours"], done["n_insufficient"]) == (5, 0, 0, 0)
    for row in done["anchors"]:
        assert row["scale_before"] == pytest.approx(NETWORK_SCALE, rel=0.04)
        assert row["scale_after"] == pytest.approx(1.0, abs=0.01)
        assert row["spread_after"] < 0.2 * row["spread_before"]
        assert row["n_neighbours"] == 4
    page = (scene.folder / "calibrations" / "report.html").read_text()
    assert all(name in page for name in scene.anchors_m)

    assert run(["correct"]) == 0
    assert max(errors_m(scene)) < 0.1
    for stored, _ in results(scene).values():
        assert stored.result.evidence.depth == f"{NETWORK}+calibrated"
        assert not stored.result.evidence.depth_is_oracle
    assert run(["correct", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_due"] == 0

    assert calibrate(capsys)["n_reused"] == 5
    monkeypatch.setenv("GEOCORRECT__DEPTH__CALIBRATE", "false")
    assert run(["correct"]) == 0
    assert np.median(errors_m(scene)) > 0.15, "the raw prediction is wrong by a quarter"


def test_triangulated_is_the_same_in_one_process_in_two_and_from_disk(
    scene: DepthWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOCORRECT__DEPTH__SOURCE", "triangulated")
    monkeypatch.setenv("GEOCORRECT__DEPTH__CALIBRATE", "false")
    monkeypatch.setenv("GEOCORRECT__RETRIEVE__MAX_CANDIDATES", "2")
    plain = []
    for in_two in (False, True):
        if in_two:
            in_processes(monkeypatch, 2)
            assert calibrate(capsys)["n_done"] == 5
            shutil.copy(scene.folder / "untouched.gpkg", scene.folder / "corrections.gpkg")
        else:
            shutil.copy(scene.folder / "corrections.gpkg", scene.folder / "untouched.gpkg")
        assert run(["correct"]) == 0
        assert max(errors_m(scene)) < 0.1
        plain.append(
            {
                name: (stored.result.world_from_cam.matrix.tobytes(), repr(stored.result.evidence))
                for name, (stored, _) in results(scene).items()
            }
        )
    assert plain[0] == plain[1]
    assert all("'triangulated'" in evidence for _, evidence in plain[0].values())


def wait_until_nobody_writes(folder: Path) -> None:
    """The processes of a killed parent end a moment after it."""
    before = None
    while before != (now := sorted(path.name for path in folder.iterdir())):
        before = now
        time.sleep(0.5)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_calibration_goes_on(
    workers: int,
    warm: WarmStart,
    scene: DepthWorld,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_processes(monkeypatch, workers)
    folder = scene.folder / "calibrations"
    process = warm(["anchors", "calibrate"], dict(os.environ), scene.folder / "log.txt")
    deadline = time.monotonic() + 120
    while not list(folder.glob("*.npz")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until_nobody_writes(folder)
    kept = {path.name: path.read_bytes() for path in folder.glob("*.npz")}
    assert 1 <= len(kept) < 5
    if workers == 1:
        in_this_process(monkeypatch)
    resumed = calibrate(capsys)
    assert (resumed["n_done"], resumed["n_reused"]) == (5, len(kept))
    assert {path.name: path.read_bytes() for path in folder.glob("*.npz") if path.name in kept} == kept

    shutil.move(folder, scene.folder / "resumed")
    in_this_process(monkeypatch)
    at_once = calibrate(capsys)
    for row, other in zip(at_once["anchors"], resumed["anchors"], strict=True):
        assert row | {"reused": None} == other | {"reused": None}
    assert {path.name for path in folder.glob("*.npz")} == {p.name for p in (scene.folder / "resumed").glob("*.npz")}


def test_sigterm_finishes_the_anchor_at_hand(
    warm: WarmStart, scene: DepthWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_processes(monkeypatch, 1)
    process = warm(["anchors", "calibrate"], dict(os.environ), scene.folder / "log.txt")
    deadline = time.monotonic() + 120
    while not list((scene.folder / "calibrations").glob("*.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == ExitCode.TERMINATED
    assert "run the same command again" in " ".join((scene.folder / "log.txt").read_text().split())
    in_this_process(monkeypatch)
    assert calibrate(capsys)["n_reused"] >= 1


def test_anchors_that_cannot_be_calibrated_are_named(
    prepared: DepthWorld, scene: DepthWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene.folder / "depth").unlink()
    shutil.copytree(prepared.folder / "depth", scene.folder / "depth")
    (scene.folder / "depth" / "a3.npy").unlink()
    answer = calibrate(capsys, "--report", "table.csv", code=ExitCode.INPUT)
    assert answer["n_done"] == 4
    assert "a3.npy: no such depth file" in answer["unusable"][0]
    lines = (scene.folder / "table.csv").read_text().splitlines()
    assert lines[0].startswith("anchor_id,n_neighbours,n_tracks,scale_before")
    assert [line.split(",")[0] for line in lines[1:]] == ["a0", "a1", "a2", "a4"]


def test_a_lone_anchor_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = write_depth_world(tmp_path / "lone", n_anchors=1)
    monkeypatch.chdir(world.folder)
    assert run(["init", ".", "--force"]) == 0
    assert run(ADD.split()) == 0
    assert run(["anchors", "calibrate", "--depth", "triangulated"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "0 of 1 anchors have depth from neighbours" in said
    assert "1 anchors have no neighbour under their own alignment: a0" in said


@pytest.mark.parametrize(
    ("more", "code", "fragment"),
    [
        (["--depth", "lidar"], ExitCode.CONFIG, "needs no calibration"),
        (["--depth", "sonar"], ExitCode.USAGE, "sonar"),
        (["--report", "table.xlsx"], ExitCode.USAGE, ".html"),
        (["--report", "no/table.csv"], ExitCode.OUTPUT, "no/table.csv"),
        (["--catalog", "no.gpkg"], ExitCode.DATABASE, "no.gpkg"),
    ],
)
def test_wrong_use_is_explained(
    more: list[str], code: int, fragment: str, scene: DepthWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene.folder / "no").touch()
    assert run(["anchors", "calibrate", *more]) == code
    assert fragment in " ".join(capsys.readouterr().err.split())


def children_of(process_id: int) -> list[int]:
    """Process ids of the workers that a process has spawned."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process_id and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find the workers")
def test_a_worker_that_dies_once_costs_no_anchor(
    scene: DepthWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_processes(monkeypatch, 2)
    command = [sys.executable, "-m", "geocorrect", "anchors", "calibrate", "--json"]
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 120
        while not (workers := children_of(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
        answer = json.loads(process.communicate(timeout=240)[0])
    assert process.returncode == ExitCode.OK
    assert (answer["n_done"], answer["n_reused"], answer["unusable"]) == (5, 0, [])
    in_this_process(monkeypatch)
    assert calibrate(capsys)["n_reused"] == 5
