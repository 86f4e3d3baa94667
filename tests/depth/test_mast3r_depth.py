"""Depth from MASt3R's point head: in the photo's raster, thresholded by confidence, computed once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.mast3r_world import TINY, random_photo, seeded_engine

from geocorrect.depth.base import DepthSource
from geocorrect.depth.mast3r import Mast3rDepth, Mast3rDepthOptions, build
from geocorrect.errors import InputError, ModelError
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.model import DecodedView, Mast3r, Points
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.store import TensorStore
from geocorrect.networks.weights import ModelAccess
from geocorrect.records import Anchor

DARK = np.full((150, 200, 3), 60, np.uint8)


class Ramp(Mast3r):
    """A stand-in whose depth grows from left to right by 1 % per network pixel and whose confidence grows downwards."""

    calls = 0

    def points(self, view: DecodedView, number: int, head: object = None) -> Points:
        Ramp.calls += 1
        assert number == 1
        rows, columns = (16 * side for side in view.encoded.grid)
        z = (5.0 * 1.01 ** torch.arange(columns)).expand(rows, columns)
        confidence = 1.0 + torch.arange(rows, dtype=torch.float32)[:, None].expand(rows, columns)
        return Points(torch.stack([z * 0, z * 0, z], dim=-1)[None], confidence[None])


@pytest.fixture
def source() -> Mast3rDepth:
    torch.manual_seed(0)
    engine = Mast3rEngine(Ramp(TINY).eval().requires_grad_(False), "ramp", TensorStore(), long_side_px=64)
    return Mast3rDepth(engine, Mast3rDepthOptions(dropped_share=0.0))


def anchor_with(width: int, height: int) -> Anchor:
    camera = Camera.pinhole(width, height, 100.0, 100.0, (width - 1) / 2, (height - 1) / 2)
    return Anchor("a1", "set", Path("a1.jpg"), camera, Pose.identity(), "alignment")


def test_depth_lies_where_the_photo_has_it(source: Mast3rDepth) -> None:
    assert isinstance(source, DepthSource)
    found = source.depth(anchor_with(200, 150), DARK)
    assert found.z_m is not None
    assert found.z_m.shape == (150, 200)
    x = np.arange(10, 190)
    network_x = (x + 0.5) * 64 / 200 - 0.5
    np.testing.assert_allclose(found.z_m[75, 10:190], 5.0 * 1.01**network_x, rtol=1e-3)
    assert not found.is_oracle


def test_cropped_margins_are_unknown(source: Mast3rDepth) -> None:
    """131×77 → 64×38, cropped to 64×32: three network rows above and below the crop were never seen."""
    found = source.depth(anchor_with(131, 77), np.full((77, 131, 3), 60, np.uint8)).z_m
    assert found is not None
    lost = int(np.floor(3 * 77 / 38)) - 1
    assert np.isnan(found[:lost]).all()
    assert np.isnan(found[-lost:]).all()
    assert np.isfinite(found[lost + 4 : -lost - 4, 4:-4]).all()


def test_least_confident_pixels_give_no_point(source: Mast3rDepth) -> None:
    half = Mast3rDepth(source.engine, replace(source.options, dropped_share=0.5))
    found = half.depth_of(DARK).z_m
    assert found is not None
    assert np.isnan(found[:70]).all()
    assert np.isfinite(found[80:-4, 4:-4]).all()
    assert half.fingerprint != source.fingerprint


def test_points_are_computed_once_and_shared(source: Mast3rDepth) -> None:
    Ramp.calls = 0
    for share in (0.0, 0.4, 0.0):
        Mast3rDepth(source.engine, replace(source.options, dropped_share=share)).depth_of(DARK)
    assert Ramp.calls == 1


def test_points_depend_on_the_partner() -> None:
    source = Mast3rDepth(seeded_engine(), Mast3rDepthOptions())
    photo, other = random_photo(64, 48), random_photo(64, 48, 1)
    alone, together = source.points_of_pair(photo, photo), source.points_of_pair(photo, other)
    assert not np.allclose(alone.xyz_m, together.xyz_m)
    assert (alone.confidence > 1).all()
    assert alone.xyz_m.shape == (48, 64, 3)


def test_camera_must_fit_and_share_must_be_a_share(source: Mast3rDepth) -> None:
    with pytest.raises(InputError, match="anchor a1"):
        source.depth(anchor_with(64, 48), DARK)
    with pytest.raises(ValueError, match="dropped_share"):
        Mast3rDepthOptions(dropped_share=1.0)


def test_missing_weights_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="geocorrect models fetch mast3r --accept-licence"):
        build(Mast3rDepthOptions(Runtime(device="cpu", access=ModelAccess(tmp_path))))
