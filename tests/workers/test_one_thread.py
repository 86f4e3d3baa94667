"""Worker processes compute with one thread each, unless the user says otherwise."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from geocorrect.workers.process import one_thread_per_child

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def test_children_compute_with_one_thread_and_what_the_user_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    one_thread_per_child()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert list(pool.map(os.getenv, NAMES)) == ["1", "1", "3"]
