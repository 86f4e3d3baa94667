"""The bars that the estimator has to clear, each next to what a store of benchmarks/estimator.py says of it.

    python benchmarks/estimator_bars.py --store out/estimator.jsonl

Ratios are ratios of medians over the same queries; intervals are 95 % paired bootstrap. "open" is a bar that lies
inside the interval: more queries could turn the verdict.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from estimator import read

Value = tuple[float, float, float]
DRAWS = 2000


@dataclass(frozen=True)
class Bar:
    """median(method) of a figure in a cell, over that of `against` where given, must be at most `limit`."""

    what: str
    limit: float
    cell: str
    method: str
    against: str = ""
    figure: str = "error_m"


BARS = (
    Bar("1 anchor with neighbours over thesis", 0.20, "k1", "joint, calibrated", "thesis, predicted"),
    Bar("3 anchors over thesis", 0.12, "k3", "joint, calibrated", "thesis, predicted"),
    Bar("5 anchors over thesis", 0.10, "k5", "joint, calibrated", "thesis, predicted"),
    Bar("3 anchors over pooling", 0.15, "k3", "joint, calibrated", "pooled, predicted"),
    Bar("1 anchor, calibrated over LiDAR", 1.25, "k1", "joint, calibrated", "joint, lidar"),
    Bar("3 anchors, calibrated over LiDAR", 1.25, "k3", "joint, calibrated", "joint, lidar"),
    Bar("5 anchors, calibrated over LiDAR", 1.25, "k5", "joint, calibrated", "joint, lidar"),
    Bar("1 anchor, LiDAR, over pooling", 1.05, "k1", "joint, lidar", "pooled, lidar"),
    Bar("3 anchors, LiDAR, over pooling", 1.05, "k3", "joint, lidar", "pooled, lidar"),
    Bar("5 anchors, LiDAR, over pooling", 1.05, "k5", "joint, lidar", "pooled, lidar"),
    Bar("3 anchors, no depth at all, m", 0.12, "k3", "joint, none"),
    Bar("lone pair over thesis, position", 1.05, "k1", "joint, predicted", "thesis, predicted"),
    Bar("lone pair over thesis, rotation", 1.05, "k1", "joint, predicted", "thesis, predicted", "rotation_deg"),
    Bar("1 anchor over thesis, rotation", 0.6, "k1", "joint, calibrated", "thesis, predicted", "rotation_deg"),
    Bar("3 anchors over thesis, rotation", 0.6, "k3", "joint, calibrated", "thesis, predicted", "rotation_deg"),
    Bar("5 anchors over thesis, rotation", 0.6, "k5", "joint, calibrated", "thesis, predicted", "rotation_deg"),
    Bar("5 anchors, focal 2 % wrong, calibrated, m", 0.07, "k5 focal 2 %", "joint, calibrated"),
    Bar("5 anchors, focal 2 % wrong, no depth, m", 0.07, "k5 focal 2 %", "joint, none"),
)
FAILURE_LIMIT = 0.002


def judge(bar: Bar, rows: Sequence[dict[str, Any]]) -> str:
    """One line of the table."""
    upper = _by_seed(rows, bar.cell, bar.method, bar.figure)
    lower = _by_seed(rows, bar.cell, bar.against, bar.figure) if bar.against else dict.fromkeys(upper, 1.0)
    seeds = sorted(upper.keys() & lower.keys())
    if not seeds:
        return f"| {bar.what} | ≤ {bar.limit:g} | – | 0 | not run |"
    value, low, high = _ratio(np.array([upper[s] for s in seeds]), np.array([lower[s] for s in seeds]))
    verdict = "met" if value <= bar.limit else "**not met**"
    verdict += ", open" if low <= bar.limit <= high else ""
    return f"| {bar.what} | ≤ {bar.limit:g} | {value:.3f} [{low:.3f}–{high:.3f}] | {len(seeds)} | {verdict} |"


def _by_seed(rows: Sequence[dict[str, Any]], cell: str, method: str, figure: str) -> dict[int, float]:
    return {r["seed"]: r[figure] for r in rows if r["cell"] == cell and r["method"] == method}


def _ratio(upper: np.ndarray, lower: np.ndarray) -> Value:
    draws = np.random.default_rng(0).integers(0, len(upper), (DRAWS, len(upper)))
    ratios = np.median(upper[draws], axis=1) / np.median(lower[draws], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(np.median(upper) / np.median(lower)), float(low), float(high)


def failures(rows: Sequence[dict[str, Any]]) -> str:
    """Share of errors above 2 m of the calibrated estimator in the clean cells."""
    errors = [r["error_m"] for r in rows if r["method"] == "joint, calibrated" and r["cell"] in ("k1", "k3", "k5")]
    if not errors:
        return "| failures (> 2 m) | ≤ 0.2 % | – | 0 | not run |"
    count = int(np.sum(np.array(errors) > 2.0))
    verdict = "met" if count <= FAILURE_LIMIT * len(errors) else "**not met**"
    return f"| failures (> 2 m), 1, 3 and 5 anchors | ≤ 0.2 % | {count} of {len(errors)} | {len(errors)} | {verdict} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("out/estimator.jsonl"))
    parser.add_argument("--quick", action="store_true", help="what `estimator.py run --quick` stored")
    arguments = parser.parse_args()
    store = Path("out/quick/estimator.jsonl") if arguments.quick else arguments.store
    if not store.exists():
        print(f"{store}: run benchmarks/estimator.py first")
        return
    rows = read(store)
    print("| bar | limit | reached [95 %] | n | verdict |\n|---|---|---|---|---|")
    print("\n".join([*(judge(bar, rows) for bar in BARS), failures(rows)]))


if __name__ == "__main__":
    main()
