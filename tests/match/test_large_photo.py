"""Photos of more than a hundred megapixels, in bounded memory."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from geocorrect.errors import ExitCode

HEADER = "file,lon_deg,lat_deg,height_m,heading_deg,width,height,fx,fy,cx,cy"


def street(seed: int) -> NDArray[np.uint8]:
    """(512, 512, 3) something to find features in, at several scales."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.normal(0, 30, (size, size, 3)), (512, 512), interpolation=cv2.INTER_CUBIC)
              for size in (8, 32, 128)]  # fmt: skip
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_134_megapixels_are_localised_within_3_gib(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "anchor.png"), street(0))
    (tmp_path / "anchors.csv").write_text(f"{HEADER}\nanchor.png,12.5,41.9,50,0,512,512,400,400,255.5,255.5\n")
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.tile(street(0), (16, 32, 1)))
    options = "--focal 14000 --position 12.5,41.9 --anchors anchors.csv --format table --crs EPSG:4326"
    options += " --height-reference ellipsoid --depth triangulated"
    command = [sys.executable, "-m", "geocorrect", "localize", "photo.jpg", *options.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    # It repeats itself 512 times, so that no pose is found; an unreadable photo or too little memory say other things.
    assert done.returncode == ExitCode.TOO_MANY_REJECTED, done.stderr
    assert "match" in done.stderr
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert 1 < peak_gib < 3, peak_gib
