"""Residuals that are smooth where a right model leaves noise: what the model lacks widens what is stated.

Matches of a rigid scene through a known lens leave residuals that hardly differ from one part of the photo to the next:
their medians over cells scatter as noise does (KITTI raw 0002, SIFT), besides the smooth errors that their matcher
declares. A vehicle that has been reconciled with the street, or a lens that bends in a way no unknown describes, leaves
a pattern of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median

from geocorrect.localize.joint.settle import Joint, Settled

Float = NDArray[np.float64]

CELLS = 24
"""About so many, as square as the photo allows."""
MIN_OF_CELL, MIN_CELLS = 12, 8
"""Matches of an anchor in a cell for a median, and cells of all anchors together."""
MIN_NOISE_PX = 0.01
"""Less is no noise of matches but of the arithmetic."""
DECLARED_RATIO = 1.35
"""Smooth errors of a matcher that declares 1, in units of its white ones."""
MAX_FACTOR = 10.0
"""On standard deviations."""


def structure_factor(joint: Joint, settled: Settled) -> float:
    """By how much the stated standard deviations are to be multiplied, at least 1.

    The square of the smooth part of the residuals over the noise within cells, in units of what the matcher declares of
    itself: pose, lens and records take most of a pattern, what is left is the rest. KITTI raw 0002, SIFT: 0.0 to 0.8 in
    right photos of three anchors and more (up to 1.1 of two), 1.4 to 4.7 beside a drawn lorry. One match of a track
    fixes its distance: only tracks of several anchors have residuals to look at.
    """
    problem, solved, camera = joint.problem, settled.solved, joint.camera
    used = solved.inliers & problem.shared[problem.track]
    across = max(round(np.sqrt(CELLS * camera.width / camera.height)), 1)
    down = max(round(CELLS / across), 1)
    size = np.array([camera.width / across, camera.height / down])
    pixels = problem.query_px[problem.track[used]]
    column, row = np.clip(pixels // size, 0, [across - 1, down - 1]).astype(int).T
    cells, residuals = (problem.anchor[used] * down + row) * across + column, solved.at.pixel[:, used]
    counts = np.bincount(cells, minlength=1)
    asked = np.flatnonzero(counts >= MIN_OF_CELL)
    if len(asked) < MIN_CELLS:
        return 1.0
    medians = np.zeros((2, len(counts)))
    medians[:, asked] = [median(one, cells, asked) for one in residuals]
    # Of two normal components: the median of the squared length is 2 ln 2 variances.
    noises2 = median(((residuals - medians[:, cells]) ** 2).sum(axis=0), cells, asked) / (2 * np.log(2))
    whole2 = np.median((medians[:, asked] ** 2).sum(axis=0)) / (2 * np.log(2))
    # A median of n errs by π/2 variances over n.
    smooth2 = max(float(whole2 - np.median(np.pi / 2 * noises2 / counts[asked])), 0.0)
    declared = np.mean([joint.observations[cell // (across * down)].smooth_noise for cell in asked])
    expected2 = max(float(np.median(noises2)), MIN_NOISE_PX**2) * float(DECLARED_RATIO * declared) ** 2
    if smooth2 <= expected2:
        return 1.0
    return min(smooth2 / expected2, MAX_FACTOR) if expected2 else MAX_FACTOR
