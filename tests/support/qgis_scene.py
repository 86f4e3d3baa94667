"""A catalog that QGIS is to open, and how to bring it to a server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.catalog import Catalog, ResultFilter, RunManifest
from geocorrect.demo.summary import MapView
from geocorrect.demo.world.truth import read_truth
from geocorrect.geometry.frame import Frame
from geocorrect.report.wording import length

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("in_qgis.py")
LAYOUT = Path(__file__).with_name("before_after_in_qgis.py")


@dataclass(frozen=True)
class Scene:
    """A catalog and how many features each of its layers has."""

    name: str
    catalog: Path
    counts: dict[str, int]


def copy_catalog(source: Catalog, target: Catalog) -> None:
    """Everything in force, through the interface that the pipeline uses."""
    frame = source.frame()
    assert frame is not None
    target.set_frame(frame)
    for alignment in source.alignments():
        target.add_alignment(alignment)
    target.upsert_anchors(source.anchors().values())
    target.upsert_images(source.images().values())
    for stored in source.runs():
        target.begin_run(RunManifest(stored.run_key, stored.started_at))
        target.record(stored.run_key, [found.result for found in source.results(ResultFilter(run_key=stored.run_key))])


def in_qgis(
    folder: Path, layers: list[tuple[str, str, str]], project: Path | None, more: dict[str, str] | None = None
) -> dict[str, Any]:
    """What QGIS says of layers (provider, source, name) and of a project; more: environment variables."""
    pictures = pictures_folder(folder)
    job = {"layers": layers, "projects": [] if project is None else [str(project)], "pictures": str(pictures)}
    (folder / "job.json").write_text(json.dumps(job))
    _run(folder, more or {}, str(SCRIPT), str(folder / "job.json"), str(folder / "result.json"))
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def pictures_folder(folder: Path) -> Path:
    """Where pictures go that QGIS draws: GEOCORRECT_QGIS_PICTURES, else the test's folder."""
    pictures = Path(os.environ.get("GEOCORRECT_QGIS_PICTURES") or folder).absolute()
    pictures.mkdir(parents=True, exist_ok=True)
    return pictures


def draw_before_after(demo: Path, project: Path) -> Path:
    """A page of two QGIS maps of the demo's street, its photos as reported and as corrected.

    Args:
        demo: what `geocorrect demo` leaves: its summary, and the truth of its world.
        project: the QGIS project of its catalog.
    """
    summary = json.loads((demo / "summary.json").read_text())
    truth = read_truth(demo / "world" / "truth.json")
    view = MapView.fitted_to(truth.anchors_m[:, :2])
    outlines = [("building", ring) for ring in truth.building_outlines_m]
    outlines += [("object", ring) for ring in truth.object_outlines_m]
    features = [
        {"type": "Feature", "properties": {"kind": kind},
         "geometry": {"type": "Polygon", "coordinates": [_lon_lat(truth.frame, [*ring, ring[0]])]}}
        for kind, ring in outlines
    ]  # fmt: skip
    folder = project.parent
    (folder / "street.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    centre, along = _lon_lat(truth.frame, [view.centre_m, view.centre_m + 50.0 * view.along])
    picture = pictures_folder(folder) / "before_after.png"
    job = {
        "project": str(project), "street": str(folder / "street.geojson"), "centre": centre, "along": along,
        "before": f"Before: as reported, {length(summary['reported_median_m'])} off in the median",
        "after": f"After: corrected, {length(summary['corrected_median_m'])} off in the median",
        "picture": str(picture),
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    _run(folder, {}, str(LAYOUT), str(folder / "job.json"))
    return picture


def _lon_lat(frame: Frame, points_m: Sequence[Any]) -> list[list[float]]:
    plane = np.asarray(points_m, float)[:, :2]
    lon, lat, _ = frame.wgs84_from_enu(np.column_stack([plane, np.zeros(len(plane))]))
    return [[float(x), float(y)] for x, y in zip(lon, lat, strict=True)]


def _run(folder: Path, more: dict[str, str], *command: str) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    done = subprocess.run(
        [SYSTEM_PYTHON, *command], env=environment | more, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
