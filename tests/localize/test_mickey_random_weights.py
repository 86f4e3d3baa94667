"""A network that knows nothing must not move a photo: MicKey with random weights through the whole method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.depth_world import FOCAL_PX, HEIGHT, WIDTH, _texture, _view
from support.mickey_world import seeded_engine

from geocorrect.depth.mickey import MickeyDepth, declare_mickey
from geocorrect.errors import Reason
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import localize
from geocorrect.localize.estimators.metric_ransac import MetricRansacOptions
from geocorrect.localize.estimators.mickey import MickeyEstimator
from geocorrect.localize.estimators.options import MickeyPoseOptions
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.mickey import MickeyMatcher
from geocorrect.records import Anchor, AnchorView, Query, Rejection

CAMERA = Camera.pinhole(WIDTH, HEIGHT, FOCAL_PX, FOCAL_PX, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
NORTH = Rotation.from_matrix([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
"""enu_from_cam of a camera that looks north."""


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    return _texture()


@pytest.mark.long
@pytest.mark.parametrize("case", range(4))
def test_random_weights_move_no_photo(texture: np.ndarray, case: int) -> None:
    """Three anchors and a photo of the same corner, or of another part of it."""
    engine = seeded_engine(long_side_px=320)
    matcher, depth = MickeyMatcher(engine), MickeyDepth(engine, declare_mickey())
    views = []
    for number in range(3):
        place = np.array([1.5 * number + 0.3 * case, 0.2 * number, 0.0])
        anchor = Anchor(f"a{number}", "corner", Path("none.png"), CAMERA, Pose(NORTH, place), "alignment")
        views.append(AnchorView(anchor, _view(texture, place)[0]))
    place = np.array([0.8 + case, 0.6, 0.1])
    query = Query("q", _view(texture, place)[0], CAMERA, place + np.array([2.0, -2.0, 0.0]))
    explained = localize(query, views, matcher, depth, LocalizeOptions(), seed=case)
    assert isinstance(explained.result, Rejection)
    assert explained.result.evidence.n_matches > 0, "it was the geometry that refused them"

    by_anchor = {view.anchor.id: view for view in views}
    quick = MickeyPoseOptions(ransac=MetricRansacOptions(draws=4, pairs_per_draw=512, hypotheses_per_draw=40))
    estimator = MickeyEstimator(matcher, lambda anchor: by_anchor[anchor.id], quick)
    assert explained.observations
    assert isinstance(estimator.solve(explained.observations, query, LocalizeOptions(), case), Reason)
