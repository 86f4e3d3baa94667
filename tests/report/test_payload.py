from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support import catalog_world as world
from support.report_world import HOSTILE

from geocorrect.geometry.frame import Frame
from geocorrect.report.contents import Contents, Photo
from geocorrect.report.payload import DEGREE_UNIT, MAX_ANCHORS, metres_per_degree, payload


def places(data: dict[str, Any], prefix: str) -> np.ndarray:
    """(N, 2) lon, lat as the page's scripts decode them."""
    found = np.array([data["origin"]]) + DEGREE_UNIT * np.array([data["rLon"], data["rLat"]], float).T
    if prefix != "r":
        found += DEGREE_UNIT * np.array([data[f"{prefix}Lon"], data[f"{prefix}Lat"]], float).T
    return found


def test_places_come_back_to_the_millimetre(with_truth: Contents) -> None:
    data = payload(with_truth)
    for prefix, names in (("r", ("reported_lon_deg", "reported_lat_deg")), ("c", ("lon_deg", "lat_deg"))):
        expected = np.array([[getattr(photo.stored, name) for name in names] for photo in with_truth.photos])
        np.testing.assert_allclose(places(data, prefix), expected, atol=1.1e-8)
    true = np.array([[photo.truth.lon_deg, photo.truth.lat_deg] for photo in with_truth.photos if photo.truth])
    np.testing.assert_allclose(places(data, "t"), true, atol=1.1e-8)


def test_numbers_keep_their_units(contents: Contents) -> None:
    data = payload(contents)
    for i, photo in enumerate(contents.photos):
        assert data["id"][i] == photo.stored.image_id
        assert data["statuses"][data["status"][i]] == photo.status
        if photo.status == "rejected":
            assert data["expected"][i] is None
            assert data["reason"]["names"][data["reason"]["index"][i]] == "too_few_matches"
        else:
            assert data["expected"][i] == pytest.approx(1000 * photo.expected_error_m, abs=0.5)
            assert data["moved"][i] == 500
            assert data["cHeading"][i] == 900
            assert data["inliers"][i] == 200


def test_what_nobody_knows_takes_no_space(contents: Contents) -> None:
    data = payload(contents)
    assert [data[name] for name in ("tLon", "tLat", "trueError", "tail")] == [None] * 4


def test_links_are_patterns_and_never_scripts(contents: Contents) -> None:
    data = payload(contents)
    assert data["page"]["names"] == ["https://example.org/{}"]
    assert data["page"]["index"][data["id"].index(HOSTILE)] is None


def test_a_scene_across_the_antimeridian_stays_together(contents: Contents) -> None:
    stored = replace(contents.corrected[0].stored, reported_lon_deg=179.9999, reported_lat_deg=-17.0, lon_deg=-179.9999)
    scene = replace(
        contents, frame=Frame("fiji", -179.9998, -17.0), photos=(Photo(stored, "x"),), anchors=(), routes=()
    )
    data = payload(scene)
    assert data["rLon"] == [-30000]
    assert data["cLon"] == [20000]


@pytest.mark.parametrize("lat_deg", [0.0, 41.9, -60.0, 90.0, -90.0])
def test_the_plane_of_the_map_has_the_scale_of_the_ellipsoid(lat_deg: float) -> None:
    frame = Frame("here", 12.0, lat_deg)
    east, north = metres_per_degree(frame)
    inner = -1e-3 if lat_deg > 0 else 1e-3
    assert east * 1e-3 == pytest.approx(np.hypot(*frame.enu_from_wgs84(12.001, lat_deg, 0.0)[:2]), rel=1e-5, abs=1e-6)
    assert north * 1e-3 == pytest.approx(np.hypot(*frame.enu_from_wgs84(12.0, lat_deg + inner, 0.0)[:2]), rel=1e-5)


def test_many_anchors_are_thinned_and_counted(contents: Contents) -> None:
    many = replace(contents, anchors=tuple((12.0 + 1e-6 * k, 41.9) for k in range(3 * MAX_ANCHORS - 1)))
    data = payload(many)
    assert len(data["anchors"]) <= MAX_ANCHORS
    assert data["nAnchors"] == 3 * MAX_ANCHORS - 1


def test_the_payload_is_plain_json(with_truth: Contents) -> None:
    data = payload(with_truth)
    assert json.loads(json.dumps(data, allow_nan=False))["origin"] == [world.ROME.lon_deg, world.ROME.lat_deg]
