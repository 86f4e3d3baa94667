"""OpenSfM's JSON and vector layouts, with the defaults and the half pixel that they imply."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from geocorrect.geometry.camera import Camera, Projection

LAYOUTS = {
    "perspective": (("focal", "k1", "k2"), [0.85, -0.1, 0.02]),
    "fisheye": (("focal", "k1", "k2"), [0.46860340850821, -0.056222673982389, 0.0045142114791229]),
    "dual": (("focal", "k1", "k2", "transition"), [0.6, -0.02, 0.003, 0.3]),
    "simple_radial": (("focal_x", "focal_y", "c_x", "c_y", "k1"), [0.8, 0.81, 0.01, -0.02, 0.05]),
    "radial": (("focal_x", "focal_y", "c_x", "c_y", "k1", "k2"), [0.8, 0.81, 0.01, -0.02, 0.05, 0.01]),
    "fisheye_opencv": (
        ("focal_x", "focal_y", "c_x", "c_y", "k1", "k2", "k3", "k4"),
        [0.5, 0.51, 0.01, -0.02, 0.01, 0.02, 0.03, 0.04],
    ),
    "brown": (
        ("focal_x", "focal_y", "c_x", "c_y", "k1", "k2", "p1", "p2", "k3"),
        [0.8, 0.81, 0.01, -0.02, 0.05, 0.01, 0.001, 0.002, 0.003],
    ),
    "fisheye62": (
        ("focal_x", "focal_y", "c_x", "c_y", "k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2"),
        [0.5, 0.51, 0.01, -0.02, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.001, 0.002],
    ),
    "fisheye624": (
        ("focal_x", "focal_y", "c_x", "c_y", "k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "s0", "s1", "s2", "s3"),
        [0.5, 0.51, 0.01, -0.02, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006],
    ),
    "spherical": ((), []),
}
SIZES = [(4160, 3120), (1024, 768), (768, 1024)]


@pytest.mark.parametrize("name", list(LAYOUTS))
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_vector_and_json_are_the_same_camera(name: str, width: int, height: int) -> None:
    if name == "spherical":
        width, height = 2000, 1000
    keys, values = LAYOUTS[name]
    from_vector = Camera.from_opensfm_vector(name, values, width, height)
    from_json = Camera.from_opensfm({"projection_type": name, **dict(zip(keys, values, strict=True))}, width, height)
    assert from_vector == from_json
    written = from_json.to_opensfm()
    assert written["projection_type"] == name
    assert (written["width"], written["height"]) == (width, height)
    for key, value in zip(keys, values, strict=True):
        assert written[key] == pytest.approx(value, rel=1e-12, abs=1e-14)
    again = Camera.from_opensfm(json.loads(json.dumps(written)), width, height)
    assert again.distortion == from_json.distortion
    if name != "spherical":
        np.testing.assert_allclose(again.intrinsic_matrix, from_json.intrinsic_matrix, rtol=1e-14)


def test_the_centre_is_half_a_pixel_off_half_the_width() -> None:
    camera = Camera.from_opensfm({"focal": 0.85}, 4160, 3120)
    assert camera.projection is Projection.PERSPECTIVE
    assert camera.focal_x_px == camera.focal_y_px == 0.85 * 4160
    assert (camera.principal_x_px, camera.principal_y_px) == (2079.5, 1559.5)
    tall = Camera.from_opensfm({"projection_type": "brown", "focal_x": 1.0, "focal_y": 1.1, "c_x": 0.01}, 768, 1024)
    assert tall.focal_x_px == 1024
    assert tall.principal_x_px == 383.5 + 10.24
    assert tall.distortion == (0, 0, 0, 0, 0)


def test_parameters_serve_every_size_of_the_picture() -> None:
    keys, values = LAYOUTS["brown"]
    parameters = {"projection_type": "brown", **dict(zip(keys, values, strict=True))}
    small = Camera.from_opensfm(parameters, 1024, 768)
    resized = Camera.from_opensfm(parameters, 4096, 3072).resized(1024, 768)
    np.testing.assert_allclose(small.intrinsic_matrix, resized.intrinsic_matrix, rtol=1e-13)


def test_json_defaults() -> None:
    assert Camera.from_opensfm({"projection_type": "dual", "focal": 1.0}, 10, 10).distortion == (0, 0, 0.5)
    extra = {"projection_type": "perspective", "focal": 1.0, "focal_prior": 0.85, "width": 5, "unknown": "x"}
    assert Camera.from_opensfm(extra, 20, 10).width == 20
    assert Camera.from_opensfm({"projection_type": "equirectangular"}, 20, 10) == Camera.spherical(20, 10)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"projection_type": "perspective"}, "'focal'"),
        ({"projection_type": "brown", "focal_x": 1.0}, "'focal_y'"),
        ({"projection_type": "pinhole9", "focal": 1.0}, "unknown projection_type 'pinhole9'"),
        ({"projection_type": "full_opencv", "focal": 1.0}, "unknown projection_type 'full_opencv'"),
        ({"focal": "0.85"}, "focal must be a number"),
        ({"focal": True}, "focal must be a number"),
        ({"focal": 0.85, "k1": math.nan}, "k1"),
        ({"focal": 0.0}, "focal_x_px"),
        ({"focal": math.inf}, "focal_x_px"),
    ],
)
def test_bad_json_is_refused_with_the_field(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Camera.from_opensfm(parameters, 640, 480)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("perspective", []),
        ("perspective", [0.85, 0.0]),
        ("perspective", LAYOUTS["brown"][1]),
        ("brown", [0.85, 0.0, 0.0]),
        ("spherical", [0.85, 0.0, 0.0]),
        ("fisheye", None),
    ],
)
def test_type_and_length_must_fit(name: str, values: list[float] | None) -> None:
    with pytest.raises(ValueError, match=f"{name} camera has {len(values or [])} parameters, expected"):
        Camera.from_opensfm_vector(name, values, 640, 480)


@pytest.mark.parametrize("values", [[0, 0, 0], [math.nan, 0, 0], [0.85, "x", 0], [0.85, None, 0]])
def test_nonsense_vectors_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"focal|k1"):
        Camera.from_opensfm_vector("perspective", values, 640, 480)


def test_spherical_has_no_parameters() -> None:
    for values in (None, [], ()):
        assert Camera.from_opensfm_vector("Equirectangular", values, 5760, 2880) == Camera.spherical(5760, 2880)


def test_a_camera_with_two_focal_lengths_is_widened_to_an_equal_one() -> None:
    points = np.random.default_rng(6).uniform([-1, -1, 2], [1, 1, 4], (50, 3))
    for name, wider in (("perspective", "radial"), ("fisheye", "fisheye_opencv")):
        camera = Camera(name, 640, 480, 500, 510, 300, 250, (0.02, 0.01))
        written = camera.to_opensfm()
        assert written["projection_type"] == wider
        again = Camera.from_opensfm(written, 640, 480)
        np.testing.assert_allclose(again.project(points)[0], camera.project(points)[0], atol=1e-10)
    with pytest.raises(ValueError, match="no camera with k4, k5, k6"):
        Camera("full_opencv", 640, 480, 500, 510, 300, 250, (0.1, 0, 0, 0, 0, 0.1)).to_opensfm()
    with pytest.raises(ValueError, match="dual"):
        Camera("dual", 640, 480, 500, 510, 319.5, 239.5).to_opensfm()


@pytest.mark.data
def test_real_camera_parameters_see_their_whole_picture(shared_data: Path) -> None:
    with (shared_data / "mapillary" / "rome_campus_sequence.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 18
    for row in rows:
        camera = Camera.from_opensfm_vector("perspective", [float(row[k]) for k in ("f", "k1", "k2")], 4032, 3024)
        px = np.random.default_rng(7).uniform([-0.5, -0.5], [4031.5, 3023.5], (2000, 2))
        again, visible = camera.project(camera.unproject(px))
        assert visible.all()
        assert np.abs(again - px).max() < 1e-9


@pytest.mark.data
def test_real_answers_give_cameras(shared_data: Path) -> None:
    seen = 0
    for path in sorted((shared_data / "mapillary" / "api" / "graph").glob("*.json")):
        answer = json.loads(path.read_text())
        if "camera_parameters" not in answer:
            continue
        camera = Camera.from_opensfm_vector(
            answer["camera_type"], answer["camera_parameters"], answer["width"], answer["height"]
        )
        assert camera.focal_x_px == answer["camera_parameters"][0] * max(answer["width"], answer["height"])
        seen += 1
    assert seen >= 4
