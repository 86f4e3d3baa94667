"""Areas: the antimeridian, the poles, nonsense (row 12)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import mercantile
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box

from geocorrect.errors import InputError
from geocorrect.harvest.area import Area


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((41.9, 12.5, 41.8, 12.6), "swap them"),
        ((12.5, 141.9, 12.6, 142.0), "latitude outside"),
        ((200.0, 41.9, 201.0, 42.0), "longitude outside"),
        ((12.5, 41.9, 12.5, 42.0), "empty"),
        ((12.5, 42.0, 12.6, 41.9), "empty"),
        ((12.5, 41.9, float("nan"), 42.0), "finite"),
        ((12.6, 41.9, 12.5, 42.0), "swap them"),
    ],
)
def test_senseless_box_is_refused_with_the_reason(bounds: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Area.from_box(*bounds)


def test_box_across_the_antimeridian() -> None:
    area = Area.from_box(179.99, -17.0, -179.99, -16.9)
    assert area.contains(179.995, -16.95)
    assert area.contains(-179.995, -16.95)
    assert not area.contains(0.0, -16.95)
    columns = {tile.x for tile in area.tiles(1000)}
    assert columns == {0, 2**14 - 1}


def test_poles_are_clamped_or_refused() -> None:
    tiles = Area.from_box(10.0, 84.9, 10.01, 90.0).tiles(10_000)
    assert min(tile.y for tile in tiles) == 0
    with pytest.raises(InputError, match="no coverage"):
        Area.from_box(10.0, 86.0, 10.01, 89.0).tiles(1000)


def test_area_too_large_is_refused_quickly() -> None:
    with pytest.raises(InputError, match="max_tiles"):
        Area.from_box(-170, -80, 170, 80).tiles(20_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "Point", "coordinates": [1, 2]}, "no polygon"),
        ({"type": "Polygon", "coordinates": [[[41, 112], [41, 113], [42, 113], [41, 112]]]}, "swapped"),
        ({"type": "Nonsense"}, "not a GeoJSON"),
        ({"type": "FeatureCollection"}, "not a GeoJSON"),
        ({}, "not a GeoJSON"),
        ({"type": "Feature", "geometry": None}, "no polygon"),
    ],
)
def test_senseless_geojson_is_refused(tmp_path: Path, content: dict[str, object], message: str) -> None:
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        Area.from_file(path)
    assert "area.geojson" in str(caught.value)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        Area.from_file(tmp_path / "nowhere.geojson")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json"):
        Area.from_file(tmp_path / "bad.json")


@pytest.mark.parametrize(
    "ring",
    [
        [[179.9, -17], [-179.9, -17], [-179.9, -16.9], [179.9, -16.9], [179.9, -17]],
        [[179.9, -17], [180.1, -17], [180.1, -16.9], [179.9, -16.9], [179.9, -17]],
        [[-180.1, -17], [-179.9, -17], [-179.9, -16.9], [-180.1, -16.9], [-180.1, -17]],
    ],
    ids=["jumping", "beyond 180", "below -180"],
)
def test_polygon_across_the_antimeridian(ring: list[list[float]]) -> None:
    area = Area.from_geojson({"type": "Polygon", "coordinates": [ring]})
    assert area.geometry.area == pytest.approx(0.02)
    assert area.contains(179.95, -16.95)
    assert area.contains(-179.95, -16.95)
    assert not area.contains(179.85, -16.95)


def test_feature_collection_with_a_hole() -> None:
    outer, inner = box(12.4, 41.8, 12.6, 42.0), box(12.48, 41.88, 12.52, 41.92)
    feature = {"type": "Feature", "properties": {}, "geometry": outer.difference(inner).__geo_interface__}
    area = Area.from_geojson({"type": "FeatureCollection", "features": [feature]})
    assert area.contains(12.41, 41.81)
    assert not area.contains(12.5, 41.9)


@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-80, 80),
    width=st.floats(0.001, 0.5),
    height=st.floats(0.001, 0.5),
    margin_m=st.floats(1, 2000),
)
def test_margin_reaches_at_least_so_far(lon: float, lat: float, width: float, height: float, margin_m: float) -> None:
    east = (lon + width + 180) % 360 - 180
    if abs(east) == 180 or abs(lon) == 180:
        return
    area = Area.from_box(lon, lat, east, lat + height)
    wide = area.widened(margin_m)
    degrees = margin_m / 111_320.0 * 0.999
    stretched = degrees / math.cos(math.radians(lat))
    middle = lat + height / 2
    for x, y in (
        (lon - stretched, middle),
        (east + stretched, middle),
        (lon, lat - degrees),
        (east, lat + height + degrees),
    ):
        assert wide.contains((x + 180) % 360 - 180, y)


# Subnormal longitudes make GEOS's own intersection areas wrong.
@given(
    st.floats(-179, 179, allow_subnormal=False),
    st.floats(-84, 84, allow_subnormal=False),
    st.floats(0.0005, 0.03),
    st.floats(0.0005, 0.03),
)
def test_tiles_and_cells_cover_the_area(lon: float, lat: float, width: float, height: float) -> None:
    area = Area.from_box(lon, lat, lon + width, lat + height)
    tiles = area.tiles(1000)
    covered = sum(area.geometry.intersection(box(*mercantile.bounds(tile))).area for tile in tiles)
    assert covered == pytest.approx(area.geometry.area, rel=1e-6)
    for tile in tiles[:2]:
        cells = area.cells_in(tile, 0.008)
        assert all(0 < east - west < 0.0081 and 0 < north - south < 0.0081 for west, south, east, north in cells)
        inside = area.geometry.intersection(box(*mercantile.bounds(tile)))
        assert sum(inside.intersection(box(*cell)).area for cell in cells) == pytest.approx(
            inside.area, rel=1e-6, abs=1e-15
        )
