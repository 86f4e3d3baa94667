from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.vbr_world import VbrWorld
from typer.testing import CliRunner

from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.registry import FORMATS, anchor_files, find_format
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
