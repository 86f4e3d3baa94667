"""Simulated solutions with known errors: the gate is fitted to some (`calibrate_gate.py`) and judged by others.

The cells mix good queries with the ways to go wrong: one anchor only, wrong anchors that outnumber the right ones
(repeated façades), streets from elsewhere, moving vehicles. A store has a row per query and kind of depth.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from estimator import read

from geocorrect.localize.gate import as_mapping, gate_statistics
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint.estimate import solve_joint
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Query
from geocorrect.report.statistics import share_of
from simulation.estimator import SimulatorOptions, simulate
from simulation.estimator_observe import observe_kinds

OPTIONS = LocalizeOptions()
BLANK = np.zeros((1, 1, 3), np.uint8)
LIMIT_M = 1.0
"""What a false accept is: a position wrong by more than this."""

CELLS: dict[str, SimulatorOptions] = {
    "1 anchor": SimulatorOptions(anchors=1),
    "2 anchors": SimulatorOptions(anchors=2),
    "4 anchors": SimulatorOptions(anchors=4),
    "4 anchors, focal 3 %": SimulatorOptions(anchors=4, focal_error=0.03),
    "1 anchor, half wrong": SimulatorOptions(anchors=1, wrong_anchor_share=0.5),
    "2 anchors, half wrong": SimulatorOptions(anchors=2, wrong_anchor_share=0.5),
    "3 anchors, 40 % wrong": SimulatorOptions(anchors=3, wrong_anchor_share=0.4),
    "elsewhere": SimulatorOptions(anchors=3, wrong_anchor_share=1.0),
    "repeated façades": SimulatorOptions(anchors=4, repeated_share=0.4),
    "vehicles": SimulatorOptions(anchors=2, mover_share=0.5),
    "3 anchors, few matches": SimulatorOptions(anchors=3, match_share=0.15),
    "3 anchors, few matches, 40 % wrong": SimulatorOptions(anchors=3, match_share=0.15, wrong_anchor_share=0.4),
}


def run(store: Path, queries: int, seconds: float, cells: Sequence[str], first_seed: int) -> None:
    """Fill the store, all cells together, until every one has `queries` or the time is up."""
    store.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["cell"], row["seed"]) for row in read(store)}
    stop = time.monotonic() + seconds
    with store.open("a") as stream:
        for seed in range(first_seed, first_seed + queries):
            for cell in cells:
                if (cell, seed) in done:
                    continue
                if time.monotonic() > stop:
                    return
                for row in solve_case(cell, CELLS[cell], seed):
                    stream.write(json.dumps(row) + "\n")
                stream.flush()


def solve_case(cell: str, options: SimulatorOptions, seed: int) -> list[dict[str, Any]]:
    """One row per depth kind: gate statistics, error and normalised squared error; error is null where
    nothing came out.
    """
    case = simulate(options, seed)
    query = Query("q", BLANK, case.query_camera, case.reported_m)
    rows = []
    seen = observe_kinds(case, ["calibrated", "lidar"], options.depth_noise.scale_sigma, OPTIONS, 0)
    for kind, observed in seen.items():
        solution = solve_joint(observed, case.query_camera, OPTIONS, 0) if observed else None
        row: dict[str, Any] = {"cell": cell, "seed": seed, "depth": kind, "error_m": None}
        row["n_right"] = sum(not a.wrong for a in case.anchors)
        if isinstance(solution, Solution):
            pose = solution.world_from_cam
            assert pose.covariance is not None
            off = pose.minus(case.world_from_query)
            row["error_m"] = float(np.linalg.norm(off[:2]))
            row["off"], row["covariance"] = off.tolist(), pose.covariance.tolist()
            row["inflation"] = COVARIANCE_INFLATION
            row["sigma_m"] = float(np.sqrt(np.trace(pose.covariance[:3, :3])))
            row["distance_m"] = float(np.linalg.norm(off[:3]))
            row["rotation_deg"] = float(np.degrees(np.linalg.norm(off[3:])))
            row["nees_rotation"] = float(off[3:] @ np.linalg.solve(pose.covariance[3:, 3:], off[3:]))
            row["nees"] = float(off[:3] @ np.linalg.solve(pose.covariance[:3, :3], off[:3]))
            row["gate"] = as_mapping(gate_statistics(solution, observed, query, OPTIONS.gate))
        rows.append(row)
    return rows


def with_pose(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with a pose, each world once: with all anchors alike a cell has the world of another one of that seed."""
    same = {"3 anchors, 40 % wrong": (0,), "3 anchors, few matches, 40 % wrong": (3,)}
    return [r for r in rows if r["error_m"] is not None and r["n_right"] not in same.get(r["cell"], ())]


def localisable(row: dict[str, Any]) -> bool:
    """The right anchors are a majority."""
    return bool(2 * row["n_right"] > CELLS[row["cell"]].anchors)


def share(count: int, total: int) -> str:
    """A share in percent with its 95 % Wilson interval."""
    if total == 0:
        return "of none"
    found = share_of(count, total)
    return f"{found.value:.1%} [{found.low:.1%}–{found.high:.1%}]"
