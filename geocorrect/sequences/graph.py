"""The pose graph of a sequence: seven unknowns per image (pose, log-scale of the step that follows), one chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose
from geocorrect.geometry.so3 import skew
from geocorrect.sequences.motion import Motion
from geocorrect.sequences.options import SequenceOptions

Float = NDArray[np.float64]

RESULT_FLOOR = np.diag([0.01**2] * 3 + [np.radians(0.02) ** 2] * 3)
"""Added to every result's covariance: what the frame of the anchors and the exposure time leave."""
FIXED_SCALE_SIGMA = 1e-4
"""Of the log-scale of a metric step: practically 0."""
PRIOR_FREEDOM = 4.0
"""The noise figures of the options count as much as that many residuals of the sequence itself."""
FACTOR_RANGE = (0.25, 20.0)
"""Of the noise factors."""
NOTHING_KNOWN = 1e-9
"""Information of every unknown that nothing measures."""
MEDIAN_CHI2 = 5.348
"""Median of chi-square with 6 degrees of freedom."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Normal equations of N blocks of B unknowns, each coupled with its neighbours alone."""

    diagonal: Float
    """(N, B, B) blocks."""
    upper: Float
    """(N − 1, B, B) off-diagonal blocks."""
    gradient: Float
    """(N, B)."""

    def solve(self) -> Float:
        """(N, B) minimiser of ½ xᵀHx + gᵀx."""
        forward, reduced = self.diagonal.copy(), -self.gradient.copy()
        for i in range(1, len(forward)):
            gain = np.linalg.solve(forward[i - 1], self.upper[i - 1]).T
            forward[i] -= gain @ self.upper[i - 1]
            reduced[i] -= gain @ reduced[i - 1]
        x = np.empty_like(reduced)
        x[-1] = np.linalg.solve(forward[-1], reduced[-1])
        for i in range(len(forward) - 2, -1, -1):
            x[i] = np.linalg.solve(forward[i], reduced[i] - self.upper[i] @ x[i + 1])
        return x

    def marginals(self) -> tuple[Float, Float]:
        """Covariances (N, B, B) of the blocks, and (N − 1, 2B, 2B) of neighbours together."""
        forward, backward = self.diagonal.copy(), self.diagonal.copy()
        for i in range(1, len(forward)):
            forward[i] -= self.upper[i - 1].T @ np.linalg.solve(forward[i - 1], self.upper[i - 1])
        for i in range(len(backward) - 2, -1, -1):
            backward[i] -= self.upper[i] @ np.linalg.solve(backward[i + 1], self.upper[i].T)
        single = np.linalg.inv(forward + backward - self.diagonal)
        both = np.concatenate(
            [
                np.concatenate([forward[:-1], self.upper], axis=2),
                np.concatenate([np.swapaxes(self.upper, 1, 2), backward[1:]], axis=2),
            ],
            axis=1,
        )
        pairs = np.linalg.inv(both) if len(both) else np.empty((0, *2 * (2 * self.diagonal.shape[1],)))
        return (single + np.swapaxes(single, 1, 2)) / 2, (pairs + np.swapaxes(pairs, 1, 2)) / 2


@dataclass(frozen=True, eq=False)
class Innovation:
    """A result against what all others predict for its image."""

    distance: float
    """Mahalanobis distance, 6 degrees of freedom."""
    apart_m: float
    """Distance of the positions."""
    apart_deg: float
    """Angle between the orientations."""
    predicted_covariance: Float
    """(6, 6) of the prediction."""


class SequenceGraph:
    """Current poses, scales and weights of a sequence, and Gauss–Newton steps on them.

    Args:
        motion: of the N photos.
        results: N results of single images with covariance, None where there is none.
        start: N start poses.
        scale: (N − 1,) start scale of every step, 1 for metric ones.
        options: noise figures and robust scales.
    """

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

    def misfit(self, noise_factors: tuple[float, float] | None = None) -> Float:
        """(N − 1,) squared whitened residual of every step and of the change of scale before it; 0 where metric.

        7 degrees of freedom; by the current noise factors unless others are given.
        """
        residual = self._steps()[1].copy()
        if noise_factors is not None:
            residual *= np.repeat(np.array(self.noise_factors) / noise_factors, 3)
        squared = (residual**2).sum(axis=1)
        walks = np.concatenate([[False], self.motion.group[1:] == self.motion.group[:-1]])
        change = np.diff(np.log(self.scale), prepend=np.log(self.scale[0]))
        squared += np.where(walks, change / self._scale_walk(), 0.0) ** 2
        return np.asarray(np.where(self.motion.group >= 0, squared, 0.0))

    def _scale_walk(self) -> Float:
        """(N − 1,) standard deviation of the change of log-scale before a step."""
        way_m = np.maximum(np.linalg.norm(self.motion.shift, axis=1) * self.scale, 0.1)
        return np.asarray(self.options.scale_walk_per_100_m * np.sqrt(way_m / 100.0))

    def weigh_by_residual(self, slack_m: float, slack_deg: float) -> None:
        """Geman–McClure on each result's distance from the graph, its covariance widened by the slack."""
        slack = np.diag([slack_m**2] * 3 + [np.radians(slack_deg) ** 2] * 3)
        residual = self._result_residual()
        whitened = np.linalg.solve(self.result_covariance + slack, residual[:, :, None])[:, :, 0]
        squared = np.einsum("ni,ni->n", residual, whitened)
        self.weight = np.where(self.has_result, self._geman_mcclure(squared), np.nan)

    def weigh_by_innovation(self) -> None:
        """Geman–McClure on how far each result is from what all others predict for it."""
        squared = np.zeros(len(self))
        for i, found in self.innovations().items():
            squared[i] = found.distance**2
        self.weight = np.where(self.has_result, self._geman_mcclure(squared), np.nan)
        self._single = None

    def set_weights(self, images: Iterable[int], weight: float) -> None:
        """Give the results of some images another weight; 0 takes them out."""
        self.weight[list(images)] = weight
        self._single = None

    def innovations(self) -> dict[int, Innovation]:
        """By image, of every result that others predict."""
        found = {int(i): self._innovation(int(i)) for i in np.flatnonzero(self.has_result)}
        return {i: innovation for i, innovation in found.items() if innovation is not None}

    def innovations_without(self, out: Sequence[int], images: Sequence[int]) -> dict[int, Innovation | None]:
        """Of some images, when the results of others (`out`, themselves included) do not count; changes nothing."""
        before = self.weight, self.centre_m, self.rotation, self.scale, self._single
        self.weight = self.weight.copy()
        self.set_weights(out, 0.0)
        for _ in range(2):
            self.step()
        found = {i: self._innovation(i) for i in images}
        self.weight, self.centre_m, self.rotation, self.scale, self._single = before
        return found

    def _innovation(self, i: int) -> Innovation | None:
        """The result of an image against the prediction by all others; None where these do not fix the image."""
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
        apart_m, apart_deg = float(np.linalg.norm(apart[:3])), float(np.degrees(np.linalg.norm(apart[3:])))
        return Innovation(distance, apart_m, apart_deg, (predicted + predicted.T) / 2)

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
        squared = [found.distance**2 for found in self.innovations().values()]
        if squared:
            change = float(np.sqrt(np.median(squared) / MEDIAN_CHI2))
            factor = float(np.clip(self.noise_factors[0] * change, 1.0, FACTOR_RANGE[1]))
            self.noise_factors = (factor, factor)
            self._single = None

    def estimate_noise(self) -> None:
        """Factors on the noise of translation and rotation, from residuals and their redundancy (Förstner 1979)."""
        self.noise_factors = self.noise_without(0, 0)
        self._single = None

    def noise_without(self, first: int, end: int) -> tuple[float, float]:
        """The factors by all steps but first…end − 1."""
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

    def _geman_mcclure(self, squared: Float) -> Float:
        gamma2 = self.options.robust_distance**2
        return np.asarray((gamma2 / (gamma2 + squared)) ** 2)

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
        """(N − 1, 6) noise of every step; the factors apply to reconstructions only."""
        inside = (self.motion.group >= 0)[:, None]
        factors = np.where(inside, np.array(self.noise_factors), 1.0)
        return np.concatenate([self._base_sigma_m * factors[:, :1], self.motion.sigma_rad * factors[:, 1:]], axis=1)

    def _add_scales(self, diagonal: Float, upper: Float, gradient: Float) -> None:
        """Priors of the log-scales: nearly metric where a reconstruction begins, a random walk along it."""
        group, value = self.motion.group, np.log(self.scale)
        begins = np.concatenate([[True], group[1:] != group[:-1]]) | (group < 0)
        start_sigma = np.where(group < 0, FIXED_SCALE_SIGMA, self.motion.scale_sigma)
        variance = np.where(begins, start_sigma, self._scale_walk()) ** 2
        before = np.where(begins, 0.0, np.concatenate([[0.0], value[:-1]]))
        information, pull = 1.0 / variance, (value - before) / variance
        diagonal[:-1, 6, 6] += information
        gradient[:-1, 6] += pull
        walks = np.flatnonzero(~begins)
        diagonal[walks - 1, 6, 6] += information[walks]
        upper[walks - 1, 6, 6] -= information[walks]
        gradient[walks - 1, 6] -= pull[walks]
        diagonal[-1, 6, 6] += 1.0 / FIXED_SCALE_SIGMA**2


def _covariance(result: Pose | None) -> Float:
    """(6, 6) covariance of a result, floored; anything for an image without one (its weight is nan)."""
    if result is None:
        return np.eye(6)
    if result.covariance is None:
        raise ValueError("a single-image result needs its covariance to be weighed against the sequence")
    return np.asarray(result.covariance + RESULT_FLOOR)
