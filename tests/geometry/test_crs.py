"""Coordinates and heights of any declared reference: the right value, or a refusal that names the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pyproj import Geod, Proj
from support.tiny_grid import write_tiny_grid

from geocorrect.geometry.crs import (
    crs_from_wgs84,
    declared_crs,
    ellipsoidal_height_m,
    geojson_crs,
    unit_of_heights_m,
    wgs84_from_crs,
)

EARTH = Geod(ellps="WGS84")
US_FOOT_M = 1200 / 3937


@pytest.mark.parametrize(
    ("crs", "x", "y", "words"),
    [
        ("EPSG:27700", 624000.0, 308450.0, "projsync --file uk_os_OSTN15_NTv2_OSGBtoETRS.tif"),
        ("EPSG:31467", 3500000.0, 5500000.0, "projsync --file de_adv_BETA2007.tif"),
        ("EPSG:4267", -100.0, 40.0, "projsync --file us_noaa_conus.tif"),
        ("EPSG:21460", 500000.0, 4000000.0, "no operation from Beijing 1954"),
        ("+proj=utm +zone=33 +ellps=intl +units=m +no_defs", 292727.0, 4641901.0, r"\+towgs84"),
        ("+proj=longlat +ellps=bessel", 12.5, 41.9, "no operation from"),
    ],
)
def test_a_datum_shift_is_never_guessed(crs: str, x: float, y: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wgs84_from_crs(crs, x, y)
    with pytest.raises(ValueError, match=words):
        crs_from_wgs84(crs, *Proj(crs)(x, y, inverse=True))


@pytest.mark.parametrize(
    ("crs", "x", "y", "lon", "lat"),
    [
        ("EPSG:25833", 292727.0, 4641901.0, 12.501158023, 41.901872527),
        ("EPSG:2056", 2600000.0, 1200000.0, 7.438632421, 46.951082772),  # swisstopo: 7°26'19.08" 46°57'03.90"
        ("EPSG:28992", 155000.0, 463000.0, 5.387203508, 52.155172301),
        ("+proj=utm +zone=33 +ellps=WGS84 +units=m", 292727.0, 4641901.0, 12.501158023, 41.901872526),
        ("EPSG:32633+5773", 292727.0, 4641901.0, 12.501158023, 41.901872526),
        ("EPSG:27572", 600000.0, 2428000.0, 2.336505661, 48.850346592),
    ],
)
def test_the_best_operation_is_taken(crs: str, x: float, y: float, lon: float, lat: float) -> None:
    found = [float(value) for value in wgs84_from_crs(crs, x, y)]
    assert EARTH.inv(*found, lon, lat)[2] < 0.001
    assert [float(value) for value in crs_from_wgs84(crs, *found)] == pytest.approx([x, y], abs=2e-3)


def test_an_installed_grid_is_used(tmp_path: Path) -> None:
    """Where projsync puts it; without it the next best operation is 3.17 m off."""
    x, y, lon, lat = 624123.0, 308456.0, 1.3107335, 52.6276035
    old_lon, old_lat = Proj("EPSG:27700")(x, y, inverse=True)
    write_tiny_grid(
        tmp_path / "uk_os_OSTN15_NTv2_OSGBtoETRS.tif", (-9.0, 49.0, 3.0, 61.0), (lon - old_lon, lat - old_lat)
    )
    code = f"from geocorrect.geometry.crs import wgs84_from_crs as w; print(*w('EPSG:27700', {x}, {y}))"
    environment = {**os.environ, "PROJ_USER_WRITABLE_DIRECTORY": str(tmp_path), "PROJ_NETWORK": "OFF"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert EARTH.inv(*map(float, run.stdout.split()), lon, lat)[2] < 0.005  # shifts are kept in single precision


@pytest.mark.parametrize("text", ["EPSG:99999", "+proj=utm +zone=99", "banana", "", "EPSG:5773", "EPSG:4978", "{}"])
def test_what_is_no_plan_crs_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no coordinate system|no longitude and latitude"):
        declared_crs(text)


def test_a_crs_says_what_its_heights_are() -> None:
    texts = ("EPSG:4326", "EPSG:32633", "EPSG:4979", "EPSG:32633+5773", "EPSG:26910+6360")
    assert [declared_crs(t).height_reference for t in texts] == [None, None, "ellipsoid", "EPSG:5773", "EPSG:6360"]
    assert [declared_crs(t).is_wgs84 for t in ("WGS84", "OGC:CRS84", "EPSG:4979", "EPSG:4258")] == [True] * 3 + [False]


@pytest.mark.parametrize(
    ("height", "reference", "undulation_m", "expected_m"),
    [
        (7000.0, "EPSG:6360", -20.5, 7000 * US_FOOT_M - 20.5),  # US feet
        (7000.0, "EPSG:8228", -20.5, 7000 * 0.3048 - 20.5),  # international feet
        (50.0, "EPSG:5773", 48.3, 98.3),
        (10.0, "EPSG:5715", 48.3, 38.3),  # a depth
        (50.0, "orthometric", 48.3, 98.3),
        (50.0, "ellipsoid", float("nan"), 50.0),
    ],
)
def test_heights_in_any_unit(height: float, reference: str, undulation_m: float, expected_m: float) -> None:
    assert float(ellipsoidal_height_m(-105.0, 40.0, height, reference, undulation_m)) == pytest.approx(expected_m)


@pytest.mark.parametrize(
    ("reference", "undulation_m", "words"),
    [
        ("banana", 48.0, "neither ellipsoid, orthometric nor a vertical CRS"),
        ("sea", 48.0, "neither ellipsoid"),
        ("EPSG:32633", 48.0, "neither ellipsoid"),
        ("orthometric", 158.0, "no geoid undulation on earth"),
        ("ellipsoid", 48.0, "drop one of the two"),
        ("EPSG:5773", float("nan"), "projsync --file us_nga_egm96_15.tif.*or give the geoid undulation"),
    ],
)
def test_contradictions_about_heights_are_refused(reference: str, undulation_m: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ellipsoidal_height_m(12.5, 41.9, 50.0, reference, undulation_m)


def test_units_and_unknown_places() -> None:
    assert [unit_of_heights_m(r) for r in ("ellipsoid", "EPSG:6360")] == pytest.approx([1.0, US_FOOT_M])
    assert np.isnan(wgs84_from_crs("EPSG:32633", float("nan"), 1.0)).all()


def test_geojson_names_its_crs() -> None:
    named = {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}}
    assert geojson_crs({}) == "EPSG:4326"
    assert declared_crs(geojson_crs(named)).horizontal.to_epsg() == 3857
    for bad in ({"crs": 5}, {"crs": {"properties": {}}}, {"crs": {"properties": {"name": "banana"}}}):
        with pytest.raises(ValueError, match="names no coordinate system|is no coordinate system"):
            geojson_crs(bad)
