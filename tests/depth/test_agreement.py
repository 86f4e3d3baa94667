"""What another view can say of a predicted depth, and what it cannot."""

from __future__ import annotations

import numpy as np

from geocorrect.depth.calibration.given_geometry import ViewDepth, agreement

INTRINSICS = np.array([[10.0, 0.0, 4.5], [0.0, 10.0, 3.5], [0.0, 0.0, 1.0]])


def view(shift_px: float = 0.0, z_m: float = 5.0) -> ViewDepth:
    """A wall 5 m ahead on 10 × 8 pixels, from a place that moves it to the right by some pixels."""
    pose = np.eye(4)
    pose[0, 3] = -shift_px * 5.0 / 10.0
    return ViewDepth(np.full((8, 10), z_m), np.ones((8, 10), bool), INTRINSICS, pose)


def test_a_pixel_reaches_half_a_pixel_around_its_centre() -> None:
    """Shifted by 0.4 px every point still lies in a pixel of the other view, by 0.6 px the last column does not."""
    for sign in (1.0, -1.0):
        inside, outside = (agreement([view(), view(sign * shift)])[0] for shift in (0.4, 0.6))
        np.testing.assert_allclose(inside, 1.0, atol=1e-6)
        lost = outside[:, -1] if sign > 0 else outside[:, 0]
        np.testing.assert_array_equal(lost, 0.0)
        assert (outside > 0.99).sum() == 8 * 9


def test_a_witness_that_knows_no_depth_is_no_contradiction() -> None:
    blind = view()
    blind.z_m[2, 3] = 0.0
    first, *_ = agreement([view(), blind, view(0.1)])
    np.testing.assert_allclose(first, 1.0, atol=1e-6)
    assert agreement([view(), blind])[0][2, 3] == 0.0
