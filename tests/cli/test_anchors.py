from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.vbr_world import VbrWorld
from typer.testing import CliRunner

from geocorrect.catalog.store import Catalog
from geocorrect.cli.app import app
from geocorrect.errors import InputError, UsageError


@pytest.fixture
def command(vbr: VbrWorld, tmp_path: Path) -> list[str]:
    alignment = tmp_path / "alignment.json"
    alignment.write_text(json.dumps(vbr.alignment.as_json()))
    return [
        "anchors", "add", str(vbr.folder), "--format", "vbr", "--ground-truth", str(vbr.ground_truth),
        "--alignment", str(alignment), "--spacing-m", "2", "--catalog", str(tmp_path / "scene.gpkg"),
    ]  # fmt: skip


@pytest.mark.long
def test_a_sequence_lands_in_the_catalog(command: list[str], vbr: VbrWorld, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    assert run.exit_code == 0
    answer = json.loads(run.stdout)
    assert answer["alignment_id"] == vbr.alignment.id
    with Catalog.open(str(tmp_path / "scene.gpkg")) as catalog:
        assert len(catalog.anchors()) == answer["n_anchors"]
        assert all(anchor.path.is_absolute() for anchor in catalog.anchors().values())


def test_a_sequence_has_the_name_that_it_is_given(command: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, [*command, "--dataset", "ours"], catch_exceptions=False).exit_code == 0
    with Catalog.open(str(tmp_path / "scene.gpkg")) as catalog:
        assert {anchor.dataset for anchor in catalog.anchors().values()} == {"ours"}


def test_a_dry_run_stores_nothing(command: list[str], tmp_path: Path) -> None:
    run = CliRunner().invoke(app, [*command, "--dry-run"], catch_exceptions=False)
    assert run.exit_code == 0
    assert "anchors could be added" in run.stderr
    assert not (tmp_path / "scene.gpkg").exists()


def test_damage_leaves_no_anchors(command: list[str], vbr: VbrWorld, tmp_path: Path) -> None:
    for path in (vbr.folder / "camera_left/data").glob("*.png"):
        path.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"\.png: not a readable image"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    with Catalog.open(str(tmp_path / "scene.gpkg")) as catalog:
        assert catalog.anchors() == {}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--scans", "perhaps"], "--scans 'perhaps': use required, if_present, none"),
        (["--uncovered", "guess"], "--uncovered 'guess': use refuse, skip"),
    ],
)
def test_unknown_choices_are_usage_errors(command: list[str], changed: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, [*command, *changed], catch_exceptions=False)


def test_a_sequence_without_alignment_is_a_usage_error(command: list[str]) -> None:
    where = command.index("--alignment")
    with pytest.raises(UsageError, match="needs --ground-truth SEQ_gt.txt and --alignment"):
        CliRunner().invoke(app, command[:where] + command[where + 2 :], catch_exceptions=False)


@pytest.mark.long
@pytest.mark.data
def test_kitti_raw_by_command(shared_data: Path, tmp_path: Path) -> None:
    catalog = str(tmp_path / "kitti.gpkg")
    arguments = [
        "anchors",
        "add",
        str(shared_data / "kitti_raw"),
        "--format",
        "kitti-raw",
        "--catalog",
        catalog,
        "--json",
    ]
    run = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert json.loads(run.stdout)["n_anchors"] == 20
