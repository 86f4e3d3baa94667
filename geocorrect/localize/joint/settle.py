"""From the best hypothesis to the answer: the lens and the anchors are tested before they are trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.pose import Pose
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint.consensus import Consensus, Lens, compare, own_poses, starts_of
from geocorrect.localize.joint.fields import Refined, refine
from geocorrect.localize.joint.initialise import start_state, with_distances
from geocorrect.localize.joint.lens import LensCheck, check_lens, estimated_camera
from geocorrect.localize.joint.priors import prior_information
from geocorrect.localize.joint.problem import GLOBAL, LENS, PER_ANCHOR, Int, Problem
from geocorrect.localize.joint.solve import Solved, minimise, resume
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.records import NAN

Float = NDArray[np.float64]

NOISY_RECORDS = 2.2
"""Mean squared correction of the anchors' records, in units of its expectation, above which their noise is larger than
stated (three anchors: 99.8 % of right ones are below); it is then estimated from the photo's own matches."""
NOISY_PART = 0.998
"""Probability that the mean correction of right positions alone, or of rotations, stays below what counts as noisy."""
SETTLED_RECORDS = 1.3
MAX_WIDENINGS = 4
"""The estimate is repeated until the corrections are no larger than that, at most so often."""


@dataclass(frozen=True, eq=False)
class Settled:
    """The answer, and what was found out about its inputs."""

    found: Solved
    """With the trial's matches."""
    solved: Solved
    """With all of them."""
    refined: Refined
    """After the last linear step."""
    as_stated: Refined
    """The same with the anchors' noise as stated: whether scales contradict each other is judged there."""
    prior: Float
    """(D,) inverse prior variances that it was solved with: those of a refuted lens are wide."""
    lens_sigmas: float
    """As in `Solution`."""
    consensus: Consensus
    """Of the anchors."""
    is_lens_found: bool
    """Whether the stated lens was doubted, and the photo solved with one of its own."""


@dataclass(frozen=True, eq=False)
class Joint:
    """A photo's problem, to be solved more than once."""

    observations: Sequence[Observations]
    few: Sequence[Int]
    """Rows of each anchor's observations in `trial`."""
    problem: Problem
    trial: Problem
    """With all chosen matches, and with those that hypotheses compete with."""
    camera: Camera
    """The photo's, as stated."""
    prior: Float
    """(D,) inverse prior variances as stated."""
    origin_m: Float
    sigma_px: float
    options: LocalizeOptions
    compare_anchors: bool = True
    """Whether anchors that a majority refutes are set aside."""

    def settle(self, found: Solved, singles: Sequence[Pose | None]) -> Settled | None:
        """Test lens and anchors at the trial's solution; again without the anchors that a majority refutes.

        None where the pose is not determined. singles: the anchors' own hypotheses.
        """
        lens = self._check_lens(found)
        solved, refined = self._with_all_matches(lens.found, lens.prior)
        if refined is None:
            return None
        consensus = self._consensus(refined, lens.prior, singles)
        if lens.prior is not self.prior and not consensus.is_explained:
            # Wrong anchors can make a right lens look wrong: is a majority of them right with the lens as stated?
            _, as_stated = self._with_all_matches(found, self.prior)
            other = None if as_stated is None else self._consensus(as_stated, self.prior, singles)
            if other is not None and other.set_aside.any() and other.is_explained:
                consensus = other
        if consensus.set_aside.any():
            found = self._without(consensus)
            lens = self._check_lens(found)
            solved, refined = self._with_all_matches(lens.found, lens.prior)
            if refined is None:
                return None
        prior, as_stated = lens.prior, refined
        for _ in range(MAX_WIDENINGS):
            factors = _excess(refined, solved.active > 0, is_first=prior is lens.prior)
            if factors is None:
                break
            prior = prior.copy()
            prior[GLOBAL:].reshape(-1, PER_ANCHOR)[:, 1:] /= np.repeat(factors, 3)
            wider, widened = self._with_all_matches(replace(lens.found, state=solved.state), prior)
            if widened is None:
                break
            solved, refined = wider, widened
        return Settled(
            lens.found, solved, refined, as_stated, prior, lens.sigmas, consensus, lens.prior is not self.prior
        )

    def _check_lens(self, found: Solved) -> LensCheck:
        unknown = prior_information([], replace(self.camera, focal_sigma=NAN), self.options.joint)[LENS]
        return check_lens(self.trial, found, self.prior, self.observations, self.camera, self.options, unknown)

    def _with_all_matches(self, found: Solved, prior: Float) -> tuple[Solved, Refined | None]:
        state = with_distances(self.problem, found.state, found.sigma_px, self.options.joint)
        solved = resume(self.problem, state, prior, found, self.options.joint)
        return solved, refine(self.problem, solved, self.observations, self.camera, prior, self.options)

    def _consensus(self, refined: Refined, prior: Float, singles: Sequence[Pose | None]) -> Consensus:
        """The anchors' own poses, with the lens that all of them together found, and whether they agree."""
        pose = refined.state.world_from_query
        if not self.compare_anchors:
            return compare([None] * len(singles), pose, [])
        camera = estimated_camera(self.camera, refined.state)
        lens = Lens(camera, 1.0 / np.diag(refined.lens_covariance))
        starts = [starts_of(pose, single) for single in singles]
        own = own_poses(self.observations, self.few, starts, lens, prior, self.origin_m, self.sigma_px, self.options)
        return compare(own, pose, [len(rows) for rows in self.few])

    def _without(self, consensus: Consensus) -> Solved:
        """The trial's solution without the anchors that were set aside, from the pose of the best of the others."""
        counted = [
            (len(rows), pose)
            for rows, pose, aside in zip(self.few, consensus.own, consensus.set_aside, strict=True)
            if pose is not None and not aside
        ]
        _, start = max(counted, key=lambda item: item[0])
        state = start_state(self.trial, start, self.sigma_px, self.options.joint)
        active = (~consensus.set_aside).astype(float)
        return minimise(self.trial, state, self.prior, self.sigma_px, self.options.joint, active)


def _excess(refined: Refined, active: NDArray[np.bool_], *, is_first: bool) -> Float | None:
    """(2,) by how much the variances of the records' positions and rotations are larger than they are taken for.

    None where they are not. is_first: as stated; else they were widened already.
    """
    if not active.any():
        return None
    of_parts = (refined.record_shift_sigmas2, refined.record_turn_sigmas2)
    whole, *parts = (
        float(sigmas2[active].mean()) / COVARIANCE_INFLATION for sigmas2 in (refined.record_sigmas2, *of_parts)
    )
    degrees = 3 * int(active.sum())
    limit, of_part = SETTLED_RECORDS, SETTLED_RECORDS
    if is_first:
        limit, of_part = NOISY_RECORDS, float(chdtri(degrees, 1.0 - NOISY_PART)) / degrees
    return np.maximum(parts, 1.0) if whole >= limit or max(parts) >= of_part else None
