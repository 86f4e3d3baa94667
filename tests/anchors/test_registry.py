from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from support.vbr_world import VbrWorld
from typer.testing import CliRunner

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import FLAGS, FORMATS, anchor_files, find_format
from geocorrect.cli.app import app
from geocorrect.errors import InputError, UsageError


def test_every_format_is_listed_with_what_it_needs() -> None:
    run = CliRunner().invoke(app, ["anchors", "formats", "--json"], catch_exceptions=False)
    rows = json.loads(run.stdout)
    assert [row["format"] for row in rows] == list(FORMATS)
    assert next(row for row in rows if row["format"] == "vbr")["needs"] == "--ground-truth, --alignment"
    text = CliRunner().invoke(app, ["anchors", "formats"], catch_exceptions=False).stdout
    assert all(name in text for name in FORMATS)


def test_the_format_is_found(vbr: VbrWorld, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id, file,lon_deg\n1,a.jpg,3\n")
    layer = tmp_path / "t.geojson"
    layer.write_text('{"type": "FeatureCollection", "features": [{"properties": {"file": "a.jpg"}}]}')
    (tmp_path / "date" / "drive_sync" / "oxts").mkdir(parents=True)
    found = [find_format(path).name for path in (table, layer, vbr.folder, tmp_path / "date")]
    assert found == ["table", "table", "vbr", "kitti-raw"]


def test_an_option_that_a_format_does_not_take_is_refused(vbr: VbrWorld) -> None:
    """It was ignored: a KITTI drive with --crs, a table with --alignment."""
    options = AnchorOptions(crs="EPSG:4326", geoid_undulation_m=48.0, dataset="rome", alignment=Path("a.json"))
    with pytest.raises(UsageError, match=r"--format vbr does not take --crs, --geoid-undulation; it takes --calib"):
        anchor_files(vbr.folder, "auto", options)
    found = anchor_files(vbr.folder, "auto", options, unasked=("crs", "geoid_undulation_m"))
    assert found.options == options
    command = ["anchors", "add", str(vbr.folder), "--geoid-undulation", "48", "--position-sigma", "2"]
    with pytest.raises(UsageError, match="does not take --geoid-undulation, --position-sigma;"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_formats_take_options_that_there_are() -> None:
    """And the command line has each of them."""
    known = {one.name for one in fields(AnchorOptions)}
    assert {name for one in FORMATS.values() for name in one.takes} | {"dataset"} == known
    text = " ".join(CliRunner().invoke(app, ["anchors", "add", "--help"], env={"COLUMNS": "300"}).stdout.split())
    assert [name for name in known if "--" + FLAGS.get(name, name).replace("_", "-") not in text] == []


def test_what_is_no_format_or_two_is_refused(vbr: VbrWorld, tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    (vbr.folder / "oxts").mkdir()
    for path, message in (
        (tmp_path / "none", "no such file or folder"),
        (empty, "no known format of anchors; `geocorrect anchors formats`"),
        (vbr.folder, "--format vbr or --format kitti-raw"),
    ):
        with pytest.raises(InputError, match=message):
            anchor_files(path)
    with pytest.raises(UsageError, match="--format 'colonmap': use auto, table, vbr"):
        anchor_files(empty, "colonmap", AnchorOptions())
