"""Wrong input of every kind: a message that names what and where, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.vbr_world import VbrWorld

from geocorrect.__main__ import run
from geocorrect.demo.mapillary_server.server import FakeMapillaryServer
from geocorrect.errors import ExitCode

ADD_TABLE = "anchors add anchors.csv --format table --crs EPSG:4326 --height-reference ellipsoid"
BOX = "12.50,41.90,12.51,41.91"


@dataclass(frozen=True)
class Case:
    """How the good scene is spoiled, the command that meets it, and what must be said."""

    spoil: Callable[[Path], None]
    command: str
    code: ExitCode
    says: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def nothing(_scene: Path) -> None:
    """The scene stays good; the command itself is wrong."""


def table(old: str, new: str) -> Callable[[Path], None]:
    def spoil(scene: Path) -> None:
        text = (scene / "anchors.csv").read_text()
        assert old in text
        (scene / "anchors.csv").write_text(text.replace(old, new))

    return spoil


def file(name: str, content: bytes | str) -> Callable[[Path], None]:
    def spoil(scene: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (scene / name).write_bytes(data)

    return spoil


def half_image(scene: Path) -> None:
    data = (scene / "a2.png").read_bytes()
    (scene / "a2.png").write_bytes(data[: len(data) // 2])


def other_size(scene: Path) -> None:
    cv2.imwrite(str(scene / "a2.png"), np.zeros((30, 40, 3), np.uint8))


def foreign_database(scene: Path) -> None:
    import sqlite3

    with sqlite3.connect(scene / "x.gpkg") as connection:
        connection.execute("create table notes (text)")
    connection.close()


def catalog_folder(scene: Path) -> None:
    (scene / "x.gpkg").mkdir()


CASES: dict[str, Case] = {
    # --- anchors from a table
    "unknown CRS": Case(nothing, ADD_TABLE.replace("EPSG:4326", "EPSG:99999"), ExitCode.INPUT, ("EPSG:99999",)),
    "CRS not declared": Case(nothing, ADD_TABLE.replace("--crs EPSG:4326", ""), ExitCode.INPUT, ("--crs",)),
    "height reference not declared": Case(
        nothing, ADD_TABLE.replace("--height-reference ellipsoid", ""), ExitCode.INPUT, ("--height-reference",)
    ),
    "latitude and longitude swapped": Case(
        table("12.5010,41.9010", "41.9010,112.5010"), ADD_TABLE, ExitCode.INPUT, ("anchors.csv", "112.5", "swapped")
    ),
    "NaN in the intrinsics": Case(
        table("a2.png,12.5011,41.9010,80.0,90,64,48,60", "a2.png,12.5011,41.9010,80.0,90,64,48,nan"),
        ADD_TABLE, ExitCode.INPUT, ("anchors.csv", "fx"),
    ),
    "a word where a number belongs": Case(
        table("12.5011", "east"), ADD_TABLE, ExitCode.INPUT, ("anchors.csv", "lon_deg", "east")
    ),
    "duplicate anchor ids": Case(table("a2,a2.png", "a1,a2.png"), ADD_TABLE, ExitCode.INPUT, ("anchors.csv", "'a1'")),
    "a column is missing": Case(table("heading_deg", "azimuth"), ADD_TABLE, ExitCode.INPUT, ("heading_deg",)),
    "empty table": Case(file("anchors.csv", ""), ADD_TABLE, ExitCode.INPUT, ("anchors.csv",)),
    "table without rows": Case(
        file("anchors.csv", "id,file,lon_deg,lat_deg,height_m,heading_deg,width,height,fx,fy,cx,cy\n"),
        ADD_TABLE, ExitCode.INPUT, ("anchors.csv",),
    ),
    "image file missing": Case(lambda s: (s / "a2.png").unlink(), ADD_TABLE, ExitCode.INPUT, ("a2.png",)),
    "image of zero bytes": Case(file("a2.png", b""), ADD_TABLE, ExitCode.INPUT, ("a2.png",)),
    "image of another size than its camera": Case(other_size, ADD_TABLE, ExitCode.INPUT, ("a2.png", "40", "64")),
    "table file missing": Case(nothing, ADD_TABLE.replace("anchors.csv", "no.csv"), ExitCode.INPUT, ("no.csv",)),
    "unknown anchor format": Case(nothing, "anchors add anchors.csv --format laz", ExitCode.USAGE, ("laz",)),
    # --- configuration
    "unknown key": Case(file("geocorrect.toml", "[gate]\nx = 1"), "status", ExitCode.CONFIG, ("[gate]", "unknown")),
    "value of the wrong kind": Case(
        file("geocorrect.toml", "[batch]\nworkers = 'two'"), "status", ExitCode.CONFIG, ("batch.workers", "two")
    ),
    "not TOML": Case(file("geocorrect.toml", "[batch"), "status", ExitCode.CONFIG, ("geocorrect.toml", "TOML")),
    "configuration missing": Case(nothing, "-c no.toml status", ExitCode.CONFIG, ("no.toml", "geocorrect init")),
    "bad environment": Case(
        nothing, "status", ExitCode.CONFIG, ("GEOCORRECT__BATCH__SEED",), (("GEOCORRECT__BATCH__SEED", "soon"),)
    ),
    # --- catalog
    "catalog missing": Case(nothing, "status --catalog no.gpkg", ExitCode.DATABASE, ("no.gpkg",)),
    "catalog is a text file": Case(file("x.gpkg", "hello"), "status --catalog x.gpkg", ExitCode.DATABASE, ("x.gpkg",)),
    "catalog of another program": Case(
        foreign_database, "status --catalog x.gpkg", ExitCode.DATABASE, ("x.gpkg",)
    ),
    "catalog is a folder": Case(catalog_folder, "status --catalog x.gpkg", ExitCode.DATABASE, ("x.gpkg",)),
    "database down": Case(
        nothing, "status --catalog postgresql://me:secretword@127.0.0.1:1/x", ExitCode.DATABASE, ("127.0.0.1",)
    ),
    "unknown database kind": Case(nothing, "status --catalog mysql://h/x", ExitCode.DATABASE, ("mysql",)),
    "nothing to correct against": Case(
        nothing, "correct --catalog new.gpkg", ExitCode.DATABASE, ("new.gpkg",)
    ),
    # --- harvest
    "token missing": Case(nothing, f"harvest --bbox {BOX}", ExitCode.CONFIG, ("MAPILLARY_TOKEN",)),
    "box with words": Case(nothing, "harvest --bbox a,b,c,d", ExitCode.USAGE, ("--bbox",)),
    "box of three numbers": Case(nothing, "harvest --bbox 1,2,3", ExitCode.USAGE, ("--bbox",)),
    "empty box": Case(nothing, "harvest --bbox 12.5,41.9,12.5,41.9", ExitCode.INPUT, ("12.5",)),
    "box with swapped latitude": Case(nothing, "harvest --bbox 41.9,112.5,41.91,112.6", ExitCode.INPUT, ("112.5",)),
    "no area at all": Case(nothing, "harvest", ExitCode.USAGE, ("--bbox",)),
    "area file missing": Case(nothing, "harvest --area no.geojson", ExitCode.INPUT, ("no.geojson",)),
    "area is not GeoJSON": Case(file("a.geojson", "{"), "harvest --area a.geojson", ExitCode.INPUT, ("a.geojson",)),
    "area without polygon": Case(
        file("a.geojson", json.dumps({"type": "Point", "coordinates": [12.5, 41.9]})),
        "harvest --area a.geojson", ExitCode.INPUT, ("a.geojson",),
    ),
    "date that is none": Case(nothing, f"harvest --bbox {BOX} --since soon", ExitCode.USAGE, ("--since", "soon")),
    # --- the rest
    "not a KITTI drive": Case(nothing, "evaluate kitti-raw .", ExitCode.INPUT, ("oxts",)),
    "frames that are no numbers": Case(
        nothing, "evaluate kitti-raw . --anchor-frames a,b", ExitCode.USAGE, ("--anchor-frames",)
    ),
    "unknown export format": Case(nothing, "export out.docx --catalog good.gpkg", ExitCode.USAGE, ("docx",)),
    "demo of unknown size": Case(nothing, "demo --size huge", ExitCode.USAGE, ("huge",)),
}  # fmt: skip


def say(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(command.split())
    captured = capsys.readouterr()
    return code, " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize("name", CASES)
def test_is_explained(
    name: str, scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    if "good.gpkg" in case.command:
        assert say("init good", capsys)[0] == 0
        (scene / "good" / "corrections.gpkg").rename(scene / "good.gpkg")
    case.spoil(scene)
    for key, value in case.environment:
        monkeypatch.setenv(key, value)
    before = snapshot(scene)
    code, text = say(case.command, capsys)
    assert code == case.code, text
    for fragment in case.says:
        assert fragment in text
    assert "Traceback" not in text
    assert "secretword" not in text
    assert written(before, snapshot(scene)) == set(), "something half-written was left behind"


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def written(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Files that are new, but for an empty catalog, which is whole."""
    return {name for name in after.keys() - before.keys() if not name.startswith("corrections.gpkg")}


def test_the_unspoiled_scene_is_accepted(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without this the corpus could pass for the wrong reasons."""
    code, text = say(ADD_TABLE, capsys)
    assert code == 0, text
    assert (scene / "corrections.gpkg").is_file()


def test_a_bad_row_stores_nothing(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table("12.5011", "east")(scene)
    assert say(ADD_TABLE, capsys)[0] == ExitCode.INPUT
    if (scene / "corrections.gpkg").is_file():
        _, facts = say("status --json", capsys)
        assert '"n_anchors": 0' in facts


@pytest.fixture
def read_only(scene: Path) -> Iterator[Path]:
    folder = scene / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield folder
    folder.chmod(stat.S_IRWXU)


def test_read_only_output(read_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        # root may write anywhere: a file in the place of a folder refuses root too
        read_only.chmod(stat.S_IRWXU)
        read_only.rmdir()
        read_only.write_text("in the way")
    code, text = say("demo --out locked/demo --size small", capsys)
    assert code == ExitCode.OUTPUT
    assert "locked" in text
    assert say("init locked/scene", capsys)[0] == ExitCode.OUTPUT


VBR_SPOILS: dict[str, tuple[Callable[[VbrWorld], None], tuple[str, ...]]] = {
    "unreadable cloud": (
        lambda w: (w.folder / "ouster_points/data/0000000004.bin").write_bytes(b"\0" * 1001),
        ("0000000004.bin",),
    ),
    "cloud with impossible values": (
        lambda w: np.full((16 * 512, 4), 1e38, np.float32).tofile(w.folder / "ouster_points/data/0000000004.bin"),
        ("0000000004.bin",),
    ),
    "trajectory with a hole": (
        lambda w: w.ground_truth.write_text("\n".join(w.ground_truth.read_text().splitlines()[:12])),
        ("street0_gt.txt",),
    ),
    "truncated trajectory row": (
        lambda w: w.ground_truth.write_text(w.ground_truth.read_text()[:-30]),
        ("street0_gt.txt",),
    ),
    "calibration missing": (lambda w: w.calibration.unlink(), ("vbr_calib.yaml",)),
    "calibration without a camera": (lambda w: w.calibration.write_text("lidar: {}"), ("vbr_calib.yaml", "cam_l")),
    "no time stamps": (lambda w: (w.folder / "camera_left/timestamps.txt").unlink(), ("timestamps.txt",)),
    "image cut short": (
        lambda w: os.truncate(w.folder / "camera_left/data/0000000000.png", 60),
        ("0000000000.png",),
    ),
}


@pytest.mark.parametrize("name", VBR_SPOILS)
def test_damaged_drives_are_refused(name: str, vbr: VbrWorld, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alignment = scene / "alignment.json"
    alignment.write_text(json.dumps({
        "world_from_local": np.eye(4).tolist(),
        "origin": {"name": "here", "lon_deg": 12.5, "lat_deg": 41.9, "height_m": 80.0},
    }))  # fmt: skip
    command = (
        f"anchors add {vbr.folder} --format vbr --calibration {vbr.calibration} --ground-truth {vbr.ground_truth} "
        f"--alignment {alignment} --catalog drive.gpkg"
    )
    spoil, fragments = VBR_SPOILS[name]
    spoil(vbr)
    code, text = say(command, capsys)
    assert code == ExitCode.INPUT, text
    for fragment in fragments:
        assert fragment in text.replace(" ", "") or fragment in text
    if (scene / "drive.gpkg").is_file():
        assert '"n_anchors": 0' in say("status --json --catalog drive.gpkg", capsys)[1]


def test_a_refused_token_is_a_remote_error(
    scene: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "MLY|1|00000000000000000000000000000000"
    monkeypatch.setenv("MAPILLARY_TOKEN", secret)
    with FakeMapillaryServer([], {}) as service:
        monkeypatch.setenv("GEOCORRECT__HARVEST__GRAPH_URL", service.graph_url)
        monkeypatch.setenv("GEOCORRECT__HARVEST__TILES_URL", service.tiles_url)
        monkeypatch.setenv("GEOCORRECT__HARVEST__PRIVATE_IMAGE_HOSTS", "true")
        code, text = say(f"harvest --bbox {BOX}", capsys)
    assert code == ExitCode.REMOTE, text
    assert "token" in text.lower()
    assert secret not in text
