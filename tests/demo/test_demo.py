"""What the demo says before it works; what it does is in test_main_job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from geocorrect.demo.demo import DemoOptions, _about


def test_the_time_it_takes_counts_the_cores_that_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert _about(95.0, DemoOptions(Path("out"), workers=4)) == "about 100 s with 1 core"
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 4}, raising=False)
    assert _about(95.0, DemoOptions(Path("out"), workers=4)) == "about 30 s with 4 cores"
