"""A small good scene that every case spoils in one way."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

TABLE = """id,file,lon_deg,lat_deg,height_m,heading_deg,width,height,fx,fy,cx,cy
a1,a1.png,12.5010,41.9010,80.0,90,64,48,60,60,31.5,23.5
a2,a2.png,12.5011,41.9010,80.0,90,64,48,60,60,31.5,23.5
"""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a valid table of two anchors and their images; the commands run inside it."""
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "anchors.csv").write_text(TABLE)
    for name in ("a1", "a2"):
        cv2.imwrite(str(folder / f"{name}.png"), np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8))
    monkeypatch.chdir(folder)
    for variable in ("MAPILLARY_TOKEN", "PGPASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    return folder
