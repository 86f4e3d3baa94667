"""Geodetic frames against PROJ, and headings against geodesics on the ellipsoid."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from scipy.spatial.transform import Rotation

from geocorrect.geometry.camera import turned_from_cam
from geocorrect.geometry.crs import crs_from_wgs84, grid_convergence_deg, wgs84_from_crs
from geocorrect.geometry.frame import (
    Frame,
    angle_difference_deg,
    ecef_from_wgs84,
    pitch_roll_deg,
    rotation_from_heading,
    upright_turns,
    utm_epsg,
    wgs84_from_ecef,
)
from geocorrect.geometry.pose import Pose, rotation_angle_deg

ANY = settings(max_examples=100, deadline=None, derandomize=True)
LONGITUDES, LATITUDES, HEIGHTS = st.floats(-180, 180), st.floats(-90, 90), st.floats(-500, 9000)
WGS84 = Geod(ellps="WGS84")
ROME = Frame("campus", 12.5159, 41.9037, 80.0)
TO_ECEF = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)

SPECIAL = [
    (12.5, 41.9, 50.0),
    (0.0, 90.0, 0.0),
    (77.0, 90.0, 2500.0),
    (0.0, -90.0, 2835.0),
    (180.0, 0.0, 0.0),
    (-180.0, 10.0, 5.0),
    (179.9999999, -17.0, 10.0),
    (-179.9999999, 68.0, -3.0),
    (0.0, 0.0, 0.0),
    (30.0, 89.9999999, 100.0),
    (-60.0, 1e-9, 0.0),
]


@pytest.mark.parametrize(("lon", "lat", "height"), SPECIAL)
def test_ecef_is_projs_at_poles_and_antimeridian(lon: float, lat: float, height: float) -> None:
    ecef = ecef_from_wgs84(lon, lat, height)
    np.testing.assert_allclose(ecef, TO_ECEF.transform(lon, lat, height), atol=1e-6)
    again = ecef_from_wgs84(*wgs84_from_ecef(ecef))
    np.testing.assert_allclose(again, ecef, atol=1e-6)
    assert wgs84_from_ecef(ecef)[2] == pytest.approx(height, abs=1e-6)
    assert wgs84_from_ecef(ecef)[1] == pytest.approx(lat, abs=1e-11)


def test_ecef_is_projs_everywhere() -> None:
    random = np.random.default_rng(1)
    lon, lat = random.uniform(-180, 180, 5000), random.uniform(-90, 90, 5000)
    height = random.uniform(-10_000, 400_000, 5000)
    ecef = ecef_from_wgs84(lon, lat, height)
    expected = np.column_stack(TO_ECEF.transform(lon, lat, height))
    assert np.abs(ecef - expected).max() < 1e-6
    lon_again, lat_again, height_again = wgs84_from_ecef(ecef)
    assert np.abs(lon_again - lon).max() < 1e-12
    assert np.abs(lat_again - lat).max() < 1e-11
    assert np.abs(height_again - height).max() < 1e-6


@ANY
@given(LONGITUDES, LATITUDES, HEIGHTS, st.integers(0, 10_000))
def test_enu_round_trip_everywhere(lon: float, lat: float, height: float, seed: int) -> None:
    frame = Frame("anywhere", lon, lat, height)
    enu = np.random.default_rng(seed).normal(size=(20, 3)) * [5000, 5000, 200]
    again = frame.enu_from_wgs84(*frame.wgs84_from_enu(enu))
    np.testing.assert_allclose(again, enu, atol=1e-7)
    np.testing.assert_allclose(frame.enu_from_wgs84(lon, lat, height), 0.0, atol=1e-8)
    assert frame.wgs84_from_enu([0.0, 0.0, 25.0])[2] == pytest.approx(height + 25.0, abs=1e-7)


def test_east_is_east_north_is_north_up_is_up() -> None:
    east, north, up = ROME.enu_from_wgs84(
        [ROME.lon_deg + 1e-5, ROME.lon_deg, ROME.lon_deg],
        [ROME.lat_deg, ROME.lat_deg + 1e-5, ROME.lat_deg],
        [80, 80, 81],
    )
    distance_east = WGS84.inv(ROME.lon_deg, ROME.lat_deg, ROME.lon_deg + 1e-5, ROME.lat_deg)[2]
    distance_north = WGS84.inv(ROME.lon_deg, ROME.lat_deg, ROME.lon_deg, ROME.lat_deg + 1e-5)[2]
    scale = 1 + 80 / 6.37e6
    np.testing.assert_allclose(east, [distance_east * scale, 0, 0], atol=1e-5)
    np.testing.assert_allclose(north, [0, distance_north * scale, 0], atol=1e-5)
    np.testing.assert_allclose(up, [0, 0, 1], atol=1e-8)


def test_enu_is_projs_topocentric() -> None:
    pipeline = (
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=cart +ellps=WGS84 "
        f"+step +proj=topocentric +ellps=WGS84 +lon_0={ROME.lon_deg} +lat_0={ROME.lat_deg} +h_0={ROME.height_m}"
    )
    proj = Transformer.from_pipeline(pipeline)
    random = np.random.default_rng(2)
    lon, lat = ROME.lon_deg + random.uniform(-0.2, 0.2, 100), ROME.lat_deg + random.uniform(-0.2, 0.2, 100)
    height = random.uniform(0, 300, 100)
    expected = np.column_stack(proj.transform(lon, lat, height))
    np.testing.assert_allclose(ROME.enu_from_wgs84(lon, lat, height), expected, atol=1e-6)


@ANY
@given(LONGITUDES, LATITUDES, LONGITUDES, LATITUDES)
def test_points_move_between_frames(lon_a: float, lat_a: float, lon_b: float, lat_b: float) -> None:
    a, b = Frame("a", lon_a, lat_a, 10.0), Frame("b", lon_b, lat_b, 500.0)
    points = np.random.default_rng(0).normal(size=(10, 3)) * 1000
    through_the_earth = a.ecef_from_enu.inverse().apply(b.ecef_from_enu.apply(points))
    np.testing.assert_allclose(a.this_from(b).apply(points), through_the_earth, atol=1e-6)
    np.testing.assert_allclose((a.this_from(b) @ b.this_from(a)).matrix, np.eye(4), atol=1e-6)


@ANY
@given(LONGITUDES, st.floats(-85, 85), st.floats(-20_000, 20_000), st.floats(-20_000, 20_000))
def test_true_north_turn_by_construction(lon: float, lat: float, east: float, north: float) -> None:
    """A step along the meridian at the point, seen in the frame: its clockwise angle from +y is the turn."""
    frame = Frame("anywhere", lon, lat)
    here = np.array([east, north, 0.0])
    lon_there, lat_there, height = (float(v) for v in frame.wgs84_from_enu(here))
    northward = frame.enu_from_wgs84(lon_there, lat_there + 1e-4, height) - here
    expected = math.degrees(math.atan2(northward[0], northward[1]))
    assert float(frame.true_north_turn_deg(here)) == pytest.approx(expected, abs=1e-4)


def test_meridians_converge_in_rome() -> None:
    turn = ROME.true_north_turn_deg([[0, 0, 0], [1000, 0, 0], [-1000, 0, 0], [0, 5000, 0]])
    np.testing.assert_allclose(turn, [0, -0.00805, 0.00805, 0], atol=2e-5)
    south = Frame("Sydney", 151.2, -33.87).true_north_turn_deg([1000.0, 0, 0])
    assert float(south) > 0.005


@ANY
@given(
    st.floats(0, 359.999), st.floats(-89, 89), st.floats(-179.9, 179.9), st.floats(-3000, 3000), st.floats(-3000, 3000)
)
def test_heading_is_the_geodesic_azimuth(azimuth: float, pitch: float, roll: float, east: float, north: float) -> None:
    """Built from the ellipsoid: axes at the camera turned by azimuth, pitch, roll; also far from the frame's origin."""
    there = np.array([east, north, 2.0])
    lon, lat, height = (float(v) for v in ROME.wgs84_from_enu(there))
    at_camera = Frame("camera", lon, lat, height)
    local = Pose(rotation_from_heading(azimuth, pitch, roll), np.zeros(3))
    world_from_cam = ROME.this_from(at_camera) @ local
    assert abs(float(angle_difference_deg(ROME.heading_deg(world_from_cam), azimuth))) < 1e-9
    ahead_m = world_from_cam.apply([0, 0, 1.0])
    lon_ahead, lat_ahead, _ = (float(v) for v in ROME.wgs84_from_enu(ahead_m))
    geodesic = WGS84.inv(lon, lat, lon_ahead, lat_ahead)[0]
    tolerance = 1e-5 / math.cos(math.radians(pitch))
    assert abs(float(angle_difference_deg(geodesic, azimuth))) < tolerance


@ANY
@given(st.floats(0, 359.99), st.floats(-89.9, 89.9), st.floats(-179.9, 179.9))
def test_heading_pitch_roll_round_trip(heading: float, pitch: float, roll: float) -> None:
    pose = Pose(rotation_from_heading(heading, pitch, roll), np.zeros(3))
    assert abs(float(angle_difference_deg(ROME.heading_deg(pose), heading))) < 1e-9
    pitch_again, roll_again = pitch_roll_deg(pose)
    assert pitch_again == pytest.approx(pitch, abs=1e-8)
    assert abs(float(angle_difference_deg(roll_again, roll))) < 1e-8
    back = rotation_from_heading(ROME.heading_deg(pose), pitch_again, roll_again)
    assert rotation_angle_deg(back, pose.rotation) < 1e-7


def test_signs_of_heading_pitch_and_roll_by_construction() -> None:
    east = rotation_from_heading(90.0)
    np.testing.assert_allclose(east.apply([0, 0, 1.0]), [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(east.apply([1.0, 0, 0]), [0, -1, 0], atol=1e-15)
    np.testing.assert_allclose(east.apply([0, 1.0, 0]), [0, 0, -1], atol=1e-15)
    assert rotation_from_heading(0.0, pitch_deg=30.0).apply([0, 0, 1.0])[2] == pytest.approx(0.5)
    up_in_cam = rotation_from_heading(0.0, roll_deg=10.0).inv().apply([0, 0, 1.0])
    assert up_in_cam[0] == pytest.approx(math.sin(math.radians(10)))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_headings_of_many_photos_are_those_of_each(count: int) -> None:
    heading, pitch, roll = np.random.default_rng(count).uniform([[0], [-89], [-180]], [[360], [89], [180]], (3, count))
    for angles in ((heading, pitch, roll), (heading, 7.0, roll), (heading,)):
        many = rotation_from_heading(*angles)
        assert len(many) == count
        for k in range(count):
            one = rotation_from_heading(*(float(np.broadcast_to(angle, count)[k]) for angle in angles))
            assert one.single
            np.testing.assert_allclose(many[k].as_matrix(), one.as_matrix(), atol=1e-15)


@ANY
@given(st.floats(-180, 180), st.floats(-80, 80), st.floats(-170, 170))
def test_opensfm_pan_tilt_roll(pan: float, tilt: float, roll: float) -> None:
    """R = Rz(roll)·Rx(tilt + 90°)·Rz(pan) is cam_from_world, tilt positive downwards (OpenSfM `geometry.py`)."""
    turn = Rotation.from_euler
    cam_from_world = turn("z", roll, degrees=True) * turn("x", tilt + 90, degrees=True) * turn("z", pan, degrees=True)
    pose = Pose(cam_from_world.inv(), np.zeros(3))
    assert abs(float(angle_difference_deg(ROME.heading_deg(pose), pan))) < 1e-9
    np.testing.assert_allclose(pitch_roll_deg(pose), [-tilt, roll], atol=1e-8)


def test_heading_and_roll_are_unknown_straight_up_and_down() -> None:
    for pitch in (90.0, -90.0):
        pose = Pose(rotation_from_heading(30.0, pitch), np.zeros(3))
        assert math.isnan(ROME.heading_deg(pose))
        assert pitch_roll_deg(pose)[0] == pytest.approx(pitch)
        assert math.isnan(pitch_roll_deg(pose)[1])


def test_heading_stays_below_360() -> None:
    pose = Pose(rotation_from_heading(-1e-17), np.zeros(3))
    assert 0.0 <= ROME.heading_deg(pose) < 360.0


@ANY
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_angle_difference_is_the_short_way(first: float, second: float) -> None:
    difference = float(angle_difference_deg(first, second))
    assert -180.0 <= difference <= 180.0
    expected = math.radians(first - second)
    assert math.cos(math.radians(difference)) == pytest.approx(math.cos(expected), abs=1e-9)
    assert math.sin(math.radians(difference)) == pytest.approx(math.sin(expected), abs=1e-9)


def test_angle_difference_of_unknown_is_unknown() -> None:
    assert np.isnan(angle_difference_deg([math.nan, 1.0], [1.0, math.nan])).all()
    assert float(angle_difference_deg(1.0, 359.0)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (12.5, 41.9, 32633),
        (8.4, 49.0, 32632),
        (151.2, -33.9, 32756),
        (-180.0, 10.0, 32601),
        (180.0, 10.0, 32601),
        (179.9, 10.0, 32660),
        (0.0, 0.0, 32631),
        (5.999, 60.0, 32631),
        (6.0, -0.001, 32732),
    ],
)
def test_utm_zones(lon: float, lat: float, epsg: int) -> None:
    assert utm_epsg(lon, lat) == epsg


@pytest.mark.parametrize("lat", [84.5, -80.5, math.nan])
def test_no_utm_at_the_poles(lat: float) -> None:
    with pytest.raises(ValueError, match="UTM"):
        utm_epsg(10.0, lat)


def test_map_coordinates_round_trip() -> None:
    lon, lat = np.array([12.5, 12.6, np.nan]), np.array([41.9, 41.8, 41.0])
    x, y = crs_from_wgs84("EPSG:32633", lon, lat)
    assert 290_000 < x[0] < 295_000
    lon_again, lat_again = wgs84_from_crs("EPSG:32633", x, y)
    np.testing.assert_allclose(lon_again, [12.5, 12.6, np.nan], atol=1e-10)
    np.testing.assert_allclose(lat_again, [41.9, 41.8, np.nan], atol=1e-10)


def test_axis_order_is_always_easting_northing() -> None:
    """EPSG:2180 is defined northing first; the map-reading order must not depend on that."""
    x, y = crs_from_wgs84("EPSG:2180", 19.5, 52.1)
    assert (float(x), float(y)) == pytest.approx((534238.350, 470546.136), abs=1e-3)
    lon, lat = wgs84_from_crs("EPSG:4326", 12.5, 41.9)
    assert (float(lon), float(lat)) == (12.5, 41.9)


@pytest.mark.parametrize("swapped", [(41.9, 112.5), (12.5, 95.0)])
def test_positions_off_the_earth_are_refused(swapped: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="swapped"):
        crs_from_wgs84("EPSG:32633", *swapped)


@pytest.mark.parametrize(("lon", "lat"), [(12.5, 41.9), (17.5, 41.9), (15.0, 41.9), (8.4, -33.0)])
def test_convergence_turns_grid_into_true_bearings(lon: float, lat: float) -> None:
    """A step to grid north, its azimuth on the ellipsoid: true = grid + convergence."""
    crs = f"EPSG:{utm_epsg(lon, lat)}"
    x, y = crs_from_wgs84(crs, lon, lat)
    azimuth = WGS84.inv(lon, lat, *(float(v) for v in wgs84_from_crs(crs, x, y + 100.0)))[0]
    assert grid_convergence_deg(crs, lon, lat) == pytest.approx(azimuth, abs=1e-4)


def test_convergence_in_rome() -> None:
    assert grid_convergence_deg("EPSG:32633", 12.5, 41.9) == pytest.approx(-1.670, abs=0.001)


@pytest.mark.parametrize(
    ("lon", "lat", "height", "message"),
    [
        (200.0, 41.0, 0.0, "longitude"),
        (12.0, 95.0, 0.0, "latitude"),
        (math.nan, 41.0, 0.0, "longitude"),
        (12.0, math.nan, 0.0, "latitude"),
        (12.0, 41.0, math.inf, "height"),
    ],
)
def test_bad_origins_are_refused(lon: float, lat: float, height: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Frame("bad", lon, lat, height)


@pytest.mark.data
def test_real_rotations_give_the_providers_heading(shared_data: Path) -> None:
    """`computed_compass_angle` is the azimuth of the optical axis of `computed_rotation` (`docs/mapillary_api.md`)."""
    seen = 0
    for path in sorted((shared_data / "mapillary" / "api" / "graph").glob("*.json")):
        answer = json.loads(path.read_text())
        if "computed_rotation" not in answer:
            continue
        world_from_cam = Pose(Rotation.from_rotvec(answer["computed_rotation"]).inv(), np.zeros(3))
        lon, lat = answer["computed_geometry"]["coordinates"]
        heading = Frame("image", lon, lat).heading_deg(world_from_cam)
        assert abs(float(angle_difference_deg(heading, answer["computed_compass_angle"]))) < 1e-4
        assert abs(pitch_roll_deg(world_from_cam)[1]) < 15.0
        seen += 1
    assert seen >= 4


def test_a_place_is_the_same_alone_and_among_others() -> None:
    """Photos are stored in groups of any size: a killed run's must be those of a run that was left alone."""
    rng = np.random.default_rng(3)
    frame = Frame("rome", 12.5, 41.9, 50.0)
    lon, lat, height = 12.5 + rng.normal(0, 1e-3, 60), 41.9 + rng.normal(0, 1e-3, 60), rng.normal(50, 3, 60)
    together = frame.enu_from_wgs84(lon, lat, height)
    back = frame.wgs84_from_enu(together)
    turn = frame.true_north_turn_deg(together)
    for n in range(60):
        assert (frame.enu_from_wgs84(lon[n : n + 1], lat[n : n + 1], height[n : n + 1])[0] == together[n]).all()
        alone = frame.wgs84_from_enu(together[n : n + 1])
        assert all(a[0] == b[n] for a, b in zip(alone, back, strict=True))
        assert frame.true_north_turn_deg(together[n : n + 1])[0] == turn[n]


@pytest.mark.parametrize("turns", range(4))
def test_a_turned_picture_is_turned_back_to_be_upright(turns: int) -> None:
    level = rotation_from_heading(30.0, 5.0, 8.0)
    assert upright_turns(Pose(level * turned_from_cam(turns).inv(), np.zeros(3))) == -turns % 4
    assert upright_turns(Pose(rotation_from_heading(30.0, 90.0), np.zeros(3))) is None
