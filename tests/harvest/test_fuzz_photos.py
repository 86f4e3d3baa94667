"""Damaged photos and tags: no traceback, no hang, no memory above 1 GiB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import photo_fuzz

KINDS = ("exif", "xmp", "jpeg", "png", "webp")


def fuzz(kind: str, count: int) -> None:
    paths = os.pathsep.join([str(Path(photo_fuzz.__file__).parents[1]), *sys.path])
    command = [sys.executable, photo_fuzz.__file__, kind, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert f"{count} seeds, 0 failed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_some_hundred_seeds(kind: str, tmp_path: Path) -> None:
    target = photo_fuzz.targets(tmp_path)[kind]
    for seed in range(200):
        target(seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hundred_thousand_seeds(kind: str) -> None:
    fuzz(kind, 100_000)
