"""A catalog that QGIS is to open, and how to bring it to a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geocorrect.catalog import Catalog, ResultFilter, RunManifest

SYSTEM_PYTHON = "/usr/bin/python3"


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
