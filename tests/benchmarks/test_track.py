"""What `benchmarks/track.py` calls slower, and that its names are told apart. The measuring is `make bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def track(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "track", raising=False)
    return __import__("track")


def test_one_and_a_half_times_the_last_ratio_is_slower(track: ModuleType) -> None:
    now = {
        name: {"ratio": ratio, "low": 0.9, "high": 1.1, "n": 5} for name, ratio in (("a", 1.49), ("b", 1.5), ("c", 9.0))
    }
    said = track.report(now, {"a": {"ratio": 1.0}, "b": {"ratio": 1.0}}).splitlines()
    assert said[2:] == [
        "| a | 1.49 [0.90–1.10] | 5 | 1.00 |  |",
        "| b | 1.50 [0.90–1.10] | 5 | 1.00 | **1.5× slower** |",
        "| c | 9.00 [0.90–1.10] | 5 |  |  |",
    ]


def test_a_ratio_is_that_of_the_medians(track: ModuleType) -> None:
    said = track.ratio_of(np.array([1.0, 2.0, 3.0, 4.0, 9.0]), np.array([1.0, 2.0, 8.0]))
    assert said == {"ratio": 1.5, "low": 1.0, "high": 2.0, "n": 5}
