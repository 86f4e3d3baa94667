"""A catalog that QGIS is to open, and how to bring it to a server."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geocorrect.catalog import Catalog, ResultFilter, RunManifest

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("in_qgis.py")


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
    pictures = Path(os.environ.get("GEOCORRECT_QGIS_PICTURES") or folder).absolute()
    pictures.mkdir(parents=True, exist_ok=True)
    job = {"layers": layers, "projects": [] if project is None else [str(project)], "pictures": str(pictures)}
    (folder / "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    command = [SYSTEM_PYTHON, str(SCRIPT), str(folder / "job.json"), str(folder / "result.json")]
    done = subprocess.run(
        command, env=environment | (more or {}), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result
