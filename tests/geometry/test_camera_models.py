"""Every camera model against three independent statements: its printed formula, OpenCV, and its own inverse."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.geometry.projection import COEFFICIENTS

WIDTH, HEIGHT = 1600, 1200
TYPICAL = {
    Projection.PERSPECTIVE: (-0.21, 0.06),
    Projection.SIMPLE_RADIAL: (-0.1,),
    Projection.RADIAL: (0.1, -0.02),
    Projection.BROWN: (-0.28, 0.1, 0.001, -0.002, -0.02),
    Projection.FULL_OPENCV: (0.3, -0.1, 0.001, -0.002, 0.02, 0.45, -0.05, 0.03),
    Projection.FISHEYE: (-0.056222673982389, 0.0045142114791229),
    Projection.FISHEYE_OPENCV: (0.02, -0.01, 0.003, -0.001),
    Projection.FISHEYE62: (0.02, -0.01, 0.003, -0.001, 0.0002, 0.0001, 0.002, -0.001),
    Projection.FISHEYE624: (0.02, -0.01, 0.003, -0.001, 2e-4, 1e-4, 0.002, -0.001, 0.001, -5e-4, 7e-4, 2e-4),
    Projection.DUAL: (-0.02, 0.003, 0.4),
    Projection.SPHERICAL: (),
}
MODELS = list(TYPICAL)
PLANE_MODELS = [model for model in MODELS if model is not Projection.SPHERICAL]
FOLDING = settings(max_examples=200, deadline=None, derandomize=True)


def camera_of(model: Projection, distortion: tuple[float, ...] | None = None, focal: float = 900.0) -> Camera:
    if model is Projection.SPHERICAL:
        return Camera.spherical(2 * HEIGHT, HEIGHT)
    coefficients = TYPICAL[model] if distortion is None else distortion
    return Camera(model, WIDTH, HEIGHT, focal, focal * 1.01, 790.25, 610.5, coefficients)


def pixels_of(camera: Camera, count: int, seed: int) -> np.ndarray:
    corner = np.array([camera.width, camera.height])
    return np.random.default_rng(seed).uniform(0, 1, (count, 2)) * corner - 0.5


@st.composite
def coefficients(draw: st.DrawFn, model: Projection) -> tuple[float, ...]:
    """Anything up to wild lenses that fold inside the picture; higher orders smaller, as in life."""
    values = []
    for name in COEFFICIENTS[model]:
        if name == "transition":
            values.append(draw(st.floats(0, 1)))
            continue
        order = int(name[1:]) if name[0] == "k" else 3
        values.append(draw(st.floats(-0.6, 0.6)) / order**2 * (0.1 if name[0] in "ps" else 1.0))
    return tuple(values)


@st.composite
def wild_cameras(draw: st.DrawFn) -> Camera:
    model = draw(st.sampled_from(PLANE_MODELS))
    return camera_of(model, draw(coefficients(model)), draw(st.floats(300, 3000)))


def printed_formula(camera: Camera, point: np.ndarray) -> tuple[float, float]:
    """The equations of `docs/mapillary_api.md` for one point, plain arithmetic; no visibility test."""
    x, y, z = (float(v) for v in point)
    k = dict.fromkeys(("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "s0", "s1", "s2", "s3"), 0.0)
    k |= dict(zip(COEFFICIENTS[camera.projection], camera.distortion, strict=True))
    if camera.projection is Projection.SPHERICAL:
        size = max(camera.width, camera.height)
        lon, lat = math.atan2(x, z), math.atan2(-y, math.hypot(x, z))
        return (
            lon / (2 * math.pi) * size + (camera.width - 1) / 2,
            -lat / (2 * math.pi) * size + (camera.height - 1) / 2,
        )
    share = k.get("transition", 0.0 if camera.projection.startswith("fisheye") else 1.0)
    r, theta = math.hypot(x, y), math.atan2(math.hypot(x, y), z)
    u = share * (x / z) + (1 - share) * x * theta / r
    v = share * (y / z) + (1 - share) * y * theta / r
    q = u * u + v * v
    f = 1 + sum(k[f"k{i}"] * q**i for i in range(1, 7))
    if camera.projection is Projection.FULL_OPENCV:
        below = 1 + k["k4"] * q + k["k5"] * q**2 + k["k6"] * q**3
        f = (1 + k["k1"] * q + k["k2"] * q**2 + k["k3"] * q**3) / below
    du = u * f + 2 * k["p1"] * u * v + k["p2"] * (q + 2 * u * u) + k["s0"] * q + k["s1"] * q * q
    dv = v * f + 2 * k["p2"] * u * v + k["p1"] * (q + 2 * v * v) + k["s2"] * q + k["s3"] * q * q
    return (
        camera.focal_x_px * du + camera.principal_x_px,
        camera.focal_y_px * dv + camera.principal_y_px,
    )


@pytest.mark.parametrize("model", MODELS)
def test_forward_is_the_printed_formula(model: Projection) -> None:
    camera = camera_of(model)
    points = np.random.default_rng(1).uniform([-3, -2, 2], [3, 2, 9], (200, 3))
    px, visible = camera.project(points)
    expected = [printed_formula(camera, point) for point in points]
    assert visible.mean() > 0.9
    np.testing.assert_allclose(px[visible], np.array(expected)[visible], atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_round_trip_below_a_billionth_of_a_pixel(model: Projection) -> None:
    camera = camera_of(model)
    px = pixels_of(camera, 20_000, seed=2)
    bearings = camera.unproject(px)
    has_ray = np.isfinite(bearings).all(axis=1)
    assert has_ray.mean() > 0.95
    np.testing.assert_allclose(np.linalg.norm(bearings[has_ray], axis=1), 1.0, atol=1e-14)
    again, visible = camera.project(bearings[has_ray] * 7.5)
    assert visible.all()
    assert np.abs(again - px[has_ray]).max() < 1e-9


@pytest.mark.long
@FOLDING
@given(wild_cameras(), st.integers(0, 2**31))
def test_round_trip_of_any_lens_over_its_valid_field(camera: Camera, seed: int) -> None:
    px = pixels_of(camera, 300, seed)
    bearings = camera.unproject(px)
    has_ray = np.isfinite(bearings).all(axis=1)
    again, visible = camera.project(bearings[has_ray])
    # A ray on the very edge of the field may fall on its other side by one rounding.
    assert (~visible).sum() <= 1
    assert not visible.any() or np.abs(again - px[has_ray])[visible].max() < 1e-9


@pytest.mark.long
@FOLDING
@given(wild_cameras(), st.integers(0, 2**31))
def test_a_visible_point_is_the_only_one_at_its_pixel(camera: Camera, seed: int) -> None:
    """Fold test for any lens: what is projected must come back as the same ray, not as its twin across the fold."""
    rays = np.random.default_rng(seed).normal(size=(500, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    px, visible = camera.project(rays)
    back = camera.unproject(px[visible])
    # On the edge of the field the inverse is ill-conditioned; the two twins there are one and the same ray.
    missed = ~np.isfinite(back).all(axis=1)
    assert missed.sum() <= 1
    distance = np.linalg.norm(back - rays[visible], axis=1)[~missed]
    assert distance.size == 0 or distance.max() < 1e-5


@pytest.mark.long
@FOLDING
@given(wild_cameras())
def test_distortion_stays_one_to_one_on_its_disc(camera: Camera) -> None:
    """The bound of `max_radius` against brute force: determinant and symmetric part positive everywhere inside."""
    distortion = camera._lens.distortion
    limit = min(distortion.max_radius, 50.0)
    angle, share = np.meshgrid(np.linspace(0, 2 * np.pi, 73), np.linspace(0, 0.999, 60))
    plane = np.column_stack([(share * limit * np.cos(angle)).ravel(), (share * limit * np.sin(angle)).ravel()])
    jacobian = distortion.jacobian(plane)
    assert np.linalg.det(jacobian).min() > 0
    assert np.linalg.eigvalsh(0.5 * (jacobian + jacobian.swapaxes(1, 2))).min() > 0


@pytest.mark.long
@FOLDING
@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=4))
def test_radial_limit_is_the_first_extremum(radial: list[float]) -> None:
    camera = camera_of(Projection.FISHEYE_OPENCV, tuple(radial))
    limit = camera._lens.distortion.max_radius
    rho = np.linspace(0, min(limit, 20.0) * 1.001, 200_001)
    growth = np.diff(rho * (1 + sum(k * rho ** (2 * i) for i, k in enumerate(radial, start=1))))
    assert (growth[rho[1:] < limit] >= 0).all()
    if limit < 20.0:
        slope = 1 + sum((2 * i + 1) * k * limit ** (2 * i) for i, k in enumerate(radial, start=1))
        scale = 1 + sum((2 * i + 1) * abs(k) * limit ** (2 * i) for i, k in enumerate(radial, start=1))
        # A near double root is taken as a root although the curve only almost touches zero there.
        assert abs(slope) < 1e-6 * scale


def test_a_rational_lens_ends_before_its_pole() -> None:
    """1 − 0.25ρ² is zero at ρ = 2; beyond, the bare formula brings points back from the other side."""
    camera = camera_of(Projection.FULL_OPENCV, (0.0, 0.0, 0.0, 0.0, 0.0, -0.25), focal=300)
    points = np.array([[1.9, 0.0, 1.0], [1.9999, 0.0, 1.0], [2.1, 0.0, 1.0], [20.0, 0.0, 1.0]])
    px, visible = camera.project(points)
    assert visible.tolist() == [True, False, False, False]
    assert px[0, 0] == pytest.approx(790.25 + 300 * 1.9 / (1 - 0.25 * 1.9**2))
    back = camera.unproject([[1e5, px[0, 1]]])  # a pixel far out has its ray right before the pole
    assert back[0, 0] / back[0, 2] == pytest.approx(2, abs=0.02)


def test_points_beyond_the_fold_never_land_in_the_picture() -> None:
    camera = camera_of(Projection.SIMPLE_RADIAL, (-0.1,))
    fold = 1 / math.sqrt(0.3)
    tangent = np.linspace(fold * 1.001, 3.0, 200)
    points = np.column_stack([tangent, np.zeros(200), np.ones(200)])
    naive = np.array([printed_formula(camera, point) for point in points])
    assert camera.contains(naive).any(), "the test needs points that the bare formula folds into the picture"
    px, visible = camera.project(points)
    assert not visible.any()
    assert np.isnan(px).all()


@pytest.mark.parametrize("model", MODELS)
def test_what_is_behind_is_not_in_the_picture(model: Projection) -> None:
    camera = camera_of(model)
    points = np.array([[0.0, 0.0, -1.0], [0.1, -0.1, -3.0], [0.0, 0.0, 0.0], [np.nan, 0, 1], [0, np.inf, 1]])
    px, visible = camera.project(points)
    if model is Projection.SPHERICAL:
        assert visible.tolist() == [True, True, False, False, False]
    else:
        assert not camera.contains(px).any()
    np.testing.assert_array_equal(np.isnan(px).all(axis=1), ~visible)


def test_a_fisheye_sees_beyond_ninety_degrees() -> None:
    camera = Camera("fisheye", 2000, 2000, 500, 500, 999.5, 999.5)
    px, visible = camera.project([[1.0, 0.0, -0.2]])
    assert visible.all()
    assert px[0, 0] == pytest.approx(999.5 + 500 * math.atan2(1.0, -0.2))


def test_pixels_without_a_ray_are_nan() -> None:
    camera = camera_of(Projection.SIMPLE_RADIAL, (-0.5,), focal=300)
    bearings = camera.unproject([[790.25, 610.5], [1599.0, 600.0], [np.nan, 3.0]])
    assert np.isfinite(bearings[0]).all()
    assert np.isnan(bearings[1:]).all()


def opencv_pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    matrix, distortion, kind = camera.to_opencv()
    project = cv2.fisheye.projectPoints if kind == "fisheye" else cv2.projectPoints
    out, _ = project(points.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), matrix, distortion)
    return np.asarray(out.reshape(-1, 2))


@pytest.mark.parametrize(
    ("model", "distortion", "kind"),
    [
        (Projection.PERSPECTIVE, TYPICAL[Projection.PERSPECTIVE], "pinhole"),
        (Projection.SIMPLE_RADIAL, TYPICAL[Projection.SIMPLE_RADIAL], "pinhole"),
        (Projection.RADIAL, TYPICAL[Projection.RADIAL], "pinhole"),
        (Projection.BROWN, TYPICAL[Projection.BROWN], "pinhole"),
        (Projection.FULL_OPENCV, TYPICAL[Projection.FULL_OPENCV], "pinhole"),
        (Projection.FISHEYE, TYPICAL[Projection.FISHEYE], "fisheye"),
        (Projection.FISHEYE_OPENCV, TYPICAL[Projection.FISHEYE_OPENCV], "fisheye"),
        (Projection.FISHEYE62, (0.02, -0.01, 0.003, -0.001), "fisheye"),
        (Projection.FISHEYE624, (0.02, -0.01, 0.003, -0.001), "fisheye"),
        (Projection.DUAL, (-0.05, 0.01, 1.0), "pinhole"),
        (Projection.DUAL, (-0.05, 0.01, 0.0), "fisheye"),
    ],
)
def test_equal_to_opencv_where_opencv_has_the_model(
    model: Projection, distortion: tuple[float, ...], kind: str
) -> None:
    camera = camera_of(model, distortion)
    assert camera.to_opencv()[2] == kind
    points = np.random.default_rng(3).uniform([-3, -2, 2], [3, 2, 9], (500, 3))
    px, visible = camera.project(points)
    assert visible.mean() > 0.9
    assert np.abs(px - opencv_pixels(camera, points))[visible].max() < 1e-9


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        (Projection.FISHEYE62, TYPICAL[Projection.FISHEYE62]),
        (Projection.FISHEYE624, (0, 0, 0, 0, 0, 0, 0, 0, 1e-4)),
        (Projection.DUAL, TYPICAL[Projection.DUAL]),
        (Projection.SPHERICAL, ()),
    ],
)
def test_no_opencv_model_is_said_not_approximated(model: Projection, distortion: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="OpenCV"):
        camera_of(model, distortion).to_opencv()


@pytest.mark.parametrize("model", MODELS)
def test_jacobians_are_the_derivatives(model: Projection) -> None:
    camera = camera_of(model)
    points = np.random.default_rng(4).uniform([-2, -1.5, 2], [2, 1.5, 6], (300, 3))
    points[:3] = [[0.0, 0.0, 2.0], [1e-9, 0.0, 3.0], [2e-4, -1e-4, 5.0]]  # the axis, where r = 0
    px, visible, by_point, by_focal = camera.project_with_jacobian(points)
    np.testing.assert_array_equal(px, camera.project(points)[0])
    step = 1e-5
    numeric = np.stack(
        [(camera.project(points + e)[0] - camera.project(points - e)[0]) / (2 * step) for e in np.eye(3) * step],
        axis=2,
    )
    assert visible.mean() > 0.9
    np.testing.assert_allclose(by_point[visible], numeric[visible], rtol=1e-6, atol=2e-5)
    # A pixel does not change along its own ray; this sees the ninth digit, which differences cannot.
    along_ray = np.einsum("nij,nj->ni", by_point, points)
    np.testing.assert_allclose(along_ray[visible], 0.0, atol=1e-11)
    if model is Projection.SPHERICAL:
        assert (by_focal == 0).all()
        return
    wider, narrower = camera.with_focal_scaled(math.exp(step)), camera.with_focal_scaled(math.exp(-step))
    focal = (wider.project(points)[0] - narrower.project(points)[0]) / (2 * step)
    np.testing.assert_allclose(by_focal[visible], focal[visible], rtol=1e-6, atol=1e-5)


def test_jacobians_are_nan_where_nothing_is_visible() -> None:
    _, visible, by_point, by_focal = camera_of(Projection.BROWN).project_with_jacobian([[0, 0, -1.0], [0, 0, 1.0]])
    assert visible.tolist() == [False, True]
    assert np.isnan(by_point[0]).all()
    assert np.isnan(by_focal[0]).all()
    assert np.isfinite(by_point[1]).all()


def test_spherical_landmarks() -> None:
    """Forward → centre, right → a quarter to the right, up → top row (`docs/mapillary_api.md`)."""
    camera = Camera.spherical(4000, 2000)
    px, _ = camera.project([[0, 0, 1.0], [1.0, 0, 0], [0, -1.0, 0], [0, 1.0, 0]])
    np.testing.assert_allclose(px[0], [1999.5, 999.5])
    np.testing.assert_allclose(px[1], [2999.5, 999.5])
    np.testing.assert_allclose(px[2:, 1], [-0.5, 1999.5])
    behind, _ = camera.project([[0.0, 0, -1.0], [-0.0, 0, -1.0], [1e-300, 0, -1.0], [-1e-9, 0, -1.0]])
    np.testing.assert_allclose(behind[:, 0], -0.5, atol=1e-5)
    assert camera.contains(behind).all()


@given(st.floats(0.01, 0.99), st.floats(0, 1.5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_dual_inverse_up_to_the_edge_of_the_half_space(transition: float, theta: float) -> None:
    camera = Camera("dual", 100, 100, 100, 100, 49.5, 49.5, (0.0, 0.0, transition))
    assume(transition > 0.05 or theta < 1.4)
    px, visible = camera.project([[math.sin(theta), 0, math.cos(theta)]])
    assert visible.all()
    back = camera.unproject(px)[0]
    assert math.atan2(back[0], back[2]) == pytest.approx(theta, abs=1e-12)
