"""Mobile mapping drives: every angle convention against what the textbook says, rigs, panoramas, and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.photos import gpano
from support.vbr_world import MemoryCatalog

from geocorrect.anchors.add import add_anchors
from geocorrect.anchors.readers.mobile.angles import CONVENTIONS, PHOTO_FROM_CAM
from geocorrect.anchors.readers.mobile.drive import read_mobile
from geocorrect.anchors.readers.registry import anchor_files
from geocorrect.demo.world.drives import ENU_FROM_STREET, FRAME, LIDAR_FROM_CAMERA, Drive
from geocorrect.errors import InputError, OutputError
from geocorrect.geometry.crs import crs_from_wgs84, grid_convergence_deg
from geocorrect.geometry.pose import Pose
from geocorrect.io.pixels import read_image
from geocorrect.records import Anchor

Float = NDArray[np.float64]
WIDTH, HEIGHT = 64, 48
CAMERA = {
    "model": "OPENCV", "width": WIDTH, "height": HEIGHT, "intrinsics": [60.0, 61.0, 31.0, 23.5],
    "distortion": [-0.1, 0.05, 0.001, -0.002],
}  # fmt: skip
PLAIN = {"table": "t.csv", "crs": "EPSG:4326", "height_reference": "ellipsoid", "north": "true"}
NED_FROM_CAM = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]


def write(folder: Path, rows: list[dict[str, Any]], rig: list[dict[str, Any]], **meaning: Any) -> Path:
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    path = folder / "drive.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **meaning, "rig": rig}))
    return path


def picture(path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def one_view(folder: Path, angles: dict[str, float], convention: str, unit: str = "deg", **more: Any) -> Anchor:
    """The anchor of a single row."""
    picture(folder / "a.png")
    row = {"file": "a.png", "time": 0.0, "lon_deg": 12.5, "lat_deg": 41.9, "height_m": 50.0, **angles}
    rig = [{"name": "front", "images": "{file}", "camera": CAMERA, **more.pop("rig", {})}]
    (anchor,) = read_mobile(write(folder, [row], rig, angles=convention, unit=unit, **more))[1]
    return anchor


def east_north_up(direction: str) -> Float:
    """A compass direction, up to 20° tilted: "E", "N+20" looks north and 20° up."""
    name, _, tilt = direction.partition("+") if "+" in direction else direction.partition("-")
    up = np.radians(float(tilt or 0)) * (-1 if "-" in direction else 1)
    level = {"E": [1, 0], "N": [0, 1], "W": [-1, 0], "S": [0, -1]}[name]
    return np.array([level[0] * np.cos(up), level[1] * np.cos(up), np.sin(up)])


CASES: list[tuple[str, dict[str, float], str, float, dict[str, Any]]] = [
    ("heading_pitch_roll", {"heading": 90, "pitch": 20, "roll": 0}, "E+20", 0, {}),
    ("heading_pitch_roll", {"heading": 180, "pitch": 0, "roll": 15}, "S", 15, {}),
    ("heading_pitch_roll_ned", {"heading": 0, "pitch": 20, "roll": 0}, "N+20", 0,
     {"rig": {"body_from_cam": NED_FROM_CAM}}),
    ("heading_pitch_roll_ned", {"heading": 270, "pitch": 0, "roll": -15}, "W", -15,
     {"rig": {"body_from_cam": NED_FROM_CAM}}),
    ("heading_pitch_roll_ned", {"heading": 0, "pitch": 20, "roll": 0}, "N+20", 0, {}),
    ("heading_pitch_roll_ned", {"heading": 270, "pitch": 0, "roll": -15}, "W", -15, {}),
    ("yaw_pitch_roll_enu", {"yaw": 90, "pitch": 20, "roll": 0}, "N-20", 0, {}),
    ("yaw_pitch_roll_enu", {"yaw": 0, "pitch": 0, "roll": 15}, "E", 15, {}),
    ("omega_phi_kappa", {"omega": 90, "phi": 0, "kappa": 0}, "N", 0, {}),
    ("omega_phi_kappa", {"omega": 90, "phi": -90, "kappa": 0}, "E", 0, {}),
    ("omega_phi_kappa", {"omega": 90, "phi": 0, "kappa": -15}, "N", 15, {}),
    ("omega_phi_kappa", {"omega": 110, "phi": 0, "kappa": 0}, "N+20", 0, {}),
    ("quaternion", {"qx": 0, "qy": 0, "qz": 0, "qw": 1}, "E", 0, {}),
    ("quaternion", {"qx": 0, "qy": 0, "qz": 0.5**0.5, "qw": 0.5**0.5}, "N", 0, {}),
]  # fmt: skip


@pytest.mark.parametrize(("convention", "angles", "looks", "right_down_deg", "more"), CASES)
@pytest.mark.parametrize("unit", ["deg", "rad", "gon"])
def test_a_convention_is_what_the_textbook_says(
    convention: str, angles: dict[str, float], looks: str, right_down_deg: float, more: dict[str, Any], unit: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A landmark 100 m ahead is at the picture's principal point; one to the right goes down with the right side."""
    factor = 1.0 if convention == "quaternion" else {"deg": 1.0, "rad": np.pi / 180, "gon": 10 / 9}[unit]
    anchor = one_view(tmp_path, {k: v * factor for k, v in angles.items()}, convention, unit, **dict(more))
    ahead = 100.0 * east_north_up(looks)
    px, visible = anchor.camera.project(anchor.world_from_cam.inverse().apply(ahead[None]))
    assert visible.all()
    assert np.abs(px - [[31.0, 23.5]]).max() < 1e-6
    right = anchor.world_from_cam.rotation.as_matrix()[:, 0]
    assert right[2] == pytest.approx(-np.sin(np.radians(right_down_deg)), abs=1e-9)
    down = anchor.world_from_cam.rotation.as_matrix()[:, 1]
    assert down[2] < 0


def test_all_conventions_are_tested() -> None:
    assert {case[0] for case in CASES} == set(CONVENTIONS)


def test_grid_north_is_turned_into_true_north(tmp_path: Path) -> None:
    lon, lat = 12.5, 41.9
    turn = grid_convergence_deg("EPSG:32633", lon, lat)
    assert abs(turn) > 1.5
    x, y = (float(v) for v in crs_from_wgs84("EPSG:32633", lon, lat))
    picture(tmp_path / "a.png")
    row = {"file": "a.png", "time": 0, "x": x, "y": y, "height_m": 5.0, "heading": 30, "pitch": 0, "roll": 0}
    rig = [{"name": "front", "images": "{file}", "camera": CAMERA}]
    for north, heading in (("grid", 30 + turn), ("true", 30.0)):
        path = write(tmp_path, [row], rig, crs="EPSG:32633", angles="heading_pitch_roll", north=north)
        alignment, (anchor,) = read_mobile(path)
        assert alignment.frame.heading_deg(anchor.world_from_cam) == pytest.approx(heading, abs=1e-6)


def in_convention(body: Pose, convention: str) -> dict[str, float]:
    """Columns of a pose of the body in east, north, up."""
    yaw, nose_down, roll = body.rotation.as_euler("ZYX", degrees=True)
    if convention == "quaternion":
        return dict(zip(("qx", "qy", "qz", "qw"), body.quaternion_xyzw, strict=True))
    if convention == "yaw_pitch_roll_enu":
        return {"yaw": yaw, "pitch": nose_down, "roll": roll}
    if convention == "omega_phi_kappa":
        photo = (body @ LIDAR_FROM_CAMERA).rotation * PHOTO_FROM_CAM
        return dict(zip(("omega", "phi", "kappa"), photo.as_euler("XYZ", degrees=True), strict=True))
    return {"heading": 90 - yaw, "pitch": -nose_down, "roll": roll}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_drive_through_the_street_comes_back_to_a_millionth(convention: str, tmp_path: Path) -> None:
    """Poses, times, intrinsics and sigmas of the demo's drive, whose body is the LiDAR: x forward, y left, z up."""
    drive = Drive("d", 7, +1, 5.0, 1.3, 6, 1000.0)
    mount = LIDAR_FROM_CAMERA
    if convention == "heading_pitch_roll_ned":
        mount = Pose(PHOTO_FROM_CAM, np.zeros(3)) @ mount
    rig: dict[str, Any] = {"name": "front", "images": "{file}", "camera": CAMERA}
    rig |= {} if convention == "omega_phi_kappa" else {"body_from_cam": mount.matrix.tolist()}
    rows, truth = [], []
    for number, time_s in enumerate(drive.image_times_s()):
        body = ENU_FROM_STREET @ drive.street_from_lidar(float(time_s))
        truth.append(body @ LIDAR_FROM_CAMERA)
        place = truth[-1] if convention == "omega_phi_kappa" else body
        lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(place.translation_m))
        # angles are in the east-north-up frame of the place
        own = Pose((FRAME.this_from(type(FRAME)("p", lon, lat, height))).rotation, np.zeros(3)).inverse()
        turned = Pose((own.rotation * body.rotation), np.zeros(3))
        picture(tmp_path / f"{number}.png")
        where = {"lon_deg": repr(lon), "lat_deg": repr(lat), "height_m": repr(height - 48.3)}
        rows.append({"file": f"{number}.png", "time": repr(1.7e9 + float(time_s)), **where,
                     **{k: repr(float(v)) for k, v in in_convention(turned, convention).items()}})  # fmt: skip
    path = write(tmp_path, rows, [rig], angles=convention, height_reference="orthometric", geoid_undulation_m=48.3,
                 sigma_position_m=0.02, sigma_rotation_deg=0.01)  # fmt: skip
    catalog = MemoryCatalog(FRAME)
    add_anchors(catalog, anchor_files(path))
    assert [anchor.id for anchor in catalog.anchors] == [f"drive/front/{n}" for n in range(6)]
    for anchor, pose, time_s in zip(catalog.anchors, truth, drive.image_times_s(), strict=True):
        error = anchor.world_from_cam.minus(pose)
        assert np.abs(error).max() < 1e-6
        assert anchor.captured_at is not None
        assert anchor.captured_at.timestamp() == pytest.approx(1.7e9 + float(time_s), abs=2e-6)
        assert anchor.camera.distortion[:4] == (-0.1, 0.05, 0.001, -0.002)
        assert anchor.world_from_cam.covariance is not None
        sigma = np.sqrt(np.diag(anchor.world_from_cam.covariance))
        assert sigma == pytest.approx([0.02] * 3 + [np.radians(0.01)] * 3)


def test_cameras_of_a_rig_stand_where_it_says_and_are_exposed_when_it_says(tmp_path: Path) -> None:
    """East at 10 m/s; the left camera looks left (north), 1 m ahead, 50 ms after the row."""
    per_m = 1.0 / (np.cos(np.radians(41.9)) * 111319.49)
    rows = [
        {"frame": n, "time": f"2024-05-01T10:00:0{n / 10:.1f}Z", "east": 12.5 + n * per_m, "lat_deg": 41.9,
         "height_m": 50.0, "heading": 90, "pitch": 0, "roll": 0}
        for n in range(4)
    ]  # fmt: skip
    left = [[1, 0, 0, 1], [0, 0, 1, 0.5], [0, -1, 0, 0]]  # camera's x is the car's forward, its z the car's left
    rig = [
        {"name": "front", "images": "front/{frame}.png", "camera": CAMERA},
        {"name": "left", "images": "left/{frame}.png", "camera": CAMERA, "body_from_cam": left, "time_offset_s": 0.05},
    ]
    for name in ("front", "left"):
        for n in range(4):
            picture(tmp_path / name / f"{n}.png")
    alignment, anchors = read_mobile(
        write(tmp_path, rows, rig, angles="heading_pitch_roll", columns={"lon_deg": "east"}, dataset="city")
    )
    by_id = {anchor.id: anchor for anchor in anchors}
    assert len(by_id) == 7, "the last left picture was taken after the last row"
    first, second = by_id["drive/front/1"], by_id["drive/left/1"]
    step = second.world_from_cam.translation_m - first.world_from_cam.translation_m
    assert step == pytest.approx([1.0 + 0.5, 0.5, 0.0], abs=2e-3)
    assert alignment.frame.heading_deg(second.world_from_cam) == pytest.approx(0.0, abs=1e-3)
    assert first.captured_at is not None
    assert second.captured_at is not None
    assert (second.captured_at - first.captured_at).total_seconds() == pytest.approx(0.05, abs=1e-6)
    assert {anchor.dataset for anchor in anchors} == {"city"}


def test_a_panorama_becomes_four_faces_that_show_what_it_shows(tmp_path: Path) -> None:
    """Every pixel's colour is its direction: a face's pixel must have the colour of its own ray."""
    width, height = 512, 256
    from geocorrect.geometry.camera import Camera

    sphere = Camera.spherical(width, height)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    rays = sphere.unproject(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float))
    colours = np.rint((rays + 1) * 127.5).astype(np.uint8).reshape(height, width, 3)
    cv2.imwrite(str(tmp_path / "p.png"), colours[..., ::-1])
    row = {"file": "p.png", "time": 0, "lon_deg": 12.5, "lat_deg": 41.9, "height_m": 50, "heading": 90, "pitch": 0,
           "roll": 0}  # fmt: skip
    rig = [{"name": "ladybug", "images": "{file}",
            "camera": {"model": "EQUIRECTANGULAR", "width": width, "height": height}}]  # fmt: skip
    path = write(tmp_path, [row], rig, angles="heading_pitch_roll")
    alignment, anchors = read_mobile(path)
    assert [anchor.id for anchor in anchors] == [f"drive/ladybug/p/{n}" for n in range(4)]
    headings = [alignment.frame.heading_deg(anchor.world_from_cam) for anchor in anchors]
    assert headings == pytest.approx([90, 180, 270, 0], abs=1e-6) or headings[3] == pytest.approx(360, abs=1e-6)
    world_from_sphere = anchors[0].world_from_cam.rotation  # the first face looks as the panorama does
    for anchor in anchors:
        pixels = read_image(anchor.path)
        assert pixels.shape[:2] == (anchor.camera.height, anchor.camera.width)
        px = np.array([[30.0, 40.0], [70.0, 20.0], [64.0, 64.0]])
        seen = pixels[px[:, 1].astype(int), px[:, 0].astype(int)] / 127.5 - 1
        expected = (world_from_sphere.inv() * anchor.world_from_cam.rotation).apply(anchor.camera.unproject(px))
        assert np.abs(seen - expected).max() < 0.04
    before = {anchor.path: anchor.path.stat().st_mtime_ns for anchor in anchors}
    again = read_mobile(path)[1]
    assert {anchor.path: anchor.path.stat().st_mtime_ns for anchor in again} == before, "faces are made once"
    path = write(tmp_path, [row], rig, angles="heading_pitch_roll", faces="p.png")
    with pytest.raises(OutputError, match=r"p.png/p-.*-0.jpg cannot be written: .*; unpack to another folder"):
        read_mobile(path)


@pytest.mark.parametrize("by_xmp", [False, True])
def test_a_part_of_a_panorama_becomes_what_it_shows_of_its_faces(by_xmp: bool, tmp_path: Path) -> None:
    """210° of the circle without zenith and nadir; whether the YAML or the picture says which part."""
    whole, (left, top, width, height) = (512, 256), (150, 70, 300, 100)
    columns, rows = np.meshgrid(left + np.arange(width), top + np.arange(height))
    turn, up = np.radians((columns + 0.5) / whole[0] * 360 - 180), np.radians(90 - (rows + 0.5) / whole[1] * 180)
    rays = np.stack([np.cos(up) * np.sin(turn), -np.sin(up), np.cos(up) * np.cos(turn)], axis=-1)
    xmp = gpano(ProjectionType="equirectangular", FullPanoWidthPixels=whole[0], FullPanoHeightPixels=whole[1],
                CroppedAreaImageWidthPixels=width, CroppedAreaImageHeightPixels=height, CroppedAreaLeftPixels=left,
                CroppedAreaTopPixels=top)  # fmt: skip
    known = PngInfo()
    if by_xmp:
        known.add_itxt("XML:com.adobe.xmp", xmp.decode())
    Image.fromarray(np.rint((rays + 1) * 127.5).astype(np.uint8)).save(tmp_path / "p.png", pnginfo=known)
    row = {"file": "p.png", "time": 0, "lon_deg": 12.5, "lat_deg": 41.9, "height_m": 50, "heading": 90, "pitch": 0,
           "roll": 0}  # fmt: skip
    camera: dict[str, Any] = {"model": "EQUIRECTANGULAR", "width": width, "height": height}
    camera |= {} if by_xmp else {"part_of": [*whole, left, top]}
    path = write(
        tmp_path, [row], [{"name": "ladybug", "images": "{file}", "camera": camera}], angles="heading_pitch_roll"
    )
    _, anchors = read_mobile(path)
    frame_from_sphere = one_view(tmp_path, {"heading": 90, "pitch": 0, "roll": 0}, "heading_pitch_roll").world_from_cam
    assert 2 <= len(anchors) <= 3
    for anchor in anchors:
        pixels = read_image(anchor.path)
        assert pixels.shape[:2] == (anchor.camera.height, anchor.camera.width)
        assert anchor.camera.height < 178, "a whole face is so high"
        px = np.array([[0.3, 0.5], [0.5, 0.5], [0.6, 0.4]]) * [anchor.camera.width, anchor.camera.height] // 1
        seen = pixels[px[:, 1].astype(int), px[:, 0].astype(int)] / 127.5 - 1
        turned = frame_from_sphere.rotation.inv() * anchor.world_from_cam.rotation
        assert np.abs(seen - turned.apply(anchor.camera.unproject(px))).max() < 0.04


def test_bad_input_names_file_and_field(tmp_path: Path) -> None:
    row = {"file": "a.png", "time": 0, "lon_deg": 12.5, "lat_deg": 41.9, "height_m": 50, "heading": 1, "pitch": 2,
           "roll": 3}  # fmt: skip
    rig = [{"name": "front", "images": "{file}", "camera": CAMERA}]
    picture(tmp_path / "a.png")

    def message(rows: list[dict[str, Any]] | None = None, cameras: Any = None, **meaning: Any) -> str:
        path = write(tmp_path, rows or [row], cameras or rig, **{"angles": "heading_pitch_roll", **meaning})
        with pytest.raises(InputError) as error:
            read_mobile(path)
        return str(error.value)

    assert "drive.yaml: angles" in message(angles="euler")
    assert "drive.yaml: norht: Extra inputs" in message(norht="true")
    assert "north" in message(north="magnetic")
    assert "height_reference is not declared" in message(height_reference="unknown")
    assert "t.csv, line 2: column 'omega'" in message(angles="omega_phi_kappa")
    assert "quaternion of length 0.5" in message([row | {"qx": 0.5, "qy": 0, "qz": 0, "qw": 0}], angles="quaternion")
    assert "time '10:00' is neither" in message([row | {"time": "10:00"}])
    assert "no time zone" in message([row | {"time": "2024-05-01T10:00:00"}])
    assert "line 3: the time does not increase" in message([row, row])
    assert "appears twice" in message([row, row | {"time": 1}])
    assert "needs column 'frame'" in message(cameras=[rig[0] | {"images": "{frame}.png"}])
    assert "64×48 pixels, camera front is 65×48" in message(cameras=[rig[0] | {"camera": CAMERA | {"width": 65}}])
    sphere = {"model": "EQUIRECTANGULAR", "width": 64, "height": 48}
    for part, words in (([128, 64, 70, 0], "at 70, 0 are no part"), ([128, 64, 0], "got 3 numbers")):
        assert words in message(cameras=[rig[0] | {"camera": sphere | {"part_of": part}}])
    assert "part_of is for" in message(cameras=[rig[0] | {"camera": CAMERA | {"part_of": [128, 64, 0, 0]}}])
    assert "the same name" in message(cameras=[rig[0], rig[0]])
    assert "not a rotation" in message(cameras=[rig[0] | {"body_from_cam": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}])
    assert "drop body_from_cam" in message(cameras=[rig[0] | {"body_from_cam": NED_FROM_CAM}], angles="omega_phi_kappa")
    assert "column 'east', which is to be lon_deg" in message(columns={"lon_deg": "east"})
    assert "coordinates are in EPSG:4326, but crs in drive.yaml says EPSG:32633" in message(crs="EPSG:32633")
