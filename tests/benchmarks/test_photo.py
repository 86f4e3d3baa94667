"""`benchmarks/photo.py` times functions where they are called: each must be there. The measuring takes minutes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simulation.estimator import SimulatorOptions, simulate
from simulation.estimator_observe import observe_case

ROOT = Path(__file__).resolve().parents[2]


def test_the_solve_and_its_covariance_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "photo", raising=False)
    photo = __import__("photo")
    options = photo.Settings().localize
    case = simulate(SimulatorOptions(anchors=2, neighbours_m=()), 0)
    observations = observe_case(case, "lidar", 0.2, options, 0)
    with photo.clocks() as spent:
        photo.estimate.solve_joint(observations, case.query_camera, options, 0)
    assert set(spent) == {"solve", "covariance"}
    assert min(spent.values()) > 0.0
