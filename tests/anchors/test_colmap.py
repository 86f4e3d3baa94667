"""COLMAP models written by COLMAP's own library, with known truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.colmap_world import (
    CAMERA,
    FRAME,
    WORLD_FROM_LOCAL,
    TrueImage,
    facade,
    street,
    write_colmap,
    write_pictures,
)
from support.photos import photo
from typer.testing import CliRunner

from geocorrect.anchors.alignment import Alignment
from geocorrect.anchors.choice import AnchorOptions
from geocorrect.anchors.readers.reconstruction.colmap import read_colmap
from geocorrect.anchors.readers.reconstruction.colmap_cameras import MODELS, camera_of
from geocorrect.anchors.readers.reconstruction.colmap_records import CameraRecord
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.anchors.samples import ReconstructedAnchor, read_samples, write_samples
from geocorrect.catalog.store import Catalog
from geocorrect.cli.app import app
from geocorrect.depth.reconstruction import ReconstructionDepth, ReconstructionDepthOptions
from geocorrect.errors import InputError, UsageError
from geocorrect.geometry.pose import rotation_angle_deg
from geocorrect.geometry.projection import Projection
from geocorrect.records import Anchor

pycolmap = pytest.importorskip("pycolmap", exc_type=ImportError, reason="writes the models")
ELLIPSOID: dict[str, Any] = {"crs": "EPSG:4326", "height_reference": "ellipsoid"}


def project(tmp_path: Path, images: list[TrueImage], *, binary: bool = True) -> Path:
    write_colmap(tmp_path / "sparse" / "0", images, facade(), binary=binary)
    write_pictures(tmp_path / "images", images)
    return tmp_path


def sim3(tmp_path: Path) -> Path:
    covariance = np.diag([0.01, 0.02, 0.04, 1e-6, 2e-6, 3e-6, 4e-6])
    path = tmp_path / "alignment.json"
    path.write_text(json.dumps(Alignment(FRAME, WORLD_FROM_LOCAL, covariance).as_json()))
    return path


def require_truth(anchors: list[Anchor], images: list[TrueImage], tolerance_m: float = 1e-6) -> None:
    assert [anchor.id for anchor in anchors] == [f"colmap/{Path(image.name).with_suffix('')}" for image in images]
    for anchor, image in zip(anchors, images, strict=True):
        there = np.linalg.norm(anchor.world_from_cam.translation_m - image.world_from_cam.translation_m)
        assert there < tolerance_m
        assert rotation_angle_deg(anchor.world_from_cam.rotation, image.world_from_cam.rotation) < 1e-6
        assert anchor.camera.projection == image.camera.projection
        ours, theirs = (np.array([*c.intrinsic_matrix.ravel(), *c.distortion]) for c in (anchor.camera, image.camera))
        assert ours == pytest.approx(theirs, abs=1e-6)
        assert anchor.path.name == Path(image.name).name


@pytest.mark.parametrize("binary", [True, False])
def test_truth_in_every_field_by_a_similarity(tmp_path: Path, binary: bool) -> None:
    images = street()
    options = AnchorOptions(alignment=sim3(tmp_path))
    alignment, anchors = anchor_files(project(tmp_path, images, binary=binary), options=options).read()
    require_truth(anchors, images)
    for anchor, image in zip(anchors, images, strict=True):
        expected = alignment.apply(image.local_from_cam)
        assert anchor.world_from_cam.covariance == pytest.approx(expected.covariance, abs=1e-9)
        assert isinstance(anchor, ReconstructedAnchor)
        assert anchor.samples is not None
        assert len(anchor.samples.z_m) > 5
        assert anchor.samples.common_log_sigma == pytest.approx(2e-3)
        rays = image.camera.unproject(anchor.samples.px)
        points = image.world_from_cam.apply(rays / rays[:, 2:] * anchor.samples.z_m[:, None])
        assert np.linalg.norm(points[:, None] - facade(), axis=2).min(axis=1).max() < 1e-5
        assert (anchor.samples.log_sigma > 0).all()
        assert anchor.samples.log_sigma.max() <= 0.1


def test_the_sigma_of_a_point_is_that_of_its_rays(tmp_path: Path) -> None:
    """Two cameras side by side: sigma of depth z² · e / (f · b · √2 / 2), the textbook's stereo."""
    eye = street(1)[0].world_from_cam
    pair = [replace(street(1)[0], name=f"{k}.png", world_from_cam=replace(eye, translation_m=eye.apply([k, 0, 0.0])))
            for k in (-0.5, 0.5)]  # fmt: skip
    camera = replace(CAMERA, distortion=(0.0,) * 5, focal_y_px=250.0)
    pair = [replace(image, camera=camera) for image in pair]
    write_colmap(tmp_path / "sparse/0", pair, eye.apply([[0.0, 0.0, 20.0]]), binary=True)
    write_pictures(tmp_path / "images", pair)
    _, (first, second) = anchor_files(tmp_path, options=AnchorOptions(alignment=sim3(tmp_path))).read()
    assert isinstance(first, ReconstructedAnchor)
    assert first.samples is not None
    assert first.samples.from_anchors == (second.id,)
    assert first.samples.z_m == pytest.approx([20.0])
    ray_px = 0.5 * np.sqrt(2)  # two images of 0.5 px
    assert first.samples.log_sigma[0] == pytest.approx(20.0 * ray_px / (250.0 * 1.0), rel=0.02)


def test_rigs_are_read_by_their_composed_poses(tmp_path: Path) -> None:
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=2, num_frames_per_rig=3, num_points3D=30)
    model = pycolmap.synthesize_dataset(options)
    for binary in (True, False):
        (folder := tmp_path / str(binary)).mkdir()
        (model.write_binary if binary else model.write_text)(str(folder))
        found = {image.name: image for image in read_colmap(folder).images}
        assert len(found) == 6
        for image in model.images.values():
            expected = image.cam_from_world().inverse().matrix()
            assert found[image.name].local_from_cam.matrix[:3] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("model", [name for name, _, _ in MODELS])
def test_every_camera_model_projects_as_colmap_does_or_is_refused(model: str) -> None:
    _, names, projection = next(entry for entry in MODELS if entry[0] == model)
    values = {"f": 250.0, "fx": 250.0, "fy": 255.0, "cx": 161.3, "cy": 119.1, "k1": -0.04, "k2": 0.006, "k3": -0.001}
    values |= {"k4": 0.0003, "p1": 0.002, "p2": -0.001, "s0": 0.003, "s2": -0.002, "k": -0.1, "omega": 0.4}
    values |= {"alpha": 0.6, "beta": 1.1, "w": 480.0, "h": 240.0}
    if model == "RAD_TAN_THIN_PRISM_FISHEYE":
        values |= {"k5": 1e-4, "k6": -1e-5}
    if model == "FULL_OPENCV":
        values |= {"k4": 0.3, "k5": -0.05, "k6": 0.01}
    parameters = tuple(values.get(name, 0.0) for name in names)
    width = 480 if model == "EQUIRECTANGULAR" else 320
    record = CameraRecord(model, width, 240, parameters)
    if projection is None:
        with pytest.raises(InputError, match=rf"here: {model} has no equal here; undistort the images"):
            camera_of("here", record)
        return
    theirs = pycolmap.Camera(model=model, width=width, height=240, params=parameters)
    points = np.random.default_rng(1).uniform([-2, -1.5, 3], [2, 1.5, 9], (50, 3))
    px, visible = camera_of("here", record).project(points)
    assert visible.all()
    expected = np.array([theirs.img_from_cam(point) for point in points]).reshape(-1, 2)
    assert px == pytest.approx(expected - 0.5, abs=1e-6)


def test_coefficients_without_an_equal_are_refused() -> None:
    model = "RAD_TAN_THIN_PRISM_FISHEYE"
    names = next(entry for entry in MODELS if entry[0] == model)[1]
    record = CameraRecord(model, 320, 240, (250.0, 250.0, 160.0, 120.0, *[0.0] * (len(names) - 5), 0.1))
    with pytest.raises(InputError, match=f"{model} with prism3 other than 0"):
        camera_of("here", record)
    assert camera_of("x", CameraRecord("PINHOLE", 4, 4, (9, 9, 2, 2))).projection is Projection.PERSPECTIVE


def rows_of_places(images: list[TrueImage], sigma: float | None = 0.02) -> str:
    lines = ["file,lon_deg,lat_deg,height_m" + (",sigma_position_m" if sigma else "")]
    for image in images:
        place = ",".join(repr(float(value)) for value in FRAME.wgs84_from_enu(image.world_from_cam.translation_m))
        lines.append(f"{image.name},{place}" + (f",{sigma}" if sigma else ""))
    return "\n".join(lines) + "\n"


def test_positions_of_images_with_their_sigma(tmp_path: Path) -> None:
    images = street()
    (path := tmp_path / "places.csv").write_text(rows_of_places(images))
    folder = project(tmp_path, images)
    alignment, anchors = anchor_files(folder, options=AnchorOptions(positions=path, **ELLIPSOID)).read()
    scene = FRAME.this_from(alignment.frame)
    require_truth([replace(a, world_from_cam=scene @ a.world_from_cam) for a in anchors], images)
    assert alignment.covariance is not None
    assert alignment.world_from_local.scale == pytest.approx(WORLD_FROM_LOCAL.scale, abs=1e-9)
    middle = images[len(images) // 2].local_from_cam.translation_m
    assert alignment.plan_sigma_m(middle) == pytest.approx(0.02 / np.sqrt(len(images)), rel=0.5)
    (path := tmp_path / "bare.csv").write_text(rows_of_places(images, None))
    with pytest.raises(InputError, match=r"line 2: column 'sigma_position_m' is missing; or say --position-sigma"):
        anchor_files(folder, options=AnchorOptions(positions=path, **ELLIPSOID)).read()
    options = AnchorOptions(positions=path, position_sigma_m=0.02, **ELLIPSOID)
    assert anchor_files(folder, options=options).read()[0].covariance == pytest.approx(alignment.covariance, rel=1e-6)


def test_ties_that_disagree_widen_the_covariance_and_an_outlier_does_not_move_it(tmp_path: Path) -> None:
    images = street(12)
    folder = project(tmp_path, images)
    random = np.random.default_rng(0)
    noisy = [replace(i, world_from_cam=replace(i.world_from_cam, translation_m=i.world_from_cam.translation_m
             + random.normal(0, 0.2, 3))) for i in images]  # fmt: skip
    (path := tmp_path / "places.csv").write_text(rows_of_places(noisy, 0.02))
    told, _ = anchor_files(folder, options=AnchorOptions(positions=path, **ELLIPSOID)).read()
    (path := tmp_path / "exact.csv").write_text(rows_of_places(images, 0.02))
    exact, _ = anchor_files(folder, options=AnchorOptions(positions=path, **ELLIPSOID)).read()
    assert told.covariance is not None
    assert exact.covariance is not None
    assert np.sqrt(told.covariance[6, 6] / exact.covariance[6, 6]) > 4
    moved = images[5].world_from_cam.apply([30.0, 0.0, 0.0])
    noisy = [replace(image) for image in images]
    noisy[5] = replace(images[5], world_from_cam=replace(images[5].world_from_cam, translation_m=moved))
    (path := tmp_path / "outlier.csv").write_text(rows_of_places(noisy, 0.02))
    alignment, anchors = anchor_files(folder, options=AnchorOptions(positions=path, **ELLIPSOID)).read()
    there = FRAME.this_from(alignment.frame) @ anchors[2].world_from_cam
    assert np.linalg.norm(there.translation_m - images[2].world_from_cam.translation_m) < 0.02


def test_a_straight_street_stands_by_its_level_cameras_or_is_refused(tmp_path: Path) -> None:
    images = street(straight=True)
    folder = project(tmp_path, images)
    options = AnchorOptions(positions=tmp_path / "places.csv", **ELLIPSOID)
    level = replace(options, level_cameras=True)
    random = np.random.default_rng(0)
    wavy = [replace(i, world_from_cam=replace(i.world_from_cam, translation_m=i.world_from_cam.translation_m
            + random.normal(0, 0.05, 3))) for i in images]  # fmt: skip
    for known in (wavy, images):
        (tmp_path / "places.csv").write_text(rows_of_places(known, 0.1))
        alignment, anchors = anchor_files(folder, options=level).read()
        there = FRAME.this_from(alignment.frame) @ anchors[0].world_from_cam
        assert rotation_angle_deg(there.rotation, images[0].world_from_cam.rotation) < 1.0
        assert anchors[0].world_from_cam.covariance is not None
        turn_deg = np.degrees(np.sqrt(np.linalg.eigvalsh(anchors[0].world_from_cam.covariance[3:, 3:])[-1]))
        assert 1.0 < turn_deg < 3.0
        with pytest.raises(InputError, match=r"places.csv: (its 8 ties leave the turn|points lie on one).*--level-cam"):
            anchor_files(folder, options=options).read()
    there_all = [replace(image, world_from_cam=images[0].world_from_cam) for image in images]
    for known, sigma, message in ((there_all, 0.1, "points lie on one line"), (wavy[:3], 9.0, "its 3 ties leave the")):
        (tmp_path / "places.csv").write_text(rows_of_places(known, sigma))
        with pytest.raises(InputError, match=rf"places.csv: {message}"):
            anchor_files(folder, options=level).read()


@pytest.mark.parametrize("rtk", [True, False])
def test_positions_in_the_tags_of_the_pictures(tmp_path: Path, rtk: bool) -> None:
    """Degrees in EXIF are rationals of about a metre here."""
    images = [replace(image, name=image.name.replace(".png", ".jpg")) for image in street()]
    folder = project(tmp_path, images)
    for image in images:
        lon, lat, height_m = map(float, FRAME.wgs84_from_enu(image.world_from_cam.translation_m))
        gps = {1: "N", 2: (lat, 0.0, 0.0), 3: "E", 4: (lon, 0.0, 0.0), 6: height_m}
        std = "".join(f'drone-dji:RtkStd{name}="0.0{k}" ' for k, name in enumerate(("Lon", "Lat", "Hgt"), 1))
        packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a {std}/></x:xmpmeta>'.encode() if rtk else None
        photo(folder / "images" / image.name, gps, size=(320, 240), xmp=packet)
    options = AnchorOptions(positions=Path("exif"), height_reference="ellipsoid", position_sigma_m=None if rtk else 0.2)
    alignment, anchors = anchor_files(folder, options=options).read()
    there = FRAME.this_from(alignment.frame) @ anchors[3].world_from_cam
    assert np.linalg.norm(there.translation_m - images[3].world_from_cam.translation_m) < 1e-2
    middle = images[len(images) // 2].local_from_cam.translation_m
    assert alignment.plan_sigma_m(middle) == pytest.approx((0.03 if rtk else 0.2) / np.sqrt(len(images)), rel=0.5)
    write_pictures(tmp_path / "bare", images)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"height_reference": "unknown"}, "what GPSAltitude is measured from is not declared"),
        ({"images": tmp_path / "bare"}, "0 pictures have position and height in their tags; 3 are needed"),
    ]
    if not rtk:
        changes.append(({"position_sigma_m": None}, "0000.jpg: its tags do not say how good its position is"))
    for changed, message in changes:
        with pytest.raises(InputError, match=message):
            anchor_files(folder, options=replace(options, **changed)).read()


def test_control_points(tmp_path: Path) -> None:
    images = street()
    folder = project(tmp_path, images)
    lines = ["image,u_px,v_px,landmark,lon_deg,lat_deg,height_m,sigma_m"]
    for number, point in enumerate(facade()[:60]):
        place = ",".join(repr(float(value)) for value in FRAME.wgs84_from_enu(point))
        for image in images:
            px, visible = image.camera.project(image.world_from_cam.inverse().apply(point[None]))
            if visible[0] and image.camera.contains(px)[0]:
                lines.append(f"{image.name},{float(px[0, 0])!r},{float(px[0, 1])!r},p{number},{place},0.03")
    (path := tmp_path / "gcp.csv").write_text("\n".join(lines) + "\n")
    options = AnchorOptions(control_points=path, **ELLIPSOID)
    alignment, anchors = anchor_files(folder, options=options).read()
    scene = FRAME.this_from(alignment.frame)
    require_truth([replace(a, world_from_cam=scene @ a.world_from_cam) for a in anchors], images)
    assert alignment.covariance is not None
    for old, new, message in (
        ("left/0000.png", "left/x.png", "line 2: image 'left/x.png' is not in"),
        (lines[1].split(",")[1], "-30.0", "line 2: pixel .* is outside"),
    ):
        path.write_text("\n".join([lines[0], lines[1].replace(old, new) if old in lines[1] else f"x{lines[1]}"]) + "\n")
        with pytest.raises(InputError, match=message if old in lines[1] else "line 2: image"):
            anchor_files(folder, options=options).read()
    path.write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(InputError, match="0 landmarks are seen in two images; 3 are needed"):
        anchor_files(folder, options=options).read()


@pytest.mark.parametrize("binary", [True, False])
def test_damage_is_named(tmp_path: Path, binary: bool) -> None:
    images = street(3)
    folder = project(tmp_path, images, binary=binary)
    model, options = folder / "sparse/0", AnchorOptions(alignment=sim3(tmp_path))
    with pytest.raises(UsageError, match="has no place on earth; add --alignment FILE.json, --control-points"):
        anchor_files(folder).read()
    with pytest.raises(UsageError, match="--alignment and --positions: give one of them"):
        anchor_files(folder, options=replace(options, positions=Path("x.csv"))).read()
    with pytest.raises(InputError, match="no picture left/0000.png in .*--images FOLDER"):
        anchor_files(folder, options=replace(options, images=folder / "none")).read()
    for name in ("cameras", "images", "points3D"):
        path = model / f"{name}.{'bin' if binary else 'txt'}"
        whole = path.read_bytes()
        cut = whole[: len(whole) * 2 // 3]
        path.write_bytes(cut if binary else cut[: cut.rindex(b" ")])
        with pytest.raises(InputError, match=f"{name}.bin" if binary else name):
            anchor_files(folder, options=options).read()
        path.write_bytes(whole + b"\0" if binary else whole.replace(b"0.", b"x."))
        with pytest.raises(InputError, match=path.name):
            anchor_files(folder, options=options).read()
        path.write_bytes(whole)
    if binary:
        points = bytearray((model / "points3D.bin").read_bytes())
        points[16:24] = np.float64(np.nan).tobytes()
        (model / "points3D.bin").write_bytes(bytes(points))
        with pytest.raises(InputError, match=r"1 points are not finite \(the first is number 0\)"):
            anchor_files(folder, options=options).read()
        points[16:24] = np.float64(1.0).tobytes()
        (model / "points3D.bin").write_bytes(bytes(points))
    (folder / "images/left/0001.png").unlink()
    with pytest.raises(InputError, match="0001.png: no such image"):
        anchor_files(folder, options=options).read()


def test_points_are_kept_for_the_depth_and_belong_to_their_alignment(tmp_path: Path) -> None:
    images = street(3)
    folder = project(tmp_path, images)
    _, anchors = anchor_files(folder, options=AnchorOptions(alignment=sim3(tmp_path))).read()
    first = anchors[0]
    assert isinstance(first, ReconstructedAnchor)
    write_samples(tmp_path / "kept", first)
    again = read_samples(tmp_path / "kept", first)
    assert first.samples is not None
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(again, first.samples, strict=True))
    with pytest.raises(InputError, match="are those of alignment .*add the anchors again"):
        read_samples(tmp_path / "kept", replace(first, alignment_id="other"))
    with pytest.raises(InputError, match="no points of anchor colmap/left/0001; add it again"):
        read_samples(tmp_path / "kept", anchors[1])
    path = tmp_path / "kept" / f"{first.id}.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"0000.npz: damaged"):
        read_samples(tmp_path / "kept", first)


def test_what_the_command_adds_has_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = street(3)
    folder = project(tmp_path, images)
    monkeypatch.chdir(tmp_path)
    arguments = ["anchors", "add", str(folder), "--alignment", str(sim3(tmp_path)), "--catalog", "c.gpkg"]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    with Catalog.open("c.gpkg") as catalog:
        stored = catalog.anchors()
    source = ReconstructionDepth(ReconstructionDepthOptions(tmp_path / "reconstruction"))
    for anchor in anchor_files(folder, options=AnchorOptions(alignment=sim3(tmp_path))).read()[1]:
        assert isinstance(anchor, ReconstructedAnchor)
        assert anchor.samples is not None
        depth = source.depth(stored[anchor.id], np.zeros((240, 320, 3), np.uint8))
        assert (depth.is_oracle, depth.common_log_sigma) == (False, pytest.approx(2e-3))
        assert np.array_equal(depth.samples_px, anchor.samples.px)
        assert np.array_equal(depth.samples_z_m, anchor.samples.z_m)
        # Two of a reconstruction confirm each other's depth no more than two that measure it from each other.
        assert depth.from_anchors == set(stored) - {anchor.id}
