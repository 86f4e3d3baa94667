"""The renderer against the camera model: what is drawn at a point of the world is seen where `Camera.project` says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geocorrect.demo.render.render import render
from geocorrect.demo.render.surfaces import Quad, Scene, panel
from geocorrect.demo.render.textures import Sky, Texture
from geocorrect.demo.render.visibility import RayGrid
from geocorrect.demo.world.drives import anchor_camera
from geocorrect.demo.world.shots import ACTION_CAM, PHONE_UPRIGHT
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.records import ImageArray

BLACK_SKY = Sky(np.zeros((8, 8), np.float32), 0.0)
CAMERAS = {
    "radial-tangential": Camera.from_opencv(400, 240, (363.0, 361.0, 187.2, 120.4), (-0.1512, 0.2104, 0.0002, -0.0011)),
    "perspective": Camera.from_opensfm_vector("perspective", (0.66, -0.086, 0.011), 400, 300),
    "fisheye": Camera.from_opensfm_vector("fisheye", (0.4686, -0.0562, 0.0045), 400, 240),
}
LOOK = Pose(rotation_from_heading(10.0, 4.0, -3.0), np.array([0.4, -0.3, 0.2]))


def flat(value: int, width: int = 64, height: int = 64) -> Texture:
    return Texture(f"flat {value}", width, height, partial(np.full, (height, width, 3), value, np.uint8))


def facing_north(distance_m: float, size_m: tuple[float, float], texture: Texture, east_m: float = 0.0) -> Quad:
    """A wall north of the origin that faces south, centred at the origin's height."""
    return panel((east_m, distance_m, -size_m[1] / 2), (0, -1, 0), size_m, texture)


def moved(quads: list[Quad], a_from_b: Pose) -> list[Quad]:
    """The same quads in another frame."""
    turn = a_from_b.rotation.as_matrix()
    return [
        replace(q, corner_m=a_from_b.apply(q.corner_m), right_m=turn @ q.right_m, down_m=turn @ q.down_m) for q in quads
    ]


def dotted(spacing: int, count: tuple[int, int]) -> tuple[Texture, np.ndarray]:
    """Soft white dots on black, and their centres (N, 2) in texels (pixel centres are integers)."""
    width, height = count[0] * spacing, count[1] * spacing
    columns, rows = np.meshgrid(np.arange(count[0]), np.arange(count[1]))
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1) * spacing + spacing // 2

    def paint() -> ImageArray:
        picture = np.zeros((height, width, 3), np.uint8)
        for x, y in centres:
            cv2.circle(picture, (int(x), int(y)), spacing // 5, (255, 255, 255), -1)
        return picture

    return Texture("dots", width, height, paint), centres.astype(float)


@pytest.mark.parametrize("name", CAMERAS)
def test_points_are_seen_where_the_camera_projects_them(name: str) -> None:
    camera = CAMERAS[name]
    texture, centres = dotted(40, (34, 22))
    wall = facing_north(5.0, (17.0, 11.0), texture)
    image = render(Scene.of([wall]), BLACK_SKY, RayGrid.of(camera), LOOK)[..., 0]
    share = (centres + 0.5) / [texture.width_px, texture.height_px]
    points = wall.corner_m + share[:, :1] * wall.right_m + share[:, 1:] * wall.down_m
    expected, visible = camera.project(LOOK.inverse().apply(points))
    reach = 8
    inside = visible & (np.abs(expected - [199.5, camera.height / 2 - 0.5]) < [90, 60]).all(1)
    assert inside.sum() > 15
    errors = []
    for u, v in expected[inside]:
        x0, y0 = round(u) - reach, round(v) - reach
        patch = np.where(image > 60, image, 0)[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1]
        yy, xx = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]]
        near = np.hypot(xx - u + x0, yy - v + y0) < reach
        weight = patch * near
        errors.append(
            np.hypot((weight * xx).sum() / weight.sum() + x0 - u, (weight * yy).sum() / weight.sum() + y0 - v)
        )
    assert np.median(errors) < 0.08  # a half-pixel or half-texel slip would show as 0.25 px or more
    assert np.percentile(errors, 90) < 0.25


def test_the_nearer_surface_hides_the_farther_and_backs_are_invisible() -> None:
    camera = Camera.pinhole(80, 60, 60, 60, 39.5, 29.5)
    far, near = facing_north(8.0, (20, 20), flat(80)), facing_north(4.0, (2, 2), flat(200))
    away = Quad(near.corner_m + np.array([0, -2, 0]) + near.right_m, -near.right_m, near.down_m, flat(255))
    north = Pose(rotation_from_heading(0.0), np.zeros(3))
    for order in ([far, near, away], [away, near, far]):
        image = render(Scene.of(order), BLACK_SKY, RayGrid.of(camera), north)
        assert image[30, 40, 0] == pytest.approx(200 * near.shade, abs=0.5)
        assert image[5, 5, 0] == pytest.approx(80 * far.shade, abs=0.5)


def test_a_triangle_is_half_a_rectangle() -> None:
    camera = Camera.pinhole(90, 90, 80, 80, 44.5, 44.5)
    wall = facing_north(6.0, (3.0, 3.0), flat(200))
    north = Pose(rotation_from_heading(0.0), np.zeros(3))
    half = Quad(wall.corner_m, wall.right_m, wall.down_m, wall.texture, shade=1.0, shape="triangle")
    covered = []
    for quad in (wall, half):
        grey = render(Scene.of([quad]), BLACK_SKY, RayGrid.of(camera), north)[..., 0]
        covered.append(np.abs(grey - 200 * quad.shade) < 0.5)
    assert covered[1].sum() / covered[0].sum() == pytest.approx(0.5, abs=0.05)
    assert covered[1][30, 30]
    assert not covered[1][60, 60]


def test_far_checks_become_grey_instead_of_flickering() -> None:
    squares = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    texture = Texture("checks", 512, 512, lambda: np.repeat(squares[..., None], 3, axis=2))
    wall = facing_north(30.0, (60, 60), texture)
    camera = Camera.pinhole(80, 60, 60, 60, 39.5, 29.5)
    image = render(Scene.of([wall]), BLACK_SKY, RayGrid.of(camera), Pose(rotation_from_heading(0.0), np.zeros(3)))
    assert image[..., 0] == pytest.approx(127.5 * wall.shade, abs=2.0)


def test_silhouettes_are_smooth() -> None:
    """The image of a slanted edge has the right coverage to a twelfth of a pixel on average."""
    camera = Camera.pinhole(90, 90, 80, 80, 44.5, 44.5)
    wall = facing_north(6.0, (3.0, 3.0), flat(200))
    tilt = Pose(rotation_from_heading(0.0, 0.0, 17.0), np.zeros(3))
    image = render(Scene.of([wall]), Sky(np.zeros((8, 8), np.float32), 0.0), RayGrid.of(camera), tilt)
    grey = image[..., 0]
    full = 200 * wall.shade
    sky = render(Scene.of([facing_north(-6.0, (3.0, 3.0), flat(200))]), BLACK_SKY, RayGrid.of(camera), tilt)[..., 0]
    coverage = float(((grey - sky) / (full - sky)).sum())
    assert coverage == pytest.approx((3.0 / 6.0 * 80) ** 2, rel=2e-3)
    partial_pixels = (np.abs(grey - full) > 8) & (np.abs(grey - sky) > 8)
    assert partial_pixels.sum() > 60


def test_ray_forms_meet_the_plane() -> None:
    rng = np.random.default_rng(5)
    quad = Quad(np.array([1.0, 7.0, 2.0]), np.array([3.0, 0.4, 0.1]), np.array([0.1, 0.3, -2.0]), flat(9))
    sensor = Pose(Rotation.random(random_state=3), rng.normal(size=3))
    form = Scene.of([quad]).ray_forms(sensor)[0]
    u, v = rng.uniform(0, 1, (2, 40))
    points = quad.corner_m + u[:, None] * quad.right_m + v[:, None] * quad.down_m
    rays = sensor.inverse().apply(points)
    lengths = np.linalg.norm(rays, axis=1)
    a, b, inverse = ((rays / lengths[:, None]) @ form.T).T
    assert a / inverse == pytest.approx(u, abs=1e-9)
    assert b / inverse == pytest.approx(v, abs=1e-9)
    assert 1 / inverse == pytest.approx(lengths, rel=1e-9)


def test_moving_the_world_and_the_camera_together_changes_nothing() -> None:
    camera = CAMERAS["perspective"]
    texture, _ = dotted(24, (10, 8))
    walls = [facing_north(5.0, (4, 3), texture), facing_north(3.0, (0.6, 1.2), flat(120), east_m=0.8)]
    shift = Pose(Rotation.from_euler("z", 40, degrees=True), np.array([12.0, -7.0, 3.0]))
    rays = RayGrid.of(camera)
    here = render(Scene.of(walls), BLACK_SKY, rays, LOOK)
    there = render(Scene.of(moved(walls, shift)), BLACK_SKY, rays, shift @ LOOK)
    built = here[..., 0] != here[..., 2]  # the sky gradient is coloured and turns with the heading
    assert np.abs(here - there)[~built].max() < 1.5


def test_a_camera_that_sees_backwards_is_refused() -> None:
    wide = Camera.from_opensfm_vector("fisheye", (0.25, 0.0, 0.0), 64, 64)
    with pytest.raises(ValueError, match="see forward"):
        RayGrid.of(wide)


@pytest.mark.parametrize("camera", [anchor_camera(), PHONE_UPRIGHT.camera(), ACTION_CAM.camera()])
def test_rays_between_the_knots_are_those_of_the_demos_cameras(camera: Camera) -> None:
    """To some thousandths of a pixel in the corner of the fisheye, a hundred times better elsewhere."""
    places = np.random.default_rng(1).integers(0, [camera.width, camera.height], (20_000, 2))
    places[:2] = [3, 3], [camera.width - 4, 3]
    bearings = camera.unproject(places)
    grid, (columns, rows) = RayGrid.of(camera), places.T
    exact = (bearings[:, :2] / bearings[:, 2:]).T
    off_px = np.abs(grid.rays[:, rows, columns] - exact) / grid.steps[:, rows, columns]
    assert off_px.max() < 0.003
    assert np.median(off_px) < 2e-5


def test_levels_of_a_texture_lie_apart_and_are_averages() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8)
    texture = Texture("noise", 40, 24, lambda: picture)
    for across in range(6):
        for down in range(5):
            level = texture.level(across, down)
            assert level.shape == (24 >> down, 40 >> across, 3)
            assert level.mean() == pytest.approx(picture.mean(), abs=6)
    assert np.array_equal(texture.level(0, 0), picture)
    halved = picture.reshape(12, 2, 20, 2, 3).mean(axis=(1, 3))
    assert texture.level(1, 1) == pytest.approx(halved, abs=1.01)
    with pytest.raises(ValueError, match="sides up to 15000"):
        Texture("wide", 20000, 8, lambda: picture)
