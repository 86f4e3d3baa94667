"""The points of an anchor beside its photo are those of the official code, whichever of the two views it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.mast3r_world import assert_equal_to
from torch import from_numpy

from geocorrect.depth.mast3r import Mast3rDepthOptions, Mast3rPairDepth
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.store import TensorStore
from geocorrect.records import Anchor

pytestmark = pytest.mark.data


@pytest.mark.parametrize(("case", "anchor", "query"), [("A", "L1", "L2"), ("Aswap", "L2", "L1"), ("B", "P1", "L2")])
def test_points_of_the_pair(tiny: Mast3r, official: dict[str, np.ndarray], case: str, anchor: str, query: str) -> None:
    engine = Mast3rEngine(tiny, "parity", TensorStore(), long_side_px=64)
    source = Mast3rPairDepth(engine, Mast3rDepthOptions(pair_with="query", dropped_share=0.0, keep_all=True))
    image = official[f"img_{anchor}"]
    height, width = image.shape[:2]
    camera = Camera.pinhole(width, height, 60.0, 60.0, (width - 1) / 2, (height - 1) / 2)
    record = Anchor("a", "set", Path("a.png"), camera, Pose.identity(), "alignment")
    found = source.pair_depth(record, image, official[f"img_{query}"])
    assert found.points_m is not None
    assert found.z_m is not None
    expected = official[f"{case}_pts3d1"]
    step = height // expected.shape[0]
    raw = source.points_of_pair(image, official[f"img_{query}"])
    assert_equal_to(from_numpy(raw.xyz_m[::step, ::step]), expected)
    assert_equal_to(from_numpy(raw.confidence[::step, ::step]), official[f"{case}_conf1"])
    # A random network also puts points behind the camera; they give no depth, nor do the pixels beside them.
    points = found.points_m[::step, ::step]
    known = np.isfinite(points).all(axis=-1)
    assert 0.3 < known.mean() < 1.0
    assert expected[known][:, 2].min() > 0
    assert_equal_to(from_numpy(points[known]), expected[known])
    np.testing.assert_array_equal(found.z_m, found.points_m[..., 2])
