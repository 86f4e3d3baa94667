"""The contract of every pose estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from geocorrect.errors import Reason
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Query


@runtime_checkable
class Estimator(Protocol):
    """Finds the pose of a photo from what its anchors say about it.

    `fingerprint` names the estimator, its parameters and its weights: it is part of the run key.
    """

    @property
    def fingerprint(self) -> str:
        """Estimator, parameters and weights in one line."""
        ...

    def solve(
        self, observations: Sequence[Observations], query: Query, options: LocalizeOptions, seed: int
    ) -> Solution | Reason:
        """The pose in the anchors' world with covariance and evidence, or the Reason why there is none.

        Args:
            observations: of at least one anchor, each with at least one match.
            query: the photo.
            options: of the room; what they do not hold is given to the estimator when it is made.
            seed: of everything random; equal input and seed give equal output.
        """
        ...
