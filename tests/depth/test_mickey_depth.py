"""MicKey as a depth source: samples at keypoints, the range, what it declares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.mickey_world import random_photo, seeded_engine

from geocorrect.depth.base import DepthSource
from geocorrect.depth.mickey import MickeyDepth, declare_mickey
from geocorrect.errors import InputError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.lift import lift
from geocorrect.localize.options import LiftOptions
from geocorrect.match.mickey import MickeyMatcher
from geocorrect.records import Anchor

CAMERA = Camera.pinhole(560, 448, 500.0, 500.0, 279.5, 223.5)


@pytest.fixture(scope="module")
def source() -> MickeyDepth:
    return MickeyDepth(seeded_engine(long_side_px=280), declare_mickey())


def _anchor(camera: Camera = CAMERA) -> Anchor:
    return Anchor("a1", "test", Path("none.jpg"), camera, Pose.identity(), "alignment")


def _trusted(source: MickeyDepth, photo: np.ndarray) -> np.ndarray:
    found = source.engine.keypoints([photo])[0]
    nearest_m, farthest_m = source.declaration.valid_range_m
    depth_m = found.depth_m()
    return found.inner() & (depth_m >= nearest_m) & (depth_m <= farthest_m)


def test_contract_and_declaration(source: MickeyDepth) -> None:
    assert isinstance(source, DepthSource)
    declared = declare_mickey()
    assert declared.licence is not None
    assert not declared.licence.commercial
    assert "Niantic" in declared.licence.name
    assert "patent" in declared.licence.name
    assert declared.weights == "mickey"
    assert not declared.is_oracle
    assert source.fingerprint.startswith("mickey/seeded/float32/280/depth/")


def test_one_sample_per_keypoint_in_photo_pixels(source: MickeyDepth) -> None:
    photo = random_photo(560, 448)
    found, depth = source.engine.keypoints([photo])[0], source.depth(_anchor(), photo)
    trusted = _trusted(source, photo)
    assert 10 < trusted.sum() < len(trusted)
    assert depth.z_m is None
    assert depth.samples_px is not None
    assert depth.samples_z_m is not None
    np.testing.assert_array_equal(depth.samples_px, found.photo_px()[trusted])
    np.testing.assert_array_equal(depth.samples_z_m, found.depth_m()[trusted])
    assert not depth.is_oracle
    assert (depth.log_sigma, depth.common_log_sigma) == pytest.approx((0.42 * 0.3, 0.3))


def test_matches_of_the_same_network_are_lifted_with_their_own_depth(source: MickeyDepth) -> None:
    query, photo = random_photo(560, 448, 3), random_photo(560, 448)
    (matches,) = MickeyMatcher(source.engine).match(query, [photo])
    depth_m, _ = lift(matches.anchor_px.astype(float), source.depth(_anchor(), photo), CAMERA, LiftOptions())
    found = source.engine.keypoints([photo])[0]
    nearest = np.linalg.norm(found.photo_px()[None] - matches.anchor_px[:, None], axis=2).argmin(axis=1)
    expected = np.where(_trusted(source, photo), found.depth_m(), np.nan)[nearest]
    expected[expected < LiftOptions().min_depth_m] = np.nan
    known = np.isfinite(depth_m)
    assert known.sum() > 0.5 * np.isfinite(expected).sum()
    np.testing.assert_allclose(depth_m[known], expected[known], rtol=1e-6)
    assert not (known & ~np.isfinite(expected)).any()


def test_images_that_do_not_fit_are_refused(source: MickeyDepth) -> None:
    with pytest.raises(InputError, match="anchor a1: the image has another size than its camera"):
        source.depth(_anchor(), random_photo(280, 224))
    thin = Camera.pinhole(900, 50, 500.0, 500.0, 449.5, 24.5)
    with pytest.raises(InputError, match="anchor a1: 900×50 pixels are too thin for MicKey"):
        source.depth(_anchor(thin), random_photo(900, 50))
