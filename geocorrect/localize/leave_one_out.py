"""How far the pose would move without one of its anchors: one Newton step per anchor from the pose of all (Cook's
distance of an anchor).

Two streets that look alike may agree on a pose; the anchor that saw the wrong one then pulls, and shows here even
where its own pose is close to the joint one because it was started from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.joint_problem import Problem
from geocorrect.localize.joint_solve import Solved, Weights, normal_equations, solve_step
from geocorrect.records import NAN

Float = NDArray[np.float64]

DAMPING = 1e-3
"""Keeps the step finite where the other anchors do not fix the pose: it is then no shift, not a large one."""


def leave_one_out_m(problem: Problem, solved: Solved, prior_information: Float) -> float:
    """Largest horizontal shift in metres when one anchor is left out; nan with fewer than two anchors in use."""
    used = np.flatnonzero(solved.active > 0)
    if len(used) < 2:
        return NAN
    shifts = [_shift_m(problem, solved, prior_information, int(anchor)) for anchor in used]
    return float(max(shifts))


def _shift_m(problem: Problem, solved: Solved, prior_information: Float, anchor: int) -> float:
    kept = (problem.anchor != anchor).astype(float)
    weights = Weights(solved.weights.pixel * kept, solved.weights.depth * kept, solved.weights.support * kept)
    system = normal_equations(problem, solved.state, solved.at, weights, prior_information)
    try:
        step, _ = solve_step(system, DAMPING)
    except np.linalg.LinAlgError:
        return float("inf")
    length = float(np.linalg.norm(step[:2]))
    return length if np.isfinite(length) else float("inf")
