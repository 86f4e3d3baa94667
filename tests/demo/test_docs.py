"""The commands and examples of docs/depth.md and docs/localize.md, as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from support.depth_world import write_depth_world

from geocorrect.__main__ import run
from geocorrect.config import Settings, load_settings
from geocorrect.demo.world.build import DemoWorld
from geocorrect.depth.registry import depth_rows
from geocorrect.io.masks import mask_beside

DOCS = Path(__file__).resolve().parents[2] / "docs"
DEPTH, LOCALIZE = ((DOCS / name).read_text(encoding="utf-8") for name in ("depth.md", "localize.md"))


def block(page: str, name: str) -> str:
    return page.split(f"<!-- test: {name} -->\n", 1)[1].split("\n", 1)[1].split("\n```", 1)[0]


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{script}"], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(small_world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `make demo` has run, on the small street."""
    folder = tmp_path_factory.mktemp("docs")
    for out in ("demo", "demo-triangulated"):
        shutil.copytree(small_world.folder, folder / "out" / out / "world")
    assert run(["demo", "--out", str(folder / "out" / "demo"), "--size", "small", "--workers", "1"]) == 0
    return folder


def test_one_photo(folder: Path) -> None:
    shell(block(LOCALIZE, "localize"), folder)
    assert (folder / "photo.png").stat().st_size > 50_000
    answer = json.loads((folder / "photo.json").read_text())
    assert (answer["status"], answer["depth"]) == ("accepted", "triangulated")


def test_one_photo_against_files(folder: Path) -> None:
    assert "accepted" in shell(block(LOCALIZE, "files"), folder).stderr


def test_depth_from_neighbours(folder: Path) -> None:
    script = block(DEPTH, "triangulated").replace("demo --depth", "demo --size small --depth")
    said = shell(script, folder).stderr
    assert "6 of 6 anchors are to be done" in said
    assert "6 of 6 anchors done" in said
    assert (folder / "out" / "demo-triangulated" / "report.html").is_file()


def test_calibrated_depth(tmp_path: Path) -> None:
    world = write_depth_world(tmp_path / "scene", n_anchors=3)
    config = world.folder / "geocorrect.toml"
    text = config.read_text()
    shell(
        "geocorrect init . --force && geocorrect anchors add anchors.csv --format table --crs EPSG:4326 "
        "--height-reference ellipsoid && geocorrect import photos",
        world.folder,
    )
    config.write_text(text)
    assert "accepted" in shell(block(DEPTH, "calibrated"), world.folder).stderr
    assert len((world.folder / "calibration.csv").read_text().splitlines()) == 4


def test_settings_are_settings(tmp_path: Path) -> None:
    (tmp_path / "geocorrect.toml").write_text(block(DEPTH, "settings"))
    settings = load_settings(tmp_path / "geocorrect.toml").settings
    assert settings.depth.needs_neighbours
    assert settings.calibrations.folder == tmp_path / "calibrations"


def test_the_mask_is_a_mask(tmp_path: Path) -> None:
    PillowImage.new("RGB", (1920, 1080)).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.vehicles.json").write_text(block(DEPTH, "mask"))
    usable = mask_beside(tmp_path / "photo.jpg", "vehicles")
    assert usable is not None
    assert np.flatnonzero(usable[:, 960]).tolist() == list(range(900))


def sources_table() -> str:
    lines = ["| `source` | needs | depths, m | error: one / shared | licence | for companies | label |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in depth_rows(Settings().depth):
        needs = re.sub(r"(?<=weights of )\w+|<anchor id>.npy", r"`\g<0>`", row["needs"])
        errors = row["errors"].replace("/", " / ")
        label = "oracle" if row["is_oracle"] else ""
        cells = f"`{row['source']}`", needs, row["range"], errors, row["licence"], row["commercial"], label
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def test_the_table_of_sources_is_what_they_declare() -> None:
    assert DEPTH.split("<!-- test: sources -->\n", 1)[1].split("\n\n", 1)[0] == sources_table()


def test_links_and_pictures_exist() -> None:
    for page in (DEPTH, LOCALIZE):
        assert all((DOCS / target).exists() for target in re.findall(r"\]\(([^)#:]+)\)", page))
