"""The views say what is true on the ground, the same on both back-ends, also where maps have their edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import Geod
from sqlalchemy import text
from support import catalog_world as world

from geocorrect.catalog import Catalog
from geocorrect.catalog.rows.geometry_type import geometry_from_blob
from geocorrect.catalog.schema import TABLES
from geocorrect.catalog.sequences import SequenceStore
from geocorrect.catalog.views.views import views_of
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import Frame, rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import Correction, Image, Position

GEOD = Geod(ellps="WGS84")
PLACES = {
    "rome": (12.5, 41.9),
    "fiji": (179.99999, -17.0),
    "date line": (-179.99999, 52.0),
    "quito": (-78.5, 0.0),
    "longyearbyen": (15.6, 78.2),
    "near the pole": (30.0, 89.99),
}


def rows(catalog: Catalog, query: str) -> list[dict[str, Any]]:
    with catalog.engine.connect() as connection:
        found = [dict(row) for row in connection.execute(text(query)).mappings()]
    for row in found:
        for name, value in row.items():
            if isinstance(value, bytes):
                row[name] = geometry_from_blob(value)
            elif name == "geom" and isinstance(value, str):
                row[name] = shapely.from_wkb(value)
    return found


def one_correction(catalog: Catalog, frame: Frame, semi_axes_m: tuple[float, float], turn_deg: float) -> None:
    """One photo at the frame's origin, whose ellipse has these axes, the long one towards turn_deg."""
    catalog.set_frame(frame)
    catalog.add_alignment(world.alignment())
    catalog.upsert_anchors(world.anchor(i, frame) for i in range(2))
    catalog.upsert_images([world.image(0, frame=frame)])
    catalog.begin_run(world.manifest())
    direction = np.array([np.sin(np.radians(turn_deg)), np.cos(np.radians(turn_deg))])
    across = np.array([direction[1], -direction[0]])
    major, minor = (axis / np.sqrt(5.991464547107979) for axis in semi_axes_m)
    covariance = np.diag([0.0, 0.0, 0.02, 1e-5, 1e-5, 1e-5])
    covariance[:2, :2] = major**2 * np.outer(direction, direction) + minor**2 * np.outer(across, across)
    pose = Pose(rotation_from_heading(90.0), np.zeros(3), covariance)
    catalog.record("run-a", [replace(world.correction(0), world_from_cam=pose)])


@pytest.mark.parametrize("place", PLACES)
def test_an_ellipse_is_right_at_any_latitude(catalog: Catalog, place: str) -> None:
    lon, lat = PLACES[place]
    one_correction(catalog, Frame(place, lon, lat), (8.0, 3.0), 30.0)
    (row,) = rows(catalog, "select * from error_ellipse")
    outline = np.array(row["geom"].exterior.coords)
    assert len(outline) == 37
    azimuth, _, distance = GEOD.inv(np.full(37, lon), np.full(37, lat), outline[:, 0], outline[:, 1])
    # In polar form about the long axis: 1/r² = cos²/a² + sin²/b².
    turn = np.radians(np.array(azimuth) - 30.0)
    expected = 1 / np.sqrt((np.cos(turn) / 8.0) ** 2 + (np.sin(turn) / 3.0) ** 2)
    np.testing.assert_allclose(distance, expected, atol=2e-3)
    assert np.ptp(outline[:, 0]) < 1.0
    assert max(distance) == pytest.approx(8.0, abs=1e-3)


@pytest.mark.parametrize("lat", [90.0, -90.0, 89.99999])
def test_an_ellipse_that_holds_a_pole_is_a_strip_of_the_map(catalog: Catalog, lat: float) -> None:
    one_correction(catalog, Frame("pole", 20.0, lat), (8.0, 3.0), 30.0)
    (row,) = rows(catalog, "select * from error_ellipse")
    ellipse = row["geom"]
    assert ellipse.is_valid
    for azimuth in range(5, 360, 10):
        for distance, inside in ((2.5, True), (8.2, False)):
            lon, at, _ = GEOD.fwd(20.0, lat, azimuth, distance)
            assert ellipse.contains(shapely.Point(lon, at)) is inside, (azimuth, distance)
    (row,) = rows(catalog, "select * from coverage")
    assert row["geom"].is_valid


@pytest.mark.parametrize("place", PLACES)
def test_a_displacement_runs_from_reported_to_corrected(catalog: Catalog, place: str) -> None:
    lon, lat = PLACES[place]
    one_correction(catalog, Frame(place, lon, lat), (1.0, 1.0), 0.0)
    (row,) = rows(catalog, "select * from displacement")
    (lon_a, lat_a), (lon_b, lat_b) = row["geom"].coords
    _, _, length = GEOD.inv(lon_a, lat_a, lon_b, lat_b)
    # The photo stands 2 m south of where image 0 says it truly is; it reported 4 m west and 3 m south of there.
    assert length == pytest.approx(np.hypot(4.0, 5.0), abs=2e-3)
    assert row["displacement_m"] == pytest.approx(length, abs=2e-3)
    assert abs(lon_b - lon_a) < 1.0


def test_a_wedge_covers_what_the_camera_sees(catalog: Catalog) -> None:
    world.fill(catalog, 2)
    catalog.upsert_images([replace(world.image(1), camera=Camera.spherical(2000, 1000), sha256="a" * 64)])
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", [world.correction(1)])
    wedges = {row["image_id"]: row for row in rows(catalog, "select * from coverage")}
    lon, lat, _ = world.ROME.wgs84_from_enu([0.0, -2.0, 1.8])
    for azimuth, seen in ((90.0, True), (115.0, True), (135.0, False), (270.0, False)):
        x, y, _ = GEOD.fwd(lon, lat, azimuth, 25.0)
        assert wedges["1000"]["geom"].contains(shapely.Point(x, y)) is seen, azimuth
        x, y, _ = GEOD.fwd(*world.ROME.wgs84_from_enu([5.0, -2.0, 1.8])[:2], azimuth, 25.0)
        assert wedges["1001"]["geom"].contains(shapely.Point(x, y)), azimuth
    assert wedges["1000"]["geom"].is_valid
    assert wedges["1001"]["geom"].is_valid
    assert wedges["1001"]["horizontal_fov_deg"] == 360.0


def drive(lag_s: float, bias_m: tuple[float, float], heading_bias_deg: float) -> tuple[list[Image], list[Correction]]:
    """Thirty photos around a corner at 8 m/s, one per second; the device says where it was lag_s ago, plus a bias."""
    images, found = [], []
    for i in range(30):

        def truth(t: float) -> np.ndarray:
            return np.array([8.0 * min(t, 15.0), 8.0 * max(t - 15.0, 0.0), 1.5])

        reported = truth(i - lag_s) - [*bias_m, 0.0]
        lon, lat, height = (float(v) for v in world.ROME.wgs84_from_enu(reported))
        image = world.image(i)
        images.append(replace(image, sequence_id="corner", reported=Position(lon, lat, height),
                              heading_deg=90.0 - heading_bias_deg))  # fmt: skip
        found.append(world.correction(i, enu_m=truth(i)))
    return images, found


def test_sequence_bias_finds_offset_heading_and_lag(catalog: Catalog) -> None:
    images, found = drive(0.5, (1.5, -2.5), 7.0)
    catalog.set_frame(world.ROME)
    catalog.add_alignment(world.alignment())
    catalog.upsert_anchors(world.anchor(i) for i in range(31))
    catalog.upsert_images(images)
    catalog.begin_run(world.manifest())
    catalog.record("run-a", found)
    (row,) = rows(catalog, "select * from sequence_bias")
    assert row["sequence_id"] == "corner"
    assert row["n_photos"] == 30
    assert row["lag_s"] == pytest.approx(0.5, abs=0.03)
    assert catalog.sequence_lags() == {"corner": row["lag_s"]}
    assert row["heading_bias_deg"] == pytest.approx(7.0, abs=1e-2)
    # The mean offset holds bias and lag together: half the drive goes east, half north, at 8 m/s.
    assert row["mean_east_m"] == pytest.approx(1.5 + 0.5 * 8.0 * 15.5 / 30, abs=0.1)
    devices = rows(catalog, "select * from device_bias order by device_model")
    assert [(d["device_model"], d["n_photos"]) for d in devices] == [("Cam 0", 10), ("Cam 1", 10), ("Cam 2", 10)]


def test_a_mean_of_headings_goes_around_the_circle(catalog: Catalog) -> None:
    """A camera that looks backwards: 8°, 179° and -179° have their mean at 8 / 3 only on a ruler."""
    world.fill(catalog, 3)
    photos = [replace(world.image(i), heading_deg=(90.0 - change) % 360.0, sequence_id="turned", device_model="Turned")
              for i, change in enumerate((8.0, 179.0, -179.0))]  # fmt: skip
    catalog.upsert_images(photos)
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", [world.correction(i) for i in range(3)])
    for number, bias in enumerate((179.0, -179.0)):
        found = replace(world.finding(f"seq-{number}"), heading_bias_deg=bias, device_model="Turned")
        SequenceStore(catalog).record("run-b", found)
    radians = np.radians([8.0, 179.0, -179.0])
    expected = np.degrees(np.arctan2(np.sin(radians).sum(), np.cos(radians).sum()))
    assert expected == pytest.approx(172.0, abs=0.5)
    for view in ("sequence_bias", "device_bias"):
        (row,) = rows(catalog, f"select * from {view}")
        assert row["heading_bias_deg"] == pytest.approx(expected, abs=1e-3), view
    (row,) = rows(catalog, "select * from device_finding")
    assert abs(row["heading_bias_deg"]) == pytest.approx(180.0)


def diff_scene(catalog: Catalog) -> None:
    """Five photos: the same, moved, rejected, only in run-a, only in run-b."""
    world.fill(catalog, 4)
    catalog.upsert_images([world.image(6)])
    catalog.upsert_anchors(world.anchor(i) for i in range(8))
    catalog.begin_run(world.manifest("run-b"))
    moved = world.correction(1, enu_m=[8.0, 2.0, 1.8])
    catalog.record("run-b", [world.correction(0), moved, world.rejection(2), world.correction(6)])
    catalog.begin_run(world.manifest("run-c"))
    catalog.record("run-c", [world.correction(0)])


def test_run_diff_tells_what_changed(catalog: Catalog) -> None:
    diff_scene(catalog)
    query = "select * from run_diff where run_a = 'run-a' and run_b = 'run-b' order by image_id"
    found = rows(catalog, query)
    assert [(row["image_id"], row["status_a"], row["status_b"], row["reason_b"]) for row in found] == [
        ("1001", "accepted", "accepted", None),
        ("1002", "accepted", "rejected", "too_few_matches"),
        ("1003", "accepted", None, None),
        ("1006", None, "accepted", None),
    ]
    assert found[0]["moved_m"] == pytest.approx(5.0)
    assert [row["moved_m"] for row in found[1:]] == [None, None, None]
    for row, place in zip(
        found, ([8.0, 2.0, 1.8], [10.0, -2.0, 1.8], [15.0, -2.0, 1.8], [30.0, -2.0, 1.8]), strict=True
    ):
        lon, lat, _ = world.ROME.wgs84_from_enu(place)
        np.testing.assert_allclose(shapely.get_coordinates(row["geom"]), [[lon, lat]], atol=1e-9)
    everything = rows(catalog, "select fid, run_a, run_b from run_diff")
    assert len({row["fid"] for row in everything}) == len(everything) == 4 + 3 + 3
    assert all(0 < row["fid"] < 2**63 for row in everything)
    if catalog.engine.dialect.name == "postgresql":
        called = rows(catalog, "select * from run_diff('run-a', 'run-b')")
        assert called == [{name: row[name] for name in called[0]} for row in found]


def test_run_summary_counts(catalog: Catalog) -> None:
    world.fill(catalog)
    (row,) = rows(catalog, "select * from run_summary")
    assert (row["n_results"], row["n_accepted"], row["n_review"], row["n_rejected"]) == (20, 14, 2, 4)


def withdraw(catalog: Catalog) -> None:
    """A provider's position, and a run that is rolled back: views about them have something to say."""
    catalog.upsert_images([replace(world.image(3), computed=Position(12.4965, 41.9028))])
    catalog.begin_run(world.manifest("run-c"))
    catalog.rollback("run-c")


def test_every_view_has_a_unique_integer_key(catalog: Catalog) -> None:
    world.fill(catalog)
    catalog.begin_run(world.manifest("run-b"))
    catalog.record("run-b", world.results(12))
    SequenceStore(catalog).record("run-b", world.finding())
    withdraw(catalog)
    for view in views_of(catalog.engine.dialect.name):
        keys = [row["fid"] for row in rows(catalog, f"select * from {view.name}")]
        assert keys, view.name
        assert len(set(keys)) == len(keys), view.name
        assert all(isinstance(key, int) for key in keys), view.name


def test_gdal_sees_every_layer_with_its_types(tmp_path: Path) -> None:
    path = tmp_path / "catalog.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        world.fill(catalog)
        catalog.begin_run(world.manifest("run-b"))
        catalog.record("run-b", world.results(12))
        SequenceStore(catalog).record("run-b", world.finding())
        withdraw(catalog)
    listed = {str(name): kind for name, kind in pyogrio.list_layers(path)}
    views = {view.name: view for view in views_of("sqlite")}
    hidden = {"correction_shape"}
    assert listed.keys() == (views.keys() | {t.name for t in TABLES} | {"layer_styles"}) - hidden
    for name, view in views.items():
        info = pyogrio.read_info(path, layer=name)
        assert info["fid_column"] == "fid", name
        types = dict(zip(info["fields"], (str(t) for t in info["dtypes"]), strict=True))
        wrong = {n: t for n, t in types.items() if n.endswith(("_m", "_deg", "_s", "_px")) and t != "float64"}
        assert not wrong, (name, wrong)
        assert all(t == "int64" for n, t in types.items() if n.startswith("n_")), name
        assert (listed[name] is not None) == (view.spatial is not None), name
        frame = pyogrio.read_dataframe(path, layer=name, fid_as_index=True)
        assert frame.index.is_unique
        assert len(frame) > 0, name
    inside = pyogrio.read_dataframe(path, layer="current_correction", bbox=(12.4963, 41.90, 12.49642, 41.91))
    assert sorted(inside["image_id"]) == ["1000"]


def test_straight_drives_have_no_lag(catalog: Catalog) -> None:
    world.fill(catalog)
    assert [row["lag_s"] for row in rows(catalog, "select * from sequence_bias")] == [None, None]


@pytest.mark.postgis
def test_both_back_ends_draw_the_same_shapes(tmp_path: Path, postgis_url: str) -> None:
    drawn = []
    for url in (str(tmp_path / "a.gpkg"), postgis_url):
        with Catalog.open(url, create=True) as catalog:
            world.fill(catalog)
            names = ("displacement", "error_ellipse", "coverage", "sequence_bias", "current_correction", "rejected")
            drawn.append({name: rows(catalog, f"select * from {name} order by fid") for name in names})
    for name in drawn[0]:
        assert len(drawn[0][name]) == len(drawn[1][name]) > 0, name
        for mine, theirs in zip(drawn[0][name], drawn[1][name], strict=True):
            assert mine.keys() == theirs.keys()
            a, b = (np.array(shapely.get_coordinates(row["geom"])) for row in (mine, theirs))
            np.testing.assert_allclose(a, b, atol=1e-9, err_msg=name)  # 0.1 mm
