"""Folders for OpenSfM, COLMAP and mapillary_tools say the same as the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support import catalog_world as world

from geocorrect.anchors.readers.reconstruction.colmap_cameras import camera_of
from geocorrect.anchors.readers.reconstruction.colmap_records import CameraRecord
from geocorrect.catalog import Catalog
from geocorrect.export.colmap import colmap_camera
from geocorrect.export.export import export_catalog
from geocorrect.export.formats import Format
from geocorrect.geometry.camera import Camera, Projection

TRUTH = {f"{1000 + i}": np.array([5.0 * i, -2.0, 1.8]) for i in range(20)}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    path = tmp_path_factory.mktemp("formats") / "c.gpkg"
    with Catalog.open(str(path), create=True) as opened:
        world.fill(opened)
        yield opened


def test_opensfm_shots_stand_where_the_photos_stand(catalog: Catalog, tmp_path: Path) -> None:
    assert export_catalog(catalog, tmp_path / "sfm", Format.OPENSFM) == 14
    (reconstruction,) = json.loads((tmp_path / "sfm" / "reconstruction.json").read_text())
    assert reconstruction["reference_lla"] == {"latitude": 41.9028, "longitude": 12.4964, "altitude": 48.0}
    shot = reconstruction["shots"]["3.jpg"]
    # OpenSfM: centre = −Rᵀ t, with R from the axis-angle vector (cam_from_world).
    cam_from_world = Rotation.from_rotvec(shot["rotation"])
    centre = -cam_from_world.inv().apply(shot["translation"])
    np.testing.assert_allclose(centre, TRUTH["1003"], atol=1e-9)
    # The optical axis looks east, 2° up.
    forward = cam_from_world.inv().apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(forward, [np.cos(np.radians(2)), 0.0, np.sin(np.radians(2))], atol=1e-9)
    camera = Camera.from_opensfm(reconstruction["cameras"][shot["camera"]], 1024, 768)
    assert camera.focal_x_px == pytest.approx(800.0)
    assert "CC-BY-SA-4.0" in (tmp_path / "sfm" / "ATTRIBUTION.txt").read_text()


def test_opensfm_leaves_out_parts_of_panoramas_by_name(tmp_path: Path) -> None:
    """OpenSfM knows whole spheres only: as one of them, a part would look elsewhere."""
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 4)
        part = Camera.spherical(2000, 1000).cropped(0, 0, 1000, 600)
        catalog.upsert_images([replace(world.image(2), camera=part)])
        assert catalog.images()["1002"].camera == part
        count = export_catalog(catalog, tmp_path / "sfm", Format.OPENSFM)
    (reconstruction,) = json.loads((tmp_path / "sfm" / "reconstruction.json").read_text())
    assert count == len(reconstruction["shots"]) > 0
    assert "2.jpg" not in reconstruction["shots"]
    assert "1002 2.jpg" in (tmp_path / "sfm" / "left_out.txt").read_text().splitlines()


def test_colmap_projects_a_point_where_our_camera_does(catalog: Catalog, tmp_path: Path) -> None:
    assert export_catalog(catalog, tmp_path / "model", Format.COLMAP) == 14
    lines = (tmp_path / "model" / "images.txt").read_text().splitlines()
    line = next(one for one in lines if one.endswith(" 3.jpg"))
    _, qw, qx, qy, qz, *rest = line.split()
    translation = np.array(rest[:3], float)
    point = TRUTH["1003"] + [10.0, 1.0, 0.5]
    in_camera = Rotation.from_quat([float(v) for v in (qx, qy, qz, qw)]).apply(point) + translation
    model, width, _, *params = (tmp_path / "model" / "cameras.txt").read_text().splitlines()[1].split()[1:]
    assert (model, width) == ("OPENCV", "1024")
    fx, fy, cx, cy, k1, k2, p1, p2 = (float(v) for v in params)
    # OPENCV of COLMAP's sensor/models.h.
    u, v = in_camera[:2] / in_camera[2]
    r2 = u * u + v * v
    radial = 1 + k1 * r2 + k2 * r2 * r2
    x = fx * (u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u)) + cx
    y = fy * (v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v)) + cy
    pose = world.correction(3).world_from_cam
    ((ours,), _) = world.CAMERA.project(pose.inverse().apply(point)[None])
    np.testing.assert_allclose([x - 0.5, y - 0.5], ours, atol=1e-9)


@pytest.mark.parametrize(
    ("camera", "model"),
    [
        (None, None),
        (Camera.spherical(2000, 1000), None),
        (Camera.pinhole(640, 480, 500, 501, 320, 240), "PINHOLE 640 480 500.0 501.0 320.5 240.5"),
        (Camera.from_opencv(640, 480, [500, 500, 320, 240], [0.1, 0, 0, 0, 0.01]), "FULL_OPENCV"),
        (
            Camera.from_opencv(640, 480, [500, 501, 320, 240], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
            "FULL_OPENCV 640 480 500.0 501.0 320.5 240.5 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8",
        ),
        (Camera(Projection.FISHEYE, 640, 480, 500, 500, 320, 240, (0.1,)), "OPENCV_FISHEYE"),
    ],
)
def test_colmap_models(camera: Camera | None, model: str | None) -> None:
    line = colmap_camera(camera)
    assert line == model or (line is not None and model is not None and line.startswith(model))
    if line is not None:
        name, width, height, *parameters = line.split()
        record = CameraRecord(name, int(width), int(height), tuple(map(float, parameters)))
        points = np.random.default_rng(1).uniform([-1, -1, 3], [1, 1, 9], (50, 3))
        assert camera is not None
        np.testing.assert_array_equal(camera_of("own", record).project(points)[0], camera.project(points)[0])


def test_sidecar_is_what_mapillary_tools_accepts(catalog: Catalog, tmp_path: Path) -> None:
    assert export_catalog(catalog, tmp_path / "side", Format.SIDECAR) == 14
    described = json.loads((tmp_path / "side" / "mapillary_image_description.json").read_text())
    allowed = {
        "filename", "filetype", "MAPLatitude", "MAPLongitude", "MAPAltitude", "MAPCaptureTime", "MAPCompassHeading",
        "MAPGPSAccuracyMeters", "MAPSequenceUUID", "MAPDeviceMake", "MAPDeviceModel", "MAPOrientation",
    }  # fmt: skip
    for entry in described:
        assert entry.keys() <= allowed
        assert entry["filetype"] == "image"
        assert Path(entry["filename"]).is_absolute()
        assert entry["MAPCompassHeading"].keys() == {"TrueHeading", "MagneticHeading"}
    entry = next(e for e in described if e["filename"].endswith("/3.jpg"))
    lon, lat, _ = world.ROME.wgs84_from_enu(TRUTH["1003"])
    assert (entry["MAPLongitude"], entry["MAPLatitude"]) == (round(float(lon), 7), round(float(lat), 7))
    assert entry["MAPCaptureTime"] == "2026_03_01_10_00_03_000"
    rest = [json.loads(line) for line in (tmp_path / "side" / "corrections.jsonl").read_text().splitlines()]
    covariance = next(r for r in rest if r["image_id"] == "1003")["enu_from_cam"]["covariance"]
    np.testing.assert_array_equal(covariance, world.correction(3).world_from_cam.covariance)


@pytest.mark.parametrize(
    ("sensor", "provider", "stated"),
    [
        (1, {"file_orientation": 6}, 6),  # imported portrait: the file lies on its side and says so
        (1, {"file_orientation": 8}, 8),
        (6, {"file_orientation": 1}, 1),  # harvested portrait: delivered upright
        (6, {}, 1),  # the same, stored by an earlier version
        (1, {"file_orientation": 0}, 1),
        (3, {"file_orientation": 1}, 1),
    ],
)
def test_the_sidecar_states_the_orientation_of_the_file(
    tmp_path: Path, sensor: int, provider: dict[str, Any], stated: int
) -> None:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 1)
        catalog.upsert_images([replace(world.image(0), exif_orientation=sensor, provider=provider)])
        catalog.record("run-a", [world.correction(0)])
        assert export_catalog(catalog, tmp_path / "side", Format.SIDECAR) == 1
    [entry] = json.loads((tmp_path / "side" / "mapillary_image_description.json").read_text())
    assert entry["MAPOrientation"] == stated


def test_photos_that_the_sidecar_cannot_describe_are_errors_in_it(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 2)
        catalog.upsert_images([replace(world.image(0), captured_at=None), replace(world.image(1), path=None)])
        catalog.record("run-a", [world.correction(0), world.correction(1)])
        assert export_catalog(catalog, tmp_path / "side", Format.SIDECAR) == 0
    described = json.loads((tmp_path / "side" / "mapillary_image_description.json").read_text())
    assert [entry["error"]["message"] for entry in described] == [
        "the capture time is unknown",
        "the photo is not downloaded",
    ]


def test_two_photos_of_one_file_name_stay_two(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "c.gpkg"), create=True) as catalog:
        world.fill(catalog, 2)
        catalog.upsert_images(replace(world.image(i), path=Path(f"{i}/img.jpg")) for i in range(2))
        assert export_catalog(catalog, tmp_path / "sfm", Format.OPENSFM) == 2
    (reconstruction,) = json.loads((tmp_path / "sfm" / "reconstruction.json").read_text())
    assert set(reconstruction["shots"]) == {"img.jpg", "1001_img.jpg"}
