"""What a depth map knows, as pixels and as points of the camera."""

from __future__ import annotations

import numpy as np

from geocorrect.geometry.camera import Camera
from geocorrect.records import DepthMap

CAMERA = Camera.pinhole(8, 6, 10.0, 5.0, 3.0, 2.0)


def dense(**known: float) -> np.ndarray:
    z_m = np.full((6, 8), np.nan, np.float32)
    for place, value in known.items():
        z_m[int(place[1]), int(place[2])] = value
    return z_m


def test_dense_and_sparse_maps_give_the_same_points_and_leave_out_what_is_unknown() -> None:
    """x = (u − 3) z / 10, y = (v − 2) z / 5."""
    z_m = dense(_24=10.0, _45=5.0, _00=0.0, _11=-1.0, _33=np.inf)
    px = np.array([[4.0, 2.0], [5.0, 4.0], [0.0, 0.0], [1.0, 1.0], [3.0, 3.0]])
    sparse = DepthMap("s", False, samples_px=px, samples_z_m=np.array([10.0, 5.0, np.nan, -1.0, 0.0]))
    for depth in (DepthMap("d", False, z_m=z_m), sparse):
        known_px, known_m = depth.known()
        np.testing.assert_array_equal(known_px, px[:2])
        np.testing.assert_array_equal(known_m, [10.0, 5.0])
        seen_px, points_m = depth.points(CAMERA)
        np.testing.assert_array_equal(seen_px, px[:2])
        np.testing.assert_allclose(points_m, [[1.0, 0.0, 10.0], [1.0, 2.0, 5.0]], atol=1e-12)


def test_a_stride_keeps_pixels_where_they_are() -> None:
    depth = DepthMap("d", False, z_m=dense(_24=10.0, _45=5.0, _33=7.0))
    known_px, known_m = depth.known(2)
    np.testing.assert_array_equal(known_px, [[4.0, 2.0]])
    np.testing.assert_array_equal(known_m, [10.0])


def test_points_off_the_rays_are_given_as_they_are() -> None:
    points_m = np.full((6, 8, 3), np.nan, np.float32)
    points_m[2, 4] = (7.0, 8.0, 10.0)
    depth = DepthMap("d", False, z_m=dense(_24=10.0, _45=5.0), points_m=points_m)
    px, found_m = depth.points(CAMERA)
    np.testing.assert_array_equal(px, [[4.0, 2.0]])
    np.testing.assert_array_equal(found_m, [[7.0, 8.0, 10.0]])


def test_z_along_the_axis_places_nothing_beside_or_behind_a_fisheye() -> None:
    camera = Camera.from_opensfm({"projection_type": "fisheye", "focal": 0.25, "k1": 0.0, "k2": 0.0}, 100, 100)
    depth = DepthMap("s", False, samples_px=np.array([[49.5, 49.5], [99.0, 49.5]]), samples_z_m=np.array([3.0, 3.0]))
    px, points_m = depth.points(camera)
    np.testing.assert_allclose(px, [[49.5, 49.5]])
    np.testing.assert_allclose(points_m, [[0.0, 0.0, 3.0]], atol=1e-12)


def test_all_of_its_arrays_count_in_memory() -> None:
    """Points beside a dense map take three times as much as the map."""
    points_m = np.ones((6, 8, 3), np.float32)
    assert DepthMap("d", False, z_m=dense(), points_m=points_m, log_sigma=dense()).n_bytes == 6 * 8 * 4 * (1 + 3 + 1)
    px = np.zeros((5, 2))
    assert DepthMap("s", False, samples_px=px, samples_z_m=np.ones(5)).n_bytes == 5 * 8 * (2 + 1)
