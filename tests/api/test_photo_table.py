from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from geocorrect.catalog.store import Catalog
from geocorrect.cli.app import app
from geocorrect.errors import InputError, Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.projection import Projection

HEADER = "file,id,lon_deg,lat_deg,heading_deg,captured_at,sequence_id,camera_model,width,height,fx,fy,cx,cy,k1"
ROW = "in/a.jpg,q1,12.5,41.9,370,2024-05-01T10:00:00+02:00,trip,OPENCV_FISHEYE,32,24,30,31,15,11,0.01"


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "in").mkdir(exist_ok=True)
    cv2.imwrite(str(tmp_path / "in/a.jpg"), np.zeros((24, 32, 3), np.uint8))
    (path := tmp_path / "photos.csv").write_text(text)
    return path


def run(tmp_path: Path, text: str) -> Catalog:
    arguments = ["import", str(table(tmp_path, text)), "--format", "table", "--catalog", str(tmp_path / "c.gpkg")]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    return Catalog.open(str(tmp_path / "c.gpkg"))


def test_positions_and_intrinsics_of_photos_have_a_door(tmp_path: Path) -> None:
    with run(tmp_path, f"{HEADER}\n{ROW}\nin/a.jpg,bare\nin/b.jpg,gone\n") as catalog:
        images = catalog.images()
    one = images["q1"]
    assert one.reported is not None
    assert (one.reported.lon_deg, one.reported.lat_deg, one.heading_deg) == (12.5, 41.9, 10.0)
    assert one.camera == Camera(Projection.FISHEYE_OPENCV, 32, 24, 30, 31, 15, 11, (0.01,))
    assert (one.sequence_id, one.problem) == ("trip", None)
    assert one.captured_at is not None
    assert one.captured_at.isoformat() == "2024-05-01T08:00:00+00:00"
    assert images["bare"].problem is Reason.POSITION_MISSING
    assert images["gone"].problem is Reason.IMAGE_MISSING


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lon_deg", "longitude", "column 'longitude' is not known; did you mean 'lon_deg'"),
        (",32,24,", ",64,48,", "line 2: in/a.jpg is 32×24 pixels, the row says 64×48"),
        ("41.9", "191.9", "line 2: .*is not a position on earth"),
        ("12.5,", ",", "line 2: column 'lon_deg' is missing"),
        ("370", "north", "line 2: heading_deg must be a finite number"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_stored(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = table(tmp_path, f"{HEADER}\n{ROW}\n".replace(old, new))
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(app, ["import", str(path), "--format", "table", "--json"], catch_exceptions=False)
    assert json.dumps(sorted(p.name for p in tmp_path.iterdir())) == '["in", "photos.csv"]'
