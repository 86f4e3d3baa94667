"""Files of many results: processor time, memory and size of the formats that sort or tile.

    python benchmarks/export_formats.py [--results 1000000] [--quick]

Photos lie along streets 100 m apart in a town of 20 km, with 16-digit ids and values that do not compress. Every
format is written in a process of its own; memory is its largest anonymous part (pages of mapped files, which the
system may drop, are left out).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.export.features import PROPERTIES
from geocorrect.export.parquet.geoparquet import write_geoparquet
from geocorrect.export.tiles.pmtiles import write_pmtiles

WRITERS = {"pmtiles": write_pmtiles, "parquet": write_geoparquet}


def tables(count: int) -> Iterator[dict[str, Any]]:
    """Chunks of a thousand, as the catalog gives them."""
    rng, rows = np.random.default_rng(0), 1000
    texts = {
        "status": "accepted", "matcher": "sift", "depth": "lidar", "scale_source": "both", "run_key": "a" * 64,
        "creator": "ana", "page_url": "https://example.org/1", "licence": "CC-BY-SA-4.0", "sequence_id": "sequence",
        "captured_at": "2026-01-01T00:00:00.000Z", "recorded_at": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip
    for _ in range(0, count, rows):
        street, along = rng.integers(0, 200, rows) * 0.0009, rng.uniform(0, 0.18, rows)
        turned = rng.random(rows) < 0.5
        table: dict[str, Any] = {name: [None] * rows for name in ("reason", "detail")}
        table |= {name: [text] * rows for name, text in texts.items()}
        table |= {name: rng.uniform(0, 10, rows) for name, digits in PROPERTIES.items() if digits is not None}
        table |= {"n_anchors": [5] * rows, "n_inliers": [200] * rows, "depth_is_oracle": [True] * rows}
        table["image_id"] = [str(number) for number in rng.integers(10**15, 10**16, rows)]
        table["expected_error_m"], table["heading_deg"] = rng.gamma(2.0, 0.1, rows), rng.uniform(0, 360, rows)
        table["lon_deg"] = 12.4 + np.where(turned, street, along) * 1.34
        table["lat_deg"], table["height_m"] = 41.8 + np.where(turned, along, street), rng.uniform(40, 60, rows)
        yield table


def anonymous_mb() -> float:
    """Memory of this process that no file backs."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


def one(name: str, count: int, folder: Path) -> None:
    """Write one file and print what it took."""
    over, peak, before = threading.Event(), [0.0], anonymous_mb()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, path = time.process_time(), folder / f"out.{name}"
    written = WRITERS[name](tables(count), path)
    seconds = time.process_time() - start
    over.set()
    watcher.join()
    size = path.stat().st_size / 1e6
    took = f"{seconds:6.1f} s of processor, {peak[0] - before:4.0f} MB more"
    print(f"{name:8s} {written} results: {took}, file {size:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    count = 20_000 if given.quick else given.results
    if given.one:
        with tempfile.TemporaryDirectory() as folder:
            one(given.one, count, Path(folder))
        return
    for name in WRITERS:
        subprocess.run([sys.executable, __file__, "--one", name, "--results", str(count)], check=True)


if __name__ == "__main__":
    main()
