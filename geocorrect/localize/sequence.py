"""A whole sequence as one object: relative poses within it, single-image results against the world, one
robust pose graph.

The relative poses (the provider's SfM) are good from image to image and drift slowly in scale; the
single-image results are absolute but some are wrong. The graph carries one pose per image and one log-scale
per step that walks randomly; results enter under Geman–McClure on their Mahalanobis distance, graduated
(METHOD §3.6). Images without a result are placed by their neighbours, with a covariance that grows with the
distance from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

from geocorrect.geometry.pose import Pose, skew
from geocorrect.geometry.similarity import Similarity

Float = NDArray[np.float64]


@dataclass(frozen=True)
class SequenceOptions:
    """Noise of the relative poses and robustness (METHOD §3.6)."""

    rotation_deg_per_step: float = 0.15
    translation_share: float = 0.02
    translation_floor_m: float = 0.02
    scale_walk_per_step: float = 0.003
    scale_sigma: float = 0.5
    robust_sigma: float = 4.0
    """Mahalanobis distance (6 degrees of freedom) at which a result loses three quarters of its weight."""
    graduation: tuple[float, ...] = (8.0, 4.0, 2.0, 1.0)
    iterations_per_level: int = 4
    outlier_weight: float = 0.1
    min_results: int = 2
    start_tolerance_m: float = 2.0


@dataclass(frozen=True, eq=False)
class SequencePose:
    """One image after the adjustment: pose with covariance (6, 6); weight of its own result 0…1, nan where
    it had none; is_outlier marks a result that contradicts the sequence; steps_to_result: distance in images
    to the nearest trusted one.
    """

    world_from_cam: Pose
    weight: float
    is_outlier: bool
    steps_to_result: int


def adjust_sequence(
    sfm_from_cam: Sequence[Pose], results: Sequence[Pose | None], options: SequenceOptions
) -> list[SequencePose] | None:
    """Adjusted poses of all images in order, or None when too few results agree to place the sequence.

    sfm_from_cam: poses in the sequence's own frame, arbitrary similarity to the world. results: world_from_cam with
    covariance from single images, None where rejected.
    """
    if len(sfm_from_cam) != len(results):
        raise ValueError(f"{len(sfm_from_cam)} relative poses but {len(results)} results")
    known = [i for i, r in enumerate(results) if r is not None]
    if len(known) < options.min_results:
        return None
    start = robust_similarity(sfm_from_cam, results, options)
    if start is None:
        return None
    graph = _Graph(sfm_from_cam, results, start, options)
    for inflation in options.graduation:
        for _ in range(options.iterations_per_level):
            graph.step(inflation)
    weights = graph.weights(1.0)
    covariances = graph.covariances()
    trusted = np.array([i for i in known if weights[i] >= options.outlier_weight])
    if not len(trusted):
        return None
    return [
        SequencePose(
            Pose(graph.poses[i].rotation, graph.poses[i].translation_m, covariances[i]),
            float(weights[i]),
            bool(weights[i] < options.outlier_weight),
            int(np.abs(trusted - i).min()),
        )
        for i in range(len(results))
    ]


def robust_similarity(
    sfm_from_cam: Sequence[Pose], results: Sequence[Pose | None], options: SequenceOptions
) -> Similarity | None:
    """world_from_sfm that most results agree with; hypotheses from pairs of results, turned by their own rotations.

    Rotations make it well conditioned on straight streets, where positions alone leave the roll free.
    """
    known = [i for i, r in enumerate(results) if r is not None]
    world = np.array([results[i].translation_m for i in known])  # type: ignore[union-attr]
    local = np.array([sfm_from_cam[i].translation_m for i in known])
    turns = [
        results[i].rotation * sfm_from_cam[i].rotation.inv()  # type: ignore[union-attr]
        for i in known
    ]
    best: Similarity | None = None
    best_cost = np.inf
    for a in range(len(known)):
        for b in range(a + 1, len(known)):
            length = np.linalg.norm(local[b] - local[a])
            if length < 1e-6:
                continue
            scale = float(np.linalg.norm(world[b] - world[a]) / length)
            if scale <= 0:
                continue
            rotation = Rotation.concatenate([turns[a], turns[b]]).mean()
            middle = (world[a] + world[b]) / 2 - scale * rotation.as_matrix() @ (local[a] + local[b]) / 2
            candidate = Similarity(scale, rotation, middle)
            off = np.linalg.norm(candidate.apply(local) - world, axis=1)
            tolerance = options.start_tolerance_m + 0.02 * np.linalg.norm(world - (world[a] + world[b]) / 2, axis=1)
            ratio = (off / tolerance) ** 2
            cost = float((ratio / (1 + ratio)).sum())
            if cost < best_cost:
                best, best_cost = candidate, cost
    return best


class _Graph:
    """Unknowns: six per image (world-side perturbation) and one log-scale per step."""

    def __init__(
        self,
        sfm_from_cam: Sequence[Pose],
        results: Sequence[Pose | None],
        start: Similarity,
        options: SequenceOptions,
    ) -> None:
        self.options, self.results = options, results
        self.poses = [start.apply_pose(p) for p in sfm_from_cam]
        self.n = len(self.poses)
        self.steps = [sfm_from_cam[i].inverse() @ sfm_from_cam[i + 1] for i in range(self.n - 1)]
        self.base_scale = np.log(start.scale)
        self.log_scale = np.zeros(max(self.n - 1, 0))
        self.whitening = [None if r is None else _whitening(r) for r in results]

    def weights(self, inflation: float) -> Float:
        """(N,) robust weights of the results at the current poses; nan where there is none."""
        gamma2 = (self.options.robust_sigma * inflation) ** 2
        values = np.full(self.n, np.nan)
        for i, (result, whitening) in enumerate(zip(self.results, self.whitening, strict=True)):
            if result is not None and whitening is not None:
                squared = float(((whitening @ self.poses[i].minus(result)) ** 2).sum())
                values[i] = (gamma2 / (gamma2 + squared)) ** 2
        return values

    def step(self, inflation: float) -> None:
        """One Gauss–Newton step."""
        jacobian, residual = self._linearise(inflation)
        information = (jacobian.T @ jacobian + 1e-9 * sparse.eye(jacobian.shape[1])).tocsc()
        step = splu(information).solve(-(jacobian.T @ residual))
        for i in range(self.n):
            self.poses[i] = self.poses[i].perturbed(step[6 * i : 6 * i + 6])
        self.log_scale = self.log_scale + step[6 * self.n :]

    def covariances(self) -> list[Float]:
        """(6, 6) marginal covariance of every pose."""
        jacobian, _ = self._linearise(1.0)
        solver = splu((jacobian.T @ jacobian + 1e-9 * sparse.eye(jacobian.shape[1])).tocsc())
        blocks = []
        for i in range(self.n):
            unit = np.zeros((jacobian.shape[1], 6))
            unit[6 * i : 6 * i + 6] = np.eye(6)
            block = solver.solve(unit)[6 * i : 6 * i + 6]
            blocks.append((block + block.T) / 2)
        return blocks

    def _linearise(self, inflation: float) -> tuple[sparse.csr_matrix, Float]:
        """Whitened Jacobian (R, 6N + N − 1) and residual (R,)."""
        residuals: list[Float] = []
        blocks: list[tuple[int, int, Float]] = []
        at = 0
        weights = self.weights(inflation)
        for i, (result, whitening) in enumerate(zip(self.results, self.whitening, strict=True)):
            if result is None or whitening is None:
                continue
            root = np.sqrt(weights[i])
            blocks.append((at, 6 * i, root * whitening))
            residuals.append(root * whitening @ self.poses[i].minus(result))
            at += 6
        for i in range(self.n - 1):
            residual, parts = self._relative(i)
            blocks += [(at, column, block) for column, block in parts]
            residuals.append(residual)
            at += 6
        walk = 1.0 / self.options.scale_walk_per_step
        for i in range(self.n - 1):
            column = 6 * self.n + i
            if i == 0:
                blocks.append((at, column, np.array([[1.0 / self.options.scale_sigma]])))
                residuals.append(np.array([self.log_scale[0] / self.options.scale_sigma]))
            else:
                blocks += [(at, column, np.array([[walk]])), (at, column - 1, np.array([[-walk]]))]
                residuals.append(np.array([walk * (self.log_scale[i] - self.log_scale[i - 1])]))
            at += 1
        return _assemble(blocks, at, 7 * self.n - 1), np.concatenate(residuals)

    def _relative(self, i: int) -> tuple[Float, list[tuple[int, Float]]]:
        """Whitened residual (6,) of step i → i + 1 and its blocks (first column, (6, …))."""
        o, first, second, measured = self.options, self.poses[i], self.poses[i + 1], self.steps[i]
        back = first.rotation.as_matrix().T
        between = second.translation_m - first.translation_m
        shift = np.exp(self.base_scale + self.log_scale[i]) * measured.translation_m
        sigma_t = np.hypot(o.translation_share * np.linalg.norm(shift), o.translation_floor_m)
        sigma_r = np.radians(o.rotation_deg_per_step)
        turn = (measured.rotation.inv() * first.rotation.inv() * second.rotation).as_rotvec()
        residual = np.concatenate([(back @ between - shift) / sigma_t, turn / sigma_r])
        to_second = second.rotation.as_matrix().T
        by_first, by_second, by_scale = np.zeros((6, 6)), np.zeros((6, 6)), np.zeros((6, 1))
        by_first[:3, :3], by_first[:3, 3:] = -back / sigma_t, back @ skew(between) / sigma_t
        by_second[:3, :3] = back / sigma_t
        by_first[3:, 3:], by_second[3:, 3:] = -to_second / sigma_r, to_second / sigma_r
        by_scale[:3, 0] = -shift / sigma_t
        return residual, [(6 * i, by_first), (6 * i + 6, by_second), (6 * self.n + i, by_scale)]


def _whitening(result: Pose) -> Float:
    """(6, 6) W with Wᵀ W the inverse covariance; a result without covariance is a programming error."""
    if result.covariance is None:
        raise ValueError("a single-image result needs its covariance to be weighed against the sequence")
    floor = np.diag([0.01**2] * 3 + [np.radians(0.02) ** 2] * 3)
    whitening: Float = np.linalg.inv(np.linalg.cholesky(result.covariance + floor))
    return whitening


def _assemble(blocks: Sequence[tuple[int, int, Float]], n_rows: int, n_columns: int) -> sparse.csr_matrix:
    row_index, column_index, values = [], [], []
    for row, column, block in blocks:
        r, c = np.indices(block.shape)
        row_index.append((row + r).ravel())
        column_index.append((column + c).ravel())
        values.append(block.ravel())
    entries = (np.concatenate(values), (np.concatenate(row_index), np.concatenate(column_index)))
    return sparse.csr_matrix(entries, shape=(n_rows, n_columns))
