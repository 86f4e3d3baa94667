"""Senseless options and plans are refused where they are made."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from geocorrect.errors import ExitCode, InputError
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import HarvestPlan
from geocorrect.harvest.options import HarvestOptions
from geocorrect.harvest.report import HarvestReport, Hole

SQUARE = Area.from_box(12.5, 41.9, 12.51, 41.91)


@pytest.mark.parametrize(
    "changes",
    [
        {"requests_per_s": 0.0},
        {"graph_workers": -1},
        {"max_tries": 0},
        {"batch_size": 51},
        {"batch_size": 0},
        {"cell_deg": 0.01},
        {"max_image_mb": float("nan")},
    ],
)
def test_options(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"harvest.{next(iter(changes))}"):
        HarvestOptions(**changes)


def test_plans(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time zone"):
        HarvestPlan(SQUARE, tmp_path, since=datetime(2024, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="at least 1"):
        HarvestPlan(SQUARE, tmp_path, limit=0)
    other = HarvestPlan(Area.from_box(12.5, 41.9, 12.51, 41.92), tmp_path)
    assert HarvestPlan(SQUARE, tmp_path).journal_path != other.journal_path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "Polygon", "coordinates": [[[1, 2], [1, float("nan")], [2, 2], [1, 2]]]}, "not a GeoJSON|finite"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [1, 2], [1, 2], [1, 2]]]}, "empty|no polygon"),
        ({"type": "FeatureCollection", "features": [{"type": "Feature"}, 7]}, "not a GeoJSON"),
    ],
)
def test_areas(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Area.from_geojson(content, "area.geojson")


def test_self_crossing_polygon_is_repaired() -> None:
    bow_tie = [[12.5, 41.9], [12.52, 41.92], [12.52, 41.9], [12.5, 41.92], [12.5, 41.9]]
    area = Area.from_geojson({"type": "Polygon", "coordinates": [bow_tie]})
    assert area.contains(12.502, 41.91)
    assert not area.contains(12.51, 41.902)


def test_area_with_too_many_tiles_is_counted_exactly() -> None:
    with pytest.raises(InputError, match="max_tiles = 3"):
        Area.from_box(12.5, 41.9, 12.55, 41.92).tiles(3)


def test_report_in_words_and_numbers() -> None:
    report = HarvestReport(n_new=3, n_gone=2, holes=[Hole("picture", "7", "stalled")])
    assert report.exit_code is ExitCode.INCOMPLETE_HARVEST
    for words in ("3 new", "2 no longer exist", "holes: 1", "stalled"):
        assert words in report.sentence()
    assert report.as_dict()["holes"] == [{"kind": "picture", "name": "7", "why": "stalled"}]
    assert HarvestReport(dry_run=True, n_sequences=4).sentence().startswith("4 sequences")
