"""The joint estimator behind the contract of all estimators."""

from __future__ import annotations

from collections.abc import Sequence

from geocorrect.errors import Reason
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Query


class JointEstimator:
    """One pose from the bearings and depths of all anchors together."""

    fingerprint = "joint"

    def solve(
        self, observations: Sequence[Observations], query: Query, options: LocalizeOptions, seed: int
    ) -> Solution | Reason:
        """See `localize.estimators.base.Estimator`."""
        return solve_joint(observations, query.camera, options, seed, query.reported_enu_m)
