"""A lorry that drove on between two pictures has more matches than the street; a mask leaves it out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from support.depth_world import FOCAL_PX, FRAME, HEIGHT, WIDTH, _texture, _view

from geocorrect.depth.triangulated import neighbour_matches
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.io.masks import PHOTO_ENDINGS, is_mask, unmasked
from geocorrect.localize.correct import localize
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.sift import SiftMatcher, SiftOptions
from geocorrect.records import Anchor, AnchorView, Correction, DepthMap, ImageArray, Query

CAMERA = Camera.pinhole(WIDTH, HEIGHT, FOCAL_PX, FOCAL_PX, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
LORRY_PX = (slice(30, 225), slice(25, 255))
PLACES = {"a0": np.array([0.0, 0.0, 0.0]), "a1": np.array([1.5, 0.3, 0.05]), "a2": np.array([3.0, 0.0, 0.1])}
TRUTH_M = np.array([2.1, 1.2, -0.1])
REPORTED_OFF_M = np.array([4.0, -3.0, np.nan])


class WallDepth:
    """The true depth of the wall, also where the lorry hides it."""

    fingerprint = "wall"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        z_m = _view(TEXTURE, anchor.world_from_cam.translation_m)[1]
        return DepthMap("wall", True, z_m=z_m.astype(np.float32))


TEXTURE = _texture()
LORRY = np.ascontiguousarray(TEXTURE[100:295, 900:1130][::-1, ::-1])


def with_lorry(pixels: ImageArray) -> tuple[ImageArray, np.ndarray]:
    """The picture with a lorry that keeps its place before every camera, and the mask that leaves it out."""
    covered, mask = pixels.copy(), np.ones(pixels.shape[:2], bool)
    covered[LORRY_PX], mask[LORRY_PX] = LORRY, False
    return covered, mask


def error_m(masked: bool) -> float:
    """Distance from the truth, inf when rejected."""
    views = []
    for name, place in PLACES.items():
        pixels, mask = with_lorry(_view(TEXTURE, place)[0])
        anchor = Anchor(name, "t", Path(name), CAMERA, Pose(rotation_from_heading(0.0), place), "known")
        views.append(AnchorView(anchor, pixels, mask if masked else None))
    pixels, mask = with_lorry(_view(TEXTURE, TRUTH_M)[0])
    query = Query("photo", pixels, CAMERA, TRUTH_M + REPORTED_OFF_M, mask=mask if masked else None)
    matcher = SiftMatcher(SiftOptions(max_features=1500))
    result = localize(query, views, matcher, WallDepth(), LocalizeOptions(), seed=0).result
    if not isinstance(result, Correction):
        return float("inf")
    return float(np.linalg.norm(result.world_from_cam.translation_m - TRUTH_M))


def test_a_mask_removes_structured_outliers() -> None:
    assert error_m(masked=False) > 0.3, "without a mask the lorry decides: wrong, or rejected"
    assert error_m(masked=True) < 0.05


def test_pixels_outside_the_picture_or_the_mask_are_not_trusted() -> None:
    mask = np.ones((4, 6), bool)
    mask[1, 2] = False
    px = np.array([[2.0, 1.0], [2.4, 0.6], [2.6, 1.0], [-0.6, 0.0], [5.4, 3.4], [5.6, 0.0]])
    assert unmasked(px, mask).tolist() == [False, False, True, False, True, False]
    assert unmasked(px, None).all()
    assert unmasked(np.zeros((0, 2)), mask).shape == (0,)


def write_scene(folder: Path) -> list[str]:
    """Anchors, photo and their masks (two as pictures, two as polygons) on disk; the command that localises it."""
    rows = ["id,file,lon_deg,lat_deg,height_m,heading_deg,width,height,fx,fy,cx,cy"]
    top, left = LORRY_PX[0].start, LORRY_PX[1].start
    bottom, right = LORRY_PX[0].stop - 1, LORRY_PX[1].stop - 1
    polygon = {"ignore": [[[left, top], [right, top], [right, bottom], [left, bottom]]]}
    for number, (name, place) in enumerate({**PLACES, "photo": TRUTH_M}.items()):
        pixels, mask = with_lorry(_view(TEXTURE, place)[0])
        PillowImage.fromarray(pixels).save(folder / f"{name}.png")
        if number % 2:
            PillowImage.fromarray(mask).save(folder / f"{name}.vehicles.png")
        else:
            (folder / f"{name}.vehicles.json").write_text(json.dumps(polygon))
        lon, lat, height = (float(v) for v in FRAME.wgs84_from_enu(place))
        row = f"{name},{name}.png,{lon:.10f},{lat:.10f},{height:.5f},0,{WIDTH},{HEIGHT},{FOCAL_PX},{FOCAL_PX}"
        if name != "photo":
            rows.append(f"{row},{(WIDTH - 1) / 2},{(HEIGHT - 1) / 2}")
    (folder / "anchors.csv").write_text("\n".join(rows) + "\n")
    (folder / "camera.json").write_text(json.dumps(
        {"projection_type": "perspective", "focal": FOCAL_PX / WIDTH, "k1": 0, "k2": 0, "focal_sigma": 0.002}
    ))  # fmt: skip
    lon, lat, _ = (float(v) for v in FRAME.wgs84_from_enu(TRUTH_M))
    return (
        f"localize photo.png --anchors anchors.csv --format table --crs EPSG:4326 --height-reference ellipsoid "
        f"--camera camera.json --position {lon},{lat} --depth triangulated --json"
    ).split()


def test_masks_beside_the_pictures_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from geocorrect.__main__ import run

    command = write_scene(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = {}
    for masks in ("", "vehicles"):
        monkeypatch.setenv("GEOCORRECT__LOCALIZE__VERIFY__MASKS", f'"{masks}"')
        code = run(command)
        answer = json.loads(capsys.readouterr().out)
        found[masks] = np.inf
        if code == 0:
            here = FRAME.enu_from_wgs84(answer["lon_deg"], answer["lat_deg"], answer["height_m"])
            found[masks] = float(np.linalg.norm(here - TRUTH_M))
    assert found["vehicles"] < 0.1
    assert found[""] > 0.3

    for name, content, fragment in (
        ("photo.vehicles.png", b"\x89PNG\r\n\x1a\n", "photo.vehicles.png"),
        ("a0.vehicles.json", b'{"ignore": [[[0, 0], [1, 1]]]}', "a0.vehicles.json"),
    ):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        run(command)
        captured = capsys.readouterr()
        assert fragment in captured.out + captured.err
        (tmp_path / name).write_bytes(before)


def test_masks_are_no_photos_and_no_frames(tmp_path: Path) -> None:
    from geocorrect.anchors.readers.sensor_folder import read_sensor_folder
    from geocorrect.harvest.local.folder import import_folder

    data = tmp_path / "camera_left" / "data"
    data.mkdir(parents=True)
    for name in ("0000000000.png", "0000000001.png", "0000000001.sky.png", "a.jpg", "a.sky.png", "v1.2.png"):
        PillowImage.new("RGB", (8, 6)).save(data / name)
    photos = [image.id for image in import_folder(data).images]
    assert photos == ["0000000000.png", "0000000001.png", "a.jpg", "v1.2.png"]
    for name in ("a.jpg", "a.sky.png", "v1.2.png"):
        (data / name).unlink()
    (tmp_path / "camera_left" / "timestamps.txt").write_text("2024-01-01T00:00:00\n2024-01-01T00:00:01\n")
    frames = read_sensor_folder(tmp_path / "camera_left", ".png")
    assert frames.number.tolist() == [0, 1]


def test_masks_of_neighbours_keep_moving_things_out_of_the_triangulated_depth() -> None:
    pixels = {name: with_lorry(_view(TEXTURE, place)[0]) for name, place in PLACES.items()}
    anchors = {
        name: Anchor(name, "t", Path(name), CAMERA, Pose(rotation_from_heading(0.0), place), "known")
        for name, place in PLACES.items()
    }
    matcher = SiftMatcher(SiftOptions(max_features=1500))
    shares = {}
    for masked in (False, True):
        views = [AnchorView(anchors[n], pixels[n][0], pixels[n][1] if masked else None) for n in ("a0", "a2")]
        pairs = neighbour_matches(anchors["a1"], pixels["a1"][0], views, matcher)
        px = np.concatenate([pair.neighbour_px for pair in pairs])
        shares[masked] = 1.0 - unmasked(px, pixels["a0"][1]).mean()
    assert shares[False] > 0.4
    assert shares[True] == 0.0


def test_another_set_of_masks_is_another_depth() -> None:
    from geocorrect.api.backends import build_depth
    from geocorrect.config import load_settings

    environment = {"GEOCORRECT__DEPTH__SOURCE": "triangulated"}
    named = environment | {"GEOCORRECT__LOCALIZE__VERIFY__MASKS": "vehicles"}
    plain, masked = (build_depth(load_settings(environment=e).settings).fingerprint for e in (environment, named))
    assert masked == f"{plain}+masks/vehicles"


@pytest.mark.parametrize("ending", [*sorted(PHOTO_ENDINGS), ".JPEG", ".TIFF", ".Png"])
def test_a_mask_is_known_beside_every_kind_of_photo(ending: str, tmp_path: Path) -> None:
    mask = tmp_path / "photo.sky.png"
    assert not is_mask(mask)
    (tmp_path / f"photo{ending}").touch()
    assert is_mask(mask)
