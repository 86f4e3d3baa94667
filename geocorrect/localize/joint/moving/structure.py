"""Residuals that are smooth where a right model leaves noise: what the model lacks widens what is stated.

Matches of a rigid scene through a known lens leave residuals that hardly differ from one part of the photo to the next:
their medians over cells scatter as noise does (KITTI raw 0002, SIFT), besides the smooth errors that their matcher
declares. A vehicle that has been reconciled with the street, a lens that bends in a way no unknown describes and rows
that were taken at other times leave a pattern of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.joint.settle import Joint, Settled

Float = NDArray[np.float64]

CELLS = 24
"""About so many, as square as the photo allows."""
MIN_OF_CELL, MIN_CELLS = 12, 8
"""Matches of an anchor in a cell for a median, and cells of all anchors together."""
DECLARED_RATIO = 1.35
"""Smooth errors of a matcher that declares 1, in units of its white ones."""
MAX_FACTOR = 10.0
"""On standard deviations."""


def structure_factor(joint: Joint, settled: Settled) -> float:
    """By how much the stated standard deviations are to be multiplied, at least 1.

    The square of the smooth part of the residuals over the noise within cells, in units of what the matcher declares of
    itself: pose, lens and records take most of a pattern, what is left is the rest. KITTI raw 0002, SIFT: 0.2 to 0.8 in
    right photos of three anchors and more (up to 1.1 of two), 1.4 to 4.7 beside a drawn lorry. One match of a track
    fixes its distance: only tracks of several anchors have residuals to look at.
    """
    problem, solved, camera = joint.problem, settled.solved, joint.camera
    several = np.bincount(problem.track, minlength=problem.n_tracks)[problem.track] > 1
    across = max(round(np.sqrt(CELLS * camera.width / camera.height)), 1)
    down = max(round(CELLS / across), 1)
    size = np.array([camera.width / across, camera.height / down])
    medians2, noises2, counts, declared = [], [], [], []
    for o, own in zip(joint.observations, problem.rows, strict=True):
        rows = np.arange(own.start, own.stop)
        rows = rows[solved.inliers[rows] & several[rows]]
        column, row = np.clip(o.query_px[problem.source[rows]] // size, 0, [across - 1, down - 1]).astype(int).T
        for cell in range(across * down):
            residuals = solved.at.pixel[:, rows[row * across + column == cell]]
            n = residuals.shape[1]
            if n < MIN_OF_CELL:
                continue
            median = np.median(residuals, axis=1)
            # Of two normal components: the median of the squared length is 2 ln 2 variances.
            noise2 = np.median(((residuals - median[:, None]) ** 2).sum(axis=0)) / (2 * np.log(2))
            medians2.append(float(median @ median) / (2 * np.log(2)))
            noises2.append(float(noise2))
            counts.append(n)
            declared.append(o.smooth_noise)
    if len(medians2) < MIN_CELLS:
        return 1.0
    noise2 = float(np.median(noises2))
    # A median of n errs by π/2 variances over n.
    by_noise2 = float(np.median(np.pi / 2 * np.array(noises2) / np.array(counts)))
    smooth2 = max(float(np.median(medians2)) - by_noise2, 0.0)
    ratio = np.sqrt(smooth2 / noise2) / (DECLARED_RATIO * float(np.mean(declared)))
    return float(np.clip(ratio**2, 1.0, MAX_FACTOR))
