"""Least squares along a chain: solution and all marginals in time and memory proportional to its length.

Block-tridiagonal normal equations are eliminated from both ends; where the two eliminations meet, the marginal of one
block, or of two neighbours together, remains (the information form of the Kalman and Rauch–Tung–Striebel smoothers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


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
