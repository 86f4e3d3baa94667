"""The pose graph of a sequence: seven unknowns per image (pose, log-scale of the step that follows), one chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.so3 import skew
from geocorrect.sequences.chain import Chain
from geocorrect.sequences.motion import Motion
from geocorrect.sequences.options import SequenceOptions

Float = NDArray[np.float64]

RESULT_FLOOR = np.diag([0.01**2] * 3 + [np.radians(0.02) ** 2] * 3)
"""Added to every result's covariance: what the frame of the anchors and the exposure time leave."""
FIXED_SCALE_SIGMA = 1e-4
PRIOR_FREEDOM = 4.0
"""The noise figures of the options count as much as that many residuals of the sequence itself."""
FACTOR_RANGE = (0.25, 20.0)
NOTHING_KNOWN = 1e-9
MEDIAN_CHI2 = 5.348
"""Median of chi-square with 6 degrees of freedom."""


class SequenceGraph:
    """Current poses, scales and weights of a sequence, and Gauss–Newton steps on them."""

    def __init__(
        self,
        motion: Motion,
        results: Sequence[Pose | None],
        start: Sequence[Pose],
        scale: Float,
        options: SequenceOptions,
    ) -> None:
        self.motion, self.options = motion, options
        self.rotation = Rotation.concatenate([pose.rotation for pose in start])
        self.centre_m = np.array([pose.translation_m for pose in start])
        self.scale = scale.copy()
        self.has_result = np.array([r is not None for r in results])
        self.result = [r if r is not None else start[i] for i, r in enumerate(results)]
        self.result_rotation = Rotation.concatenate([pose.rotation for pose in self.result])
        self.result_centre_m = np.array([pose.translation_m for pose in self.result])
        self.result_covariance = np.array([_covariance(r) for r in results])
        self.weight = np.where(self.has_result, 1.0, np.nan)
        self.noise_factors = (1.0, 1.0)
        self._single: Float | None = None
        self._base_sigma_m = motion.sigma_m * np.where(motion.group >= 0, scale, 1.0)[:, None]

    def __len__(self) -> int:
        return len(self.centre_m)

    def pose(self, i: int) -> Pose:
        """Current pose of an image."""
        return Pose(self.rotation[i], self.centre_m[i])

    def steps_m(self) -> list[tuple[Float, Float]]:
        """Centres at both ends of every step."""
        return list(zip(self.centre_m, self.centre_m[1:], strict=False))

    def misfit(self, noise_factors: tuple[float, float] | None = None) -> Float:
        """(N − 1,) squared whitened residual of every step and of the change of scale that leads to it, 7 degrees of
        freedom, by the present noise or another one; 0 for reported positions.
        """
        residual = self._steps()[1].copy()
        if noise_factors is not None:
            residual *= np.repeat(np.array(self.noise_factors) / noise_factors, 3)
        squared = (residual**2).sum(axis=1)
        walks = np.concatenate([[False], self.motion.group[1:] == self.motion.group[:-1]])
        change = np.diff(np.log(self.scale), prepend=np.log(self.scale[0]))
        squared += np.where(walks, change / self._scale_walk(), 0.0) ** 2
        inside: Float = np.where(self.motion.group >= 0, squared, 0.0)
        return inside

    def _scale_walk(self) -> Float:
        """(N − 1,) standard deviation of the change of log-scale that leads to a step."""
        way_m = np.maximum(np.linalg.norm(self.motion.shift, axis=1) * self.scale, 0.1)
        walk: Float = self.options.scale_walk_per_100_m * np.sqrt(way_m / 100.0)
        return walk

    def weigh_by_residual(self, slack_m: float, slack_deg: float) -> None:
        """Geman–McClure on each result's distance from the graph, its covariance widened by the slack."""
        slack = np.diag([slack_m**2] * 3 + [np.radians(slack_deg) ** 2] * 3)
        residual = self._result_residual()
        squared = _squared(residual, self.result_covariance + slack)
        self.weight = np.where(self.has_result, self._geman(squared), np.nan)

    def weigh_by_innovation(self) -> None:
        """Geman–McClure on how far each result is from what all others predict for it."""
        weights = self.weight.copy()
        for i in np.flatnonzero(self.has_result):
            found = self.innovation(int(i))
            weights[i] = 1.0 if found is None else float(self._geman(np.array(found[2] ** 2)))
        self.weight = weights
        self._single = None

    def set_weights(self, weights: Mapping[int, float]) -> None:
        """Give some results another weight; 0 takes them out."""
        for i, weight in weights.items():
            self.weight[i] = weight
        self._single = None

    def innovation(self, i: int) -> tuple[Float, Float, float] | None:
        """Result minus prediction by all others (6,), covariance (6, 6) of that prediction, Mahalanobis distance.

        None where the others do not fix the image: nothing can be said about its result then.
        """
        own = self.weight[i] * np.linalg.inv(self.result_covariance[i])
        information = np.linalg.inv(self.covariances()[i])
        others = information - own
        if np.linalg.eigvalsh(others)[0] <= 1e-6 * float(np.linalg.eigvalsh(information)[0]):
            return None
        predicted = np.linalg.inv(others)
        apart = self.result[i].minus(self.pose(i))
        # The posterior lies between prediction and result: undo the pull of the result.
        apart = apart + predicted @ (own @ apart)
        distance = float(apart @ np.linalg.solve(predicted + self.result_covariance[i], apart)) ** 0.5
        return apart, (predicted + predicted.T) / 2, distance

    def step(self) -> None:
        """One Gauss–Newton step."""
        delta = self._normal()[0].solve()
        self.centre_m = self.centre_m + delta[:, :3]
        self.rotation = Rotation.from_rotvec(delta[:, 3:6]) * self.rotation
        self.scale = self.scale * np.exp(delta[:-1, 6])
        self._single = None

    def covariances(self) -> Float:
        """(N, 6, 6) marginal covariance of every pose."""
        if self._single is None:
            self._single = self._normal()[0].marginals()[0][:, :6, :6]
        return self._single

    def guess_noise(self) -> None:
        """One factor for both noises from the median innovation, which a third of wrong results does not move much."""
        found = [self.innovation(int(i)) for i in np.flatnonzero(self.has_result)]
        squared = [innovation[2] ** 2 for innovation in found if innovation is not None]
        if squared:
            change = float(np.sqrt(np.median(squared) / MEDIAN_CHI2))
            factor = float(np.clip(self.noise_factors[0] * change, 1.0, FACTOR_RANGE[1]))
            self.noise_factors = (factor, factor)
            self._single = None

    def estimate_noise(self) -> None:
        """Factors on the noise of translation and rotation, from residuals and their redundancy (Förstner)."""
        self.noise_factors = self.noise_without(0, 0)
        self._single = None

    def noise_without(self, first: int, end: int) -> tuple[float, float]:
        """The factors as all steps but first…end − 1 say."""
        chain, jacobian, residual = self._normal()
        covariance = chain.marginals()[1]
        spread = np.einsum("nij,njk,nik->ni", jacobian, covariance, jacobian)
        use = self.motion.group >= 0
        use[first:end] = False
        factors = []
        for rows, factor in zip((slice(0, 3), slice(3, 6)), self.noise_factors, strict=True):
            squared = float((residual[use, rows] ** 2).sum()) * factor**2
            redundancy = max(float((1.0 - spread[use, rows]).sum()), 0.0)
            mean = (PRIOR_FREEDOM + squared) / (PRIOR_FREEDOM + redundancy)
            factors.append(float(np.clip(mean**0.5, *FACTOR_RANGE)))
        return factors[0], factors[1]

    def _geman(self, squared: Float) -> Float:
        gamma2 = self.options.robust_distance**2
        weight: Float = (gamma2 / (gamma2 + squared)) ** 2
        return weight

    def _result_residual(self) -> Float:
        """(N, 6) result minus current pose, world side."""
        turn = (self.result_rotation * self.rotation.inv()).as_rotvec()
        return np.concatenate([self.result_centre_m - self.centre_m, turn], axis=1)

    def _normal(self) -> tuple[Chain, Float, Float]:
        """Normal equations; whitened Jacobians (N − 1, 6, 14) and residuals (N − 1, 6) of the steps."""
        jacobian, residual = self._steps()
        n = len(self)
        diagonal, upper, gradient = np.zeros((n, 7, 7)), np.zeros((n - 1, 7, 7)), np.zeros((n, 7))
        square = np.swapaxes(jacobian, 1, 2) @ jacobian
        pull = np.einsum("nij,ni->nj", jacobian, residual)
        diagonal[:-1] += square[:, :7, :7]
        diagonal[1:] += square[:, 7:, 7:]
        upper += square[:, :7, 7:]
        gradient[:-1] += pull[:, :7]
        gradient[1:] += pull[:, 7:]
        information = np.nan_to_num(self.weight)[:, None, None] * np.linalg.inv(self.result_covariance)
        diagonal[:, :6, :6] += information
        gradient[:, :6] -= np.einsum("nij,nj->ni", information, self._result_residual())
        self._add_scales(diagonal, upper, gradient)
        diagonal += NOTHING_KNOWN * np.eye(7)
        return Chain(diagonal, upper, gradient), jacobian, residual

    def _steps(self) -> tuple[Float, Float]:
        """Whitened Jacobians (N − 1, 6, 14) and residuals (N − 1, 6).

        Inside a reconstruction in the first camera's axes, its scale unknown; between reported positions in the
        world's.
        """
        m = self.motion
        inside = (m.group >= 0)[:, None, None]
        first, second = self.rotation[:-1], self.rotation[1:]
        between = np.diff(self.centre_m, axis=0)
        back = np.where(inside, np.swapaxes(first.as_matrix(), 1, 2), np.eye(3))
        shift = self.scale[:, None] * m.shift
        moved = np.einsum("nij,nj->ni", back, between) - shift
        turned = np.where(
            inside[:, 0],
            (m.turn.inv() * first.inv() * second).as_rotvec(),
            (m.turn.inv() * second * first.inv()).as_rotvec(),
        )
        after = np.where(inside, np.swapaxes(second.as_matrix(), 1, 2), (second * first.inv()).inv().as_matrix())
        before = np.where(inside, after, np.eye(3))
        sigma = self._sigmas()
        jacobian = np.zeros((len(between), 6, 14))
        jacobian[:, :3, :3], jacobian[:, :3, 7:10] = -back, back
        jacobian[:, :3, 3:6] = np.where(inside, back @ skew(between), 0.0)
        jacobian[:, :3, 6] = np.where(inside[:, 0], -shift, 0.0)
        jacobian[:, 3:, 3:6], jacobian[:, 3:, 10:13] = -before, after
        residual = np.concatenate([moved, turned], axis=1) / sigma
        return jacobian / sigma[:, :, None], residual

    def _sigmas(self) -> Float:
        """(N − 1, 6) noise of every step; the factors are about reconstructions only."""
        inside = (self.motion.group >= 0)[:, None]
        factors = np.where(inside, np.array(self.noise_factors), 1.0)
        return np.concatenate([self._base_sigma_m * factors[:, :1], self.motion.sigma_rad * factors[:, 1:]], axis=1)

    def _add_scales(self, diagonal: Float, upper: Float, gradient: Float) -> None:
        """Priors of the log-scales: about metric where a reconstruction begins, a random walk along it."""
        group = self.motion.group
        diagonal[-1, 6, 6] += 1.0 / FIXED_SCALE_SIGMA**2
        walk = self._scale_walk()
        for i, g in enumerate(group):
            value = np.log(self.scale[i])
            if i == 0 or g != group[i - 1] or g < 0:
                sigma = FIXED_SCALE_SIGMA if g < 0 else float(self.motion.scale_sigma[i])
                diagonal[i, 6, 6] += 1.0 / sigma**2
                gradient[i, 6] += value / sigma**2
                continue
            sigma = float(walk[i])
            change = (value - np.log(self.scale[i - 1])) / sigma**2
            diagonal[i, 6, 6] += 1.0 / sigma**2
            diagonal[i - 1, 6, 6] += 1.0 / sigma**2
            upper[i - 1, 6, 6] -= 1.0 / sigma**2
            gradient[i, 6] += change
            gradient[i - 1, 6] -= change


def _covariance(result: Pose | None) -> Float:
    """(6, 6) covariance of a result, floored; anything for an image without one (its weight is nan)."""
    if result is None:
        return np.eye(6)
    if result.covariance is None:
        raise ValueError("a single-image result needs its covariance to be weighed against the sequence")
    floored: Float = result.covariance + RESULT_FLOOR
    return floored


def _squared(residual: Float, covariance: Float) -> Float:
    """(N,) squared Mahalanobis distances."""
    squared: Float = np.einsum("ni,ni->n", residual, np.linalg.solve(covariance, residual[:, :, None])[:, :, 0])
    return squared
