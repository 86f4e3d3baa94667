"""What the residuals leave of a pattern is part of the stated error; noise and what a matcher declares are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from localize.test_close_motion import CAMERA, PHOTO, seen

from geocorrect.geometry.tangent import unit_rays
from geocorrect.localize.joint import estimate
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution

SHARP = 0.18
"""Smooth errors as SIFT declares them."""


def patterned(amplitude_px: float, smooth_noise: float = SHARP) -> list[Observations]:
    """A street of three anchors, in a photo whose pixels are off in waves that no unknown of the lens describes."""
    found = []
    for o in seen(moving=0, standing=900):
        wave = amplitude_px * np.sin(2 * np.pi * o.query_px[:, ::-1] / [150.0, 310.0])
        px = o.query_px + wave
        found.append(replace(o, query_px=px, query_rays=unit_rays(CAMERA, px), smooth_noise=smooth_noise))
    return found


def widened(observations: list[Observations], monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """(factor on the stated standard deviation of the position, error in metres)."""
    sigmas = []
    for factor in (estimate.structure_factor, lambda joint, settled: 1.0):
        with monkeypatch.context() as patched:
            patched.setattr(estimate, "structure_factor", factor)
            solution = solve_joint(observations, CAMERA, LocalizeOptions(), 0)
        assert isinstance(solution, Solution)
        assert solution.world_from_cam.covariance is not None
        sigmas.append(np.sqrt(np.trace(solution.world_from_cam.covariance[:3, :3])))
    return float(sigmas[0] / sigmas[1]), float(np.linalg.norm(solution.world_from_cam.minus(PHOTO)[:3]))


def test_noise_widens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    factor, error_m = widened(patterned(0.0), monkeypatch)
    assert factor == 1.0
    assert error_m < 0.02


def test_a_pattern_widens_what_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (widened(patterned(px), monkeypatch)[0] for px in (0.1, 0.4))
    assert 1.0 < small < large


def test_a_matcher_whose_errors_are_smooth_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert widened(patterned(0.1, smooth_noise=1.0), monkeypatch)[0] == 1.0


def test_a_few_matches_have_no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [o.subset(np.arange(0, len(o), 12)) for o in patterned(0.4)]
    assert widened(few, monkeypatch)[0] == 1.0
