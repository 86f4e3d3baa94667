"""What the sequence step does to the demo: to all its results, and when most of them are hidden.

    geocorrect demo --out out/demo
    python benchmarks/sequences_demo.py out/demo

Works on copies of the catalog. The demo's provider gives computed positions with 0.15 m of noise, a constant shift and
rotations that are turned by a degree or two; 12 of its photos cannot be localised.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings, load_settings
from geocorrect.demo.world.truth import DemoTruth, read_truth
from geocorrect.errors import Status
from geocorrect.jobs.sequences import adjust_due_sequences
from geocorrect.records import Correction

KEPT_SHARE, LEAST_KEPT = 0.4, 3
DRAWS = 4
FALSE_M = 1.0


def judged(catalog: Catalog, truth: DemoTruth, label: str) -> None:
    """Print what is active against the truth."""
    frame = catalog.frame()
    assert frame is not None
    accepted, placed, inside = [], [], []
    for stored in catalog.current():
        result, photo = stored.result, truth.photos[stored.image_id]
        if not isinstance(result, Correction):
            continue
        place = [float(v) for v in frame.wgs84_from_enu(result.world_from_cam.translation_m)]
        off = truth.frame.enu_from_wgs84(*place) - photo.world_from_cam.translation_m
        row = (float(np.linalg.norm(off[:2])), result.status is Status.ACCEPTED, photo.localisable)
        accepted += [row] if row[1] else []
        if result.evidence.matcher == "sequence":
            placed.append(row)
            inside.append(row[0] <= result.expected_error_m)
    wrong = sum(error > FALSE_M for error, *_ in accepted)
    elsewhere = sum(not localisable for *_, localisable in [*accepted, *placed])
    print(f"{label}: {len(accepted)} accepted, {wrong} more than {FALSE_M:.0f} m off; not localisable: {elsewhere}")
    if placed:
        good, waiting = (
            [error for error, is_accepted, _ in placed if is_accepted is wanted] for wanted in (True, False)
        )
        print(
            f"  {len(placed)} placed; {len(good)} accepted: median {np.median(good):.2f} m, at most {max(good):.2f} m"
        )
        print(f"  {len(waiting)} for review: at most {max(waiting, default=float('nan')):.2f} m")
        print(f"  predicted 68 % radius holds {np.mean(inside):.0%}")


def copied(source: Path, target: Path) -> Catalog:
    """A copy of a catalog, also of what is still in its write-ahead log."""
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    return Catalog.open(str(target), create=True)


def hidden(catalog: Catalog, truth: DemoTruth, draw: int) -> list[str]:
    """Ids to hide: of every sequence all but two fifths of the results, and at least three."""
    by_sequence: dict[str, list[str]] = defaultdict(list)
    for stored in catalog.current():
        if stored.status is not Status.REJECTED:
            by_sequence[truth.photos[stored.image_id].sequence].append(stored.image_id)
    rng = random.Random(draw)
    return [
        image_id
        for _, ids in sorted(by_sequence.items())
        for image_id in rng.sample(ids, max(0, len(ids) - max(LEAST_KEPT, round(KEPT_SHARE * len(ids)))))
    ]


def compare(source: Path, settings: Settings, truth: DemoTruth, folder: Path, draws: int = DRAWS) -> None:
    """All results first, then with most of them hidden."""
    with copied(source, folder / "all.gpkg") as catalog:
        judged(catalog, truth, "photos on their own")
        print(adjust_due_sequences(settings, catalog).sentence())
        judged(catalog, truth, "with sequences")
    for draw in range(draws):
        with copied(source, folder / f"{draw}.gpkg") as catalog:
            gone = hidden(catalog, truth, draw)
            catalog.retract(gone, "hidden")
            adjust_due_sequences(settings, catalog)
            judged(catalog, truth, f"{len(gone)} results hidden, draw {draw}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=Path("out/demo"))
    parser.add_argument("--quick", action="store_true", help="hide results once; left out where there is no demo")
    given = parser.parse_args()
    out: Path = given.out
    if given.quick and not (out / "corrections.gpkg").exists():
        print(f"{out}: no demo to look at; `geocorrect demo --out {out}` makes one")
        return
    settings = load_settings(out / "geocorrect.toml").settings
    draws = 1 if given.quick else DRAWS
    with tempfile.TemporaryDirectory() as folder:
        compare(out / "corrections.gpkg", settings, read_truth(out / "world" / "truth.json"), Path(folder), draws)


if __name__ == "__main__":
    main()
