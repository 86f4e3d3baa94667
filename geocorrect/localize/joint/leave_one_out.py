"""How far the pose would move without one of its anchors: one Newton step per anchor (Cook's distance of an anchor).

Two similar streets may agree on a pose; the anchor that saw the wrong one then pulls, and shows here even where its own
pose is close to the joint one because it was started from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geocorrect.localize.joint.normal import assemble, solve_step, whiten
from geocorrect.localize.joint.problem import Problem
from geocorrect.localize.joint.residuals import State
from geocorrect.localize.joint.solve import Solved
from geocorrect.records import NAN

Float = NDArray[np.float64]

DAMPING = 1e-3
"""Keeps the step finite where the other anchors do not fix the pose: there is then no shift, not a large one."""


def leave_one_out_m(problem: Problem, solved: Solved, prior_information: Float) -> float:
    """Largest horizontal shift in metres when one anchor is left out; nan with fewer than two anchors in use."""
    used = np.flatnonzero(solved.active > 0)
    if len(used) < 2:
        return NAN
    whitened = whiten(problem, solved.state, solved.at, solved.weights)
    return max(_shift_m(problem, solved.state, whitened, prior_information, int(anchor)) for anchor in used)


def _shift_m(problem: Problem, state: State, whitened: Float, prior_information: Float, anchor: int) -> float:
    rest = whitened.copy()
    rest[:, :, problem.rows[anchor]] = 0.0
    system = assemble(problem, state, rest, prior_information)
    try:
        step, _ = solve_step(system, DAMPING)
    except np.linalg.LinAlgError:
        return float("inf")
    length = float(np.linalg.norm(step[:2]))
    return length if np.isfinite(length) else float("inf")
