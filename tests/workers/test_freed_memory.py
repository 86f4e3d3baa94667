"""A worker's process keeps what it frees: the kernel clears no page twice."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
if sys.argv[1] == "kept":
    from geocorrect.workers.freed_memory import keep_freed_memory
    assert keep_freed_memory()
def faults_of(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        arrays = [np.ones(n, np.float32) for n in (4_000_000, 3_000_000, 4_000_000)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of(2)
print(faults_of(10))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_arrays_of_megabytes_are_not_asked_of_the_kernel_again() -> None:
    kept, usual = (
        int(subprocess.run([sys.executable, "-c", CODE, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "usual")
    )
    assert kept < 0.1 * usual
