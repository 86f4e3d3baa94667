"""The estimator against its rivals on the simulator: resumable, prints the table of docs/accuracy.md.

    python benchmarks/estimator.py run --queries 300 --seconds 1200 --store out/estimator.jsonl
    python benchmarks/estimator.py table --store out/estimator.jsonl
    OMP_NUM_THREADS=1 python benchmarks/estimator.py speed --queries 20

Every row of the store is one query of one cell under one method. A second run continues where the first
stopped; cells advance together, so that a run that is cut short has the same n everywhere.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import Reason
from geocorrect.geometry.pose import Pose
from geocorrect.localize import pnp
from geocorrect.localize.estimators.options import OPENCV_VARIANTS
from geocorrect.localize.estimators.pooled import PoseLibEstimator
from geocorrect.localize.gate import as_mapping, gate_statistics
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.joint.initialise import choose_rows
from geocorrect.localize.observations import Observations
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Query
from simulation.estimator import SimulatedCase, SimulatorOptions, simulate
from simulation.estimator_noise import DepthNoise
from simulation.estimator_observe import DepthKind, observe_kinds

OPTIONS = LocalizeOptions()
SCALE_SIGMA = 0.2
BLANK = np.zeros((1, 1, 3), np.uint8)

CELLS: dict[str, SimulatorOptions] = {
    "k1": SimulatorOptions(anchors=1),
    "k2": SimulatorOptions(anchors=2),
    "k3": SimulatorOptions(anchors=3),
    "k5": SimulatorOptions(anchors=5),
    "k5 focal 2 %": SimulatorOptions(anchors=5, focal_error=0.02),
    "k5 focal 5 %": SimulatorOptions(anchors=5, focal_error=0.05),
    "k3 30 % wrong anchors": SimulatorOptions(anchors=3, wrong_anchor_share=0.3),
    "k5 30 % wrong anchors": SimulatorOptions(anchors=5, wrong_anchor_share=0.3),
    "k3 pose noise 0.1 m 0.2°": SimulatorOptions(anchors=3, anchor_position_m=0.1, anchor_rotation_deg=0.2),
    "k1 m 0.4": SimulatorOptions(anchors=1, depth_noise=DepthNoise(scale_sigma=0.4)),
}
"""Anchor spacing 3 m, m = 0.2 unless said otherwise."""

Solver = Callable[[Sequence[Observations], SimulatedCase], Solution | Pose | Reason | None]


def thesis(observations: Sequence[Observations], case: SimulatedCase) -> Pose | None:
    """The single best anchor, OpenCV's solvePnPRansac (SQPnP, 10,000 draws) at 8 px on predicted depth."""
    best = max(observations, key=len)
    origin = best.anchor.world_from_cam.translation_m
    focal = case.query_camera.focal_x_px
    found = pnp.opencv_pose(best.query_rays, best.points_m - origin, focal, 8.0, OPENCV_VARIANTS["opencv-sqpnp"], 0)
    if found is None:
        return None
    return Pose(found.world_from_cam.rotation, found.world_from_cam.translation_m + origin)


def _query(case: SimulatedCase) -> Query:
    return Query("q", BLANK, case.query_camera, case.reported_m)


def _pooled(tolerance_px: float) -> Solver:
    options = replace(OPTIONS, pnp=replace(OPTIONS.pnp, max_reprojection_px=tolerance_px))
    return lambda observations, case: PoseLibEstimator().solve(observations, _query(case), options, 0)


def _joint(observations: Sequence[Observations], case: SimulatedCase) -> Solution | Reason:
    return solve_joint(observations, case.query_camera, OPTIONS, 0)


CLEAN = ("k1", "k2", "k3", "k5", "k1 m 0.4")
CLEAN_ONLY = ("pooled, predicted", "joint, predicted")
"""Methods that are only run where nothing but depth is wrong."""

STATED = "joint, calibrated, noise stated"
"""The same with the true anchor noise stated, in cells where it is not the default."""

METHODS: dict[str, tuple[DepthKind, Solver]] = {
    "thesis, predicted": ("predicted", thesis),
    "pooled, predicted": ("predicted", _pooled(12.0)),
    "pooled, lidar": ("lidar", _pooled(4.0)),
    "joint, predicted": ("predicted", _joint),
    "joint, none": ("none", _joint),
    "joint, calibrated": ("calibrated", _joint),
    "joint, lidar": ("lidar", _joint),
}


def run(store: Path, queries: int, seconds: float, cells: Sequence[str]) -> None:
    """Fill the store until every cell has `queries` or the time is up."""
    store.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["cell"], row["seed"]) for row in read(store)}
    stop = time.monotonic() + seconds
    with store.open("a") as stream:
        for seed in range(queries):
            for cell in cells:
                if (cell, seed) in done:
                    continue
                if time.monotonic() > stop:
                    return
                for row in solve_case(cell, seed):
                    stream.write(json.dumps(row) + "\n")
                stream.flush()


def solve_case(cell: str, seed: int) -> list[dict[str, Any]]:
    """One row per method for one simulated query, which is simulated, verified and calibrated once for all of them."""
    options = CELLS[cell]
    case = simulate(options, seed)
    sigma = options.depth_noise.scale_sigma
    observed = observe_kinds(case, sorted({kind for kind, _ in METHODS.values()}), sigma, OPTIONS, 0)
    rows = []
    for name, (kind, solver) in METHODS.items():
        if (name == "joint, none" and options.anchors == 1) or (name in CLEAN_ONLY and cell not in CLEAN):
            continue
        rows.append(_row(cell, seed, name, observed[kind], case, solver))
    if options.anchor_position_m != OPTIONS.joint.anchor_noise[0]:
        stated = stated_options(options)
        again = observe_kinds(case, ["calibrated"], sigma, stated, 0)["calibrated"]
        rows.append(_row(cell, seed, STATED, again, case, lambda o, c: solve_joint(o, c.query_camera, stated, 0)))
    return rows


def stated_options(options: SimulatorOptions) -> LocalizeOptions:
    """The options of a data set that states how noisy its trajectory is."""
    position_m, rotation_deg = options.anchor_position_m, options.anchor_rotation_deg
    joint = replace(OPTIONS.joint, anchor_position_m=position_m, anchor_rotation_deg=rotation_deg)
    return replace(OPTIONS, joint=joint)


def _row(
    cell: str, seed: int, method: str, observed: Sequence[Observations], case: SimulatedCase, solver: Solver
) -> dict[str, Any]:
    row: dict[str, Any] = {"cell": cell, "seed": seed, "method": method, "error_m": 99.0, "rotation_deg": 180.0}
    start = time.process_time()
    solution = solver(observed, case) if observed else None
    row["seconds"] = time.process_time() - start
    pose = solution.world_from_cam if isinstance(solution, Solution) else solution
    if isinstance(pose, Pose):
        row |= _measure(pose, case)
    if isinstance(solution, Solution):
        row["gate"] = as_mapping(gate_statistics(solution, observed, _query(case), OPTIONS.gate))
        row["inflation"] = COVARIANCE_INFLATION if method.startswith("joint") else 1.0
    return row


def _measure(pose: Pose, case: SimulatedCase) -> dict[str, float]:
    off = pose.minus(case.world_from_query)
    row = {
        "error_m": float(np.linalg.norm(off[:3])),
        "horizontal_m": float(np.linalg.norm(off[:2])),
        "rotation_deg": float(np.degrees(np.linalg.norm(off[3:]))),
    }
    if pose.covariance is not None:
        row["nees"] = float(off[:3] @ np.linalg.solve(pose.covariance[:3, :3], off[:3]))
        row["nees_rotation"] = float(off[3:] @ np.linalg.solve(pose.covariance[3:, 3:], off[3:]))
    return row


def speed(queries: int) -> str:
    """Processor time per query at five anchors with up to 500 matches each, as a ratio to PoseLib pooling."""
    times: dict[str, list[float]] = {"pooled": [], "joint": [], "calibration": []}
    options = CELLS["k5"]
    for seed in range(queries):
        case = simulate(options, 20_000 + seed)
        start = time.process_time()
        observed = observe_kinds(case, ["calibrated"], options.depth_noise.scale_sigma, OPTIONS, 0)["calibrated"]
        bare = time.process_time()
        observe_kinds(case, ["none"], options.depth_noise.scale_sigma, OPTIONS, 0)
        verified = time.process_time()
        times["calibration"].append((bare - start - (verified - bare)) / len(case.anchors))
        few = [o.subset(r) for o, r in zip(observed, choose_rows(observed, 500, 0), strict=True)]
        for name, solver in (("pooled", _pooled(12.0)), ("joint", _joint)):
            start = time.process_time()
            solver(few, case)
            times[name].append(time.process_time() - start)
    lines = ["| step | n | processor ms, median [quartiles] | over pooled |", "|---|---|---|---|"]
    base = float(np.median(times["pooled"]))
    for name, label in (
        ("pooled", "PoseLib pooling with covariance"),
        ("joint", "joint solve with covariance"),
        ("calibration", "calibration of one anchor"),
    ):
        low, middle, high = 1000 * np.percentile(times[name], [25, 50, 75])
        ratio = middle / 1000 / base
        lines.append(f"| {label} | {queries} | {middle:.0f} [{low:.0f}–{high:.0f}] | {ratio:.2f} |")
    return "\n".join(lines)


def read(store: Path) -> list[dict[str, Any]]:
    """All whole rows of a store; a torn last line is left out."""
    rows = []
    if store.exists():
        for line in store.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: per cell and method n, median error with 95 % bootstrap interval, p90, rotation, failures, time."""
    lines = [
        "| cell | method | n | position median m [95 %] | p90 m | rotation median ° | > 2 m | NEES/3 | ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        for method in (*METHODS, STATED):
            chosen = [r for r in rows if r["cell"] == cell and r["method"] == method]
            if not chosen:
                continue
            errors = np.array([r["error_m"] for r in chosen])
            low, high = bootstrap_median(errors)
            # The store remembers the covariance factor it was filled with; the table is about the present one.
            nees = [
                r["nees"] / 3 * (r["inflation"] / COVARIANCE_INFLATION if r.get("inflation", 1.0) != 1.0 else 1.0)
                for r in chosen
                if "nees" in r
            ]
            lines.append(
                f"| {cell} | {method} | {len(errors)} | {np.median(errors):.3f} [{low:.3f}–{high:.3f}] "
                f"| {np.percentile(errors, 90):.3f} | {np.median([r['rotation_deg'] for r in chosen]):.3f} "
                f"| {np.mean(errors > 2):.1%} | {np.median(nees) / 0.789 if nees else float('nan'):.2f} "
                f"| {1000 * np.median([r['seconds'] for r in chosen]):.0f} |"
            )
    return "\n".join(lines)


def bootstrap_median(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the median."""
    draws = np.random.default_rng(seed).choice(values, (2000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="run", choices=["run", "table", "speed"])
    parser.add_argument("--store", type=Path, default=Path("out/estimator.jsonl"))
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--cells", nargs="*", default=list(CELLS))
    parser.add_argument("--quick", action="store_true", help="a query per cell, stored apart; figures mean little")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(queries=1, store=Path("out/quick/estimator.jsonl"))
    if arguments.what == "run":
        run(arguments.store, arguments.queries, arguments.seconds, arguments.cells)
    if arguments.what == "speed":
        print(speed(arguments.queries))
        return
    print(table(read(arguments.store)))


if __name__ == "__main__":
    main()
