"""Poses of photos with measured positions: every ray of a pair lies in one plane with the other's and the base.

    e = (p₂ − p₁) · (R₁ r₁ × R₂ r₂) = 0

in radians of the rays (Sampson), beside the measured position of the receiver, p + R·arm, on the track at the photo's
time plus the offset of the clocks, and, on request, cameras that stand upright on average. No points are estimated.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial.transform import Rotation

from geocorrect.anchors.readers.reconstruction.placing import LEVEL_SIGMA_DEG
from geocorrect.errors import InputError
from geocorrect.geometry.pose import Pose
from geocorrect.geometry.so3 import skew
from geocorrect.georeference.photos.problem import Float, PhotoPoses, PhotoProblem, SeenTogether
from geocorrect.georeference.photos.start import first_turns

CAUCHY_SCALES = (50.0, 10.0, 2.4)
"""Wide at first: the chain of the start drifts."""
ITERATIONS = 10
CONVERGED = 1e-5
"""Metres, radians, seconds."""
UNKNOWN = 1e-8
"""Information that keeps what nothing fixes finite."""
COLUMNS_AT_ONCE = 300


def solve_photos(problem: PhotoProblem) -> PhotoPoses:
    """Poses of the photos that hang together by their matches; InputError when there are none."""
    turns, offset_s = first_turns(problem)
    if not turns:
        raise InputError("no three photos in a row match each other; are they sharp, and a few metres apart?")
    return _Adjustment(problem, turns, offset_s).solve()


class _Adjustment:
    """Gauss-Newton over K photos (translation, rotation; world side), and the offset of the clocks last."""

    def __init__(self, problem: PhotoProblem, turns: dict[int, Rotation], offset_s: float) -> None:
        self.problem, self.rows, self.offset_s = problem, np.array(sorted(turns)), offset_s
        self.number = {int(row): number for number, row in enumerate(self.rows)}
        self.matrices: Float = np.array([turns[int(row)].as_matrix() for row in self.rows])
        self.places: Float = problem.antenna_m(offset_s)[self.rows] - self.matrices @ problem.arm_m
        self.pairs = [pair for pair in problem.pairs if pair.first in self.number and pair.second in self.number]
        self.n = 6 * len(self.rows) + 1
        self.agreement = 1.0

    def solve(self) -> PhotoPoses:
        for scale in CAUCHY_SCALES:
            for _ in range(ITERATIONS):
                factor, gradient = self._normal(scale)
                step = -factor.solve(gradient)
                moves = step[:-1].reshape(-1, 6)
                self.places = self.places + moves[:, :3]
                turned = Rotation.from_rotvec(np.clip(moves[:, 3:], -0.5, 0.5)).as_matrix()
                self.matrices = turned @ self.matrices
                self.offset_s += float(np.clip(step[-1], -0.5, 0.5))
                if np.abs(step).max() < CONVERGED:
                    break
        factor, _ = self._normal(CAUCHY_SCALES[-1])
        return self._result(factor)

    def _normal(self, scale: float) -> tuple[SuperLU, Float]:
        """(factorised information, gradient)."""
        blocks: list[tuple[np.ndarray, Float]] = []
        gradient, weighed = np.zeros(self.n), []
        parts = [*(self._pair(pair) for pair in self.pairs), *self._positions(), *self._level()]
        for number, (columns, jacobian, residual, share) in enumerate(parts):
            d2 = residual**2
            # A wrong match is one of many; but of a photo's place along the drive nothing else knows.
            power = 1.0 if number < len(self.pairs) else 0.5
            weight = share / (1.0 + d2 / scale**2) ** power
            blocks.append((columns, jacobian.T @ (weight[:, None] * jacobian)))
            gradient[columns] += jacobian.T @ (weight * residual)
            weighed.append((float((weight / share) @ d2), float((weight / share).sum())))
        i = np.concatenate([np.repeat(columns, len(columns)) for columns, _ in blocks])
        j = np.concatenate([np.tile(columns, len(columns)) for columns, _ in blocks])
        values = np.concatenate([block.ravel() for _, block in blocks])
        information = sparse.csc_matrix((values, (i, j)), shape=(self.n, self.n)) + UNKNOWN * sparse.eye(self.n)
        of_pairs = np.sum(weighed[: len(self.pairs)], axis=0)
        self.agreement = max(1.0, float(of_pairs[0] / max(1.0, of_pairs[1] - 5 * len(self.pairs))))
        return splu(information.tocsc()), gradient

    def _pair(self, pair: SeenTogether) -> tuple[np.ndarray, Float, Float, float]:
        first, second = self.number[pair.first], self.number[pair.second]
        base = self.places[second] - self.places[first]
        one, two = pair.first_rays @ self.matrices[first].T, pair.second_rays @ self.matrices[second].T
        across, to_one, to_two = np.cross(one, two), np.cross(two, base), np.cross(base, one)
        length = np.sqrt(np.sum(to_one**2 + to_two**2, axis=1)).clip(1e-9) * pair.sigma_rad
        # The angle does not change with the length of the base: else shorter bases would seem to fit better.
        along = base / max(float(np.linalg.norm(base)), 1e-9)
        moved = across - np.outer(across @ along, along)
        jacobian = np.hstack([-moved, np.cross(one, to_one), moved, np.cross(two, to_two)]) / length[:, None]
        columns = np.concatenate([np.arange(6 * first, 6 * first + 6), np.arange(6 * second, 6 * second + 6)])
        return columns, jacobian, across @ base / length, 1.0

    def _positions(self) -> list[tuple[np.ndarray, Float, Float, float]]:
        problem, found = self.problem, []
        measured = problem.antenna_m(self.offset_s)[self.rows]
        # One offset alone is what was said, or none: it stays.
        moves = problem.velocity_m_s(self.offset_s)[self.rows] * float(len(problem.offsets_s) > 1)
        share = min(1.0, problem.independent / len(problem.sigma_m))
        for k, row in enumerate(self.rows):
            arm = self.matrices[k] @ problem.arm_m
            jacobian = np.hstack([np.eye(3), -skew(arm), -moves[k][:, None]])
            residual = (self.places[k] + arm - measured[k]) / problem.sigma_m[row]
            columns = np.append(np.arange(6 * k, 6 * k + 6), self.n - 1)
            found.append((columns, jacobian / problem.sigma_m[row][:, None], residual, share))
        return found

    def _level(self) -> list[tuple[np.ndarray, Float, Float, float]]:
        if not self.problem.is_level:
            return []
        right, sigma = self.matrices[:, :, 0], np.radians(LEVEL_SIGMA_DEG)
        lean = np.cross(right, [0.0, 0.0, 1.0]) / sigma
        share = 1.0 / len(right)
        return [
            (np.arange(6 * k + 3, 6 * k + 6), lean[k][None], right[k, 2:] / sigma, share) for k in range(len(right))
        ]

    def _result(self, factor: SuperLU) -> PhotoPoses:
        """Poses with covariance: rotation from the rays, position as it was measured.

        The base lines tell nothing of an error that all positions share, so that no position is believed to be better
        than the receiver says, and none of its errors to average out.
        """
        problem, poses = self.problem, []
        rotation, offset_sigma_s = self._covariances(factor)
        velocity = problem.velocity_m_s(self.offset_s)[self.rows]
        for k, row in enumerate(self.rows):
            covariance = np.zeros((6, 6))
            slip = offset_sigma_s * velocity[k]
            covariance[:3, :3] = np.diag(problem.sigma_m[row] ** 2) + np.outer(slip, slip)
            covariance[3:, 3:] = rotation[k]
            poses.append(Pose(Rotation.from_matrix(self.matrices[k]), self.places[k], covariance))
        turn_deg = float(np.degrees(np.sqrt(np.linalg.eigvalsh(rotation)[:, -1].max())))
        return PhotoPoses(self.rows, tuple(poses), self.offset_s, offset_sigma_s, turn_deg)

    def _covariances(self, factor: SuperLU) -> tuple[Float, float]:
        """((K, 3, 3) of the rotations, sigma of the offset)."""
        wanted = np.concatenate([np.arange(6 * k + 3, 6 * k + 6) for k in range(len(self.rows))])
        found = np.zeros((len(self.rows), 3, 3))
        for start in range(0, len(wanted), COLUMNS_AT_ONCE):
            some = wanted[start : start + COLUMNS_AT_ONCE]
            unit = np.zeros((self.n, len(some)))
            unit[some, np.arange(len(some))] = 1.0
            columns = factor.solve(unit)
            for place, column in enumerate(some):
                k = column // 6
                found[k, :, column % 6 - 3] = columns[6 * k + 3 : 6 * k + 6, place]
        last = np.zeros(self.n)
        last[-1] = 1.0
        is_estimated = len(self.problem.offsets_s) > 1
        offset_sigma_s = float(np.sqrt(self.agreement * factor.solve(last)[-1])) if is_estimated else 0.0
        symmetric: Float = self.agreement * (found + np.swapaxes(found, 1, 2)) / 2
        return symmetric, offset_sigma_s
