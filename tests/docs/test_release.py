"""What a release says of itself, and what a user gets from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import catalog_world as world
from support.docs_page import block, commands

from geocorrect import Catalog, __version__, load_settings
from geocorrect.__main__ import run
from geocorrect.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_one_version_everywhere() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__
    newest = re.search(r"^## \[([^]]+)\] – (not yet released|\d{4}-\d\d-\d\d)$", CHANGELOG, re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__
    for file in ("docs/scheduling.md", "docs/deploy/kubernetes/geocorrect.yml"):
        tags = re.findall(r"geocorrect:(\d+\.\d+\.\d+)", (ROOT / file).read_text(encoding="utf-8"))
        assert set(tags) == {__version__}, file


def test_every_section_of_the_newest_version_stands_once() -> None:
    """A merge that keeps both sides would leave it twice."""
    newest = CHANGELOG.split("\n## [")[1]
    sections = re.findall(r"^### (.*)$", newest, re.MULTILINE)
    assert len(sections) > 3
    assert sorted(sections) == sorted(set(sections))


def test_upgrade_notes_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "geocorrect.toml"
    settings.write_text(block(CHANGELOG, "toml before"))
    with pytest.raises(ConfigError, match="use batch.cached_anchors_mib"):
        load_settings(settings)
    settings.write_text(block(CHANGELOG, "toml now"))
    assert load_settings(settings).settings.batch.cached_anchors_mib == 1024
    with Catalog.open(str(tmp_path / "corrections.gpkg"), create=True) as catalog:
        world.fill(catalog)
    monkeypatch.chdir(tmp_path)
    for command in commands(block(CHANGELOG, "upgrade"), tmp_path):
        assert run(command) == 0, command


@pytest.mark.slow
def test_the_wheel_does_what_the_first_minutes_promise(tmp_path: Path) -> None:
    """A fresh environment, the wheel in it: demo, tutorial, README, and the photo within 5 cm (`.ci/smoke`)."""
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    built = subprocess.run(wheel, capture_output=True, text=True, check=False)
    if built.returncode and "hatchling" in built.stderr and not os.environ.get("GEOCORRECT_REQUIRE_WEIGHTS"):
        pytest.skip("no package index")
    assert built.returncode == 0, built.stderr
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "user"], check=True)
    (file,) = tmp_path.glob("*.whl")
    subprocess.run([tmp_path / "user" / "bin" / "pip", "install", "--quiet", file], check=True)
    done = subprocess.run([ROOT / ".ci" / "smoke", tmp_path / "user"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"geocorrect {re.escape(__version__)}: \d\.\d\d cm from where the photo was taken", done.stdout)
