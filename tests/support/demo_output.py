"""What `geocorrect demo` leaves, for tests that look at it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from geocorrect.catalog import Catalog
from support.world_cache import cached_demo

ROOT = Path(__file__).resolve().parents[2]


def demo_output(folder: Path) -> Path:
    """A copy of catalog, truth and summary, to do with as one likes.

    From the folder GEOCORRECT_DEMO, else from out/demo, else of the small demo that tests keep.
    """
    given = Path(os.environ.get("GEOCORRECT_DEMO") or ROOT / "out" / "demo")
    if not (given / "summary.json").exists():
        given = cached_demo()
    copy = folder / "demo"
    (copy / "world").mkdir(parents=True)
    shutil.copy(given / "world" / "truth.json", copy / "world" / "truth.json")
    shutil.copy(given / "summary.json", copy / "summary.json")
    with sqlite3.connect(given / "corrections.gpkg") as source, sqlite3.connect(copy / "corrections.gpkg") as target:
        source.backup(target)
    with Catalog.open(str(copy / "corrections.gpkg"), create=True):
        pass  # the views and styles of today, where the demo ran before
    return copy
