from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geocorrect.demo.world.truth import DemoTruth, PhotoTruth
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.report.truth import read_truth_file

PLACE = {"lon_deg": 12.5, "lat_deg": 41.9}


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_photos_and_outlines_are_read(tmp_path: Path) -> None:
    frame = {"name": "rome", "lon_deg": 12.5, "lat_deg": 41.9, "height_m": 50.0}
    full = PLACE | {"height_m": 52.0, "heading_deg": None, "localisable": False, "device": "ignored"}
    path = written(
        tmp_path / "truth.json",
        {"photos": {"1": full, "2": PLACE}, "frame": frame, "building_outlines_m": [[[0, 0], [10, 0], [10, 20]]]},
    )
    truth = read_truth_file(path)
    assert truth.places["1"].localisable is False
    assert math.isnan(truth.places["1"].heading_deg)
    assert truth.places["2"].localisable is None
    assert math.isnan(truth.places["2"].height_m)
    lon, lat, _ = Frame(**frame).wgs84_from_enu([10.0, 20.0, 0.0])
    assert truth.outlines[0][2] == pytest.approx((lon, lat))


def test_the_truth_of_the_demo_is_understood(tmp_path: Path) -> None:
    frame = Frame("street", 12.5, 41.9, 50.0)
    pose = Pose(rotation_from_heading(30.0), np.array([3.0, 4.0, 2.0]))
    photo = PhotoTruth("77", pose, 12.51, 41.91, 52.0, math.nan, False, "sky", "phone", "s", 12.5, 41.9)
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    truth = read_truth_file(
        written(tmp_path / "truth.json", DemoTruth(frame, {"77": photo}, np.zeros((1, 3)), (square,), ()).as_json())
    )
    assert truth.places["77"].lon_deg == 12.51
    assert truth.places["77"].localisable is False
    assert math.isnan(truth.places["77"].heading_deg)
    assert len(truth.outlines[0]) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not a JSON file"),
        ("[]", "not a truth file"),
        ({}, "`photos`"),
        ({"photos": {"7": {"lon_deg": 1.0}}}, "photo 7"),
        ({"photos": {"7": {"lon_deg": 41.9, "lat_deg": 112.5}}}, "swapped"),
        ({"photos": {"7": {"lon_deg": "east", "lat_deg": 1.0}}}, "photo 7"),
        ({"photos": {"7": None}}, "photo 7"),
        ({"photos": {"7": PLACE}, "frame": {"nom": "x"}, "building_outlines_m": [[[0, 0]]]}, "not a truth file"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: Any, says: str) -> None:
    path = written(tmp_path / "truth.json", content)
    with pytest.raises(InputError, match="truth.json") as caught:
        read_truth_file(path)
    assert says in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json"):
        read_truth_file(tmp_path / "nowhere.json")
