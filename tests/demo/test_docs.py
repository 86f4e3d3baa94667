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
from support.docs_page import block, commands
from support.world_cache import cached_demo

from geocorrect.__main__ import run
from geocorrect.config import Settings, load_settings
from geocorrect.depth.registry import depth_rows
from geocorrect.io.masks import mask_beside

DOCS = Path(__file__).resolve().parents[2] / "docs"
DEPTH, LOCALIZE = ((DOCS / name).read_text(encoding="utf-8") for name in ("depth.md", "localize.md"))


def shell(script: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{script}"], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `make demo` has run, on the small street."""
    folder = tmp_path_factory.mktemp("docs")
    finished = cached_demo()
    shutil.copytree(finished, folder / "out" / "demo", ignore=shutil.ignore_patterns("images"))
    # The catalog knows the photos by where they lie.
    (folder / "out" / "demo" / "images").symlink_to(finished / "images")
    return folder


class Here:
    """Runs the commands of a script in this process; answers with what they print to stderr, on one line."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = patch, capsys

    def __call__(self, script: str, folder: Path) -> str:
        self._patch.chdir(folder)
        for command in commands(script, folder):
            assert run(command) == 0, self._capsys.readouterr().err
        return " ".join(self._capsys.readouterr().err.split())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capsys)


@pytest.mark.long
def test_one_photo(folder: Path) -> None:
    """In a shell, with its wildcard and its redirection."""
    shell(block(LOCALIZE, "localize"), folder)
    assert (folder / "photo.png").stat().st_size > 50_000
    answer = json.loads((folder / "photo.json").read_text())
    assert (answer["status"], answer["depth"]) == ("accepted", "triangulated")


@pytest.mark.long
def test_one_photo_against_files(folder: Path, here: Here) -> None:
    assert "accepted" in here(block(LOCALIZE, "files"), folder)


@pytest.mark.long
def test_depth_from_neighbours(folder: Path, here: Here) -> None:
    """The page's last command is run by test_triangulated.py."""
    *first, last = block(DEPTH, "triangulated").splitlines()
    assert last.startswith("geocorrect demo --depth triangulated ")
    said = here("\n".join(first), folder)
    assert "6 of 6 anchors are to be done" in said
    assert "6 of 6 anchors done" in said


def test_calibrated_depth(tmp_path: Path, here: Here) -> None:
    world = write_depth_world(tmp_path / "scene", n_anchors=3)
    config = world.folder / "geocorrect.toml"
    text = config.read_text()
    here(
        "geocorrect init . --force && geocorrect anchors add anchors.csv --format table --crs EPSG:4326 "
        "--height-reference ellipsoid && geocorrect import photos",
        world.folder,
    )
    config.write_text(text)
    assert "accepted" in here(block(DEPTH, "calibrated"), world.folder)
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
