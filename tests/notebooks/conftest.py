"""What the demo leaves; and a folder like it whose numbers are known beforehand."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from support import catalog_world as world
from support.demo_output import demo_output

from geocorrect.catalog import Catalog
from geocorrect.errors import Reason, Status
from geocorrect.records import Correction, Image, Pair, Rejection, Result

COUNT = 30
REJECTED = (7, 17, 27)
TRUE_SIGMA_M = (0.04**0.5, 0.1)
"""Standard deviations east and north of the covariance that catalog_world gives to corrections."""


def _image(index: int, rng: np.random.Generator) -> Image:
    bias_m = np.array([[4.0, 3.0], [-6.0, 2.0], [1.0, -7.0]])[index // 10]
    return world.image(index, bias_m + rng.normal(0, 0.3, 2), float(rng.normal(8, 2)))


def _result(index: int, rng: np.random.Generator) -> Result:
    if index in REJECTED:
        return Rejection(f"{1000 + index}", Reason.TOO_FEW_INLIERS, "11 inliers, 30 needed", world.evidence(index))
    error_m = rng.normal(0, TRUE_SIGMA_M)
    status = Status.REVIEW if index == 12 else Status.ACCEPTED
    made = world.correction(index, status, [5.0 * index + error_m[0], -2.0 + error_m[1], 1.8])
    assert isinstance(made, Correction)
    return replace(made, expected_error_m=0.2 + 0.005 * index)


def _truth() -> dict[str, object]:
    photos = {}
    for index in range(COUNT):
        lon, lat, height = world.ROME.wgs84_from_enu([5.0 * index, -2.0, 1.8])
        photos[f"{1000 + index}"] = {"lon_deg": float(lon), "lat_deg": float(lat), "height_m": float(height)}
    return {
        "photos": photos,
        "frame": asdict(world.ROME),
        "building_outlines_m": [[[0, 5], [150, 5], [150, 15], [0, 15]]],
    }


@pytest.fixture(scope="session")
def real_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_output(tmp_path_factory.mktemp("real-demo"))


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    rng = np.random.default_rng(4)
    with Catalog.open(str(folder / "corrections.gpkg"), create=True) as catalog:
        catalog.set_frame(world.ROME)
        catalog.add_alignment(world.alignment())
        catalog.upsert_anchors(world.anchor(i) for i in range(COUNT + 2))
        catalog.upsert_images([_image(i, rng) for i in range(COUNT)])
        catalog.begin_run(world.manifest())
        pairs = [Pair(f"{1000 + i}", f"anchor-{i:02d}", 0, 2.0, 3.0) for i in range(COUNT)]
        catalog.record("run-a", [_result(i, rng) for i in range(COUNT)], pairs)
        catalog.finish_run("run-a", duration_s=3.0)
    (folder / "world").mkdir()
    (folder / "world" / "truth.json").write_text(json.dumps(_truth()), encoding="utf-8")
    return folder
