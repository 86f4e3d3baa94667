"""Estimators as the Map-free benchmark needs them: one reference, one query, a metric pose and a confidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from geocorrect.depth.base import DepthSource
from geocorrect.errors import Reason
from geocorrect.evaluate.mapfree.submission import Estimate
from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.correct import JOINT, localize
from geocorrect.localize.estimators.base import Estimator
from geocorrect.localize.estimators.mickey import solve_pair
from geocorrect.localize.estimators.options import MickeyPoseOptions
from geocorrect.localize.options import LocalizeOptions
from geocorrect.match.base import Matcher
from geocorrect.match.metric_keypoints import KeypointMatcher
from geocorrect.match.verify import ESSENTIAL, PairVerifyOptions
from geocorrect.records import NAN, Anchor, AnchorView, ImageArray, Query, Rejection


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo of a scene."""

    name: str
    """Scene and frame."""
    pixels: ImageArray
    """(H, W, 3) RGB uint8."""
    camera: Camera
    """Its intrinsics."""
    path: Path
    """Its file."""


class PairEstimator(Protocol):
    """Finds the pose of a query relative to one reference photo."""

    @property
    def fingerprint(self) -> str:
        """What is at work, in one line."""
        ...

    def estimate(self, reference: Photo, query: Photo, seed: int) -> Estimate | Reason:
        """The query's pose in the reference camera's frame with a confidence, or the Reason why there is none."""
        ...


class MickeyPairs:
    """MicKey's own solver on metric keypoints."""

    def __init__(self, matcher: KeypointMatcher, options: MickeyPoseOptions | None = None) -> None:
        """options: default: every pose that is one is answered, for the confidence ranks them here."""
        self.matcher = matcher
        self.options = options or replace(MickeyPoseOptions(), min_support=3, min_chance_ratio=0.0)

    @property
    def fingerprint(self) -> str:
        """Keypoints and numbers of the solver."""
        return f"mickey/{self.matcher.fingerprint}/{self.options}"

    def estimate(self, reference: Photo, query: Photo, seed: int) -> Estimate | Reason:
        """See `PairEstimator`; the confidence is the soft count of agreeing pairs."""
        (pairing,) = self.matcher.pair_keypoints(query.pixels, [reference.pixels])
        found = solve_pair(pairing, reference.camera, query.camera, self.options, seed)
        if isinstance(found, Reason):
            return found
        return Estimate(found.query_from_anchor.inverse(), found.confidence)


class LocalizedPairs:
    """The ordinary method with the reference as its only anchor; the confidence is the number of inliers."""

    def __init__(
        self, matcher: Matcher, depth: DepthSource, options: LocalizeOptions | None = None,
        estimator: Estimator = JOINT, verify: PairVerifyOptions = ESSENTIAL,
    ) -> None:  # fmt: skip
        """verify: what a pair's matches must agree with first."""
        self.matcher, self.depth, self.estimator, self.verify = matcher, depth, estimator, verify
        self.options = options or LocalizeOptions()

    @property
    def fingerprint(self) -> str:
        """Estimator, matcher, depth and options."""
        parts = (self.estimator.fingerprint, self.matcher.fingerprint, self.depth.fingerprint)
        return "/".join([*parts, str(self.options), str(self.verify)])

    def estimate(self, reference: Photo, query: Photo, seed: int) -> Estimate | Reason:
        """See `PairEstimator`. A pose that the gate would refuse is answered, too: its few inliers rank it low."""
        anchor = Anchor(
            id=reference.name,
            dataset="mapfree",
            path=reference.path,
            camera=reference.camera,
            world_from_cam=Pose.identity(),
            alignment_id="reference",
        )
        asked = Query(query.name, query.pixels, query.camera, np.full(3, NAN))
        views = [AnchorView(anchor, reference.pixels)]
        explained = localize(asked, views, self.matcher, self.depth, self.options, seed, self.estimator, self.verify)
        if explained.solution is None:
            return explained.result.reason if isinstance(explained.result, Rejection) else Reason.DIVERGED
        pose = explained.solution.world_from_cam.with_covariance(None)
        return Estimate(pose, float(explained.solution.n_inliers))
