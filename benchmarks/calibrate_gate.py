"""Fits the gate's error model and the covariance's inflation on simulated truth; writes
geocorrect/localize/gate_model.py.

    python benchmarks/calibrate_gate.py run --queries 60 --seconds 900 --store out/gate.jsonl
    python benchmarks/calibrate_gate.py fit --store out/gate.jsonl

The cells mix good queries with the ways to go wrong: one anchor only, wrong anchors that outnumber the right
ones (repeated façades), streets from elsewhere, moving vehicles. Half of the seeds fit, the other half
judges; both figures are printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from estimator import read
from scipy.optimize import minimize
from scipy.stats import chi2

from geocorrect.demo.simulator import SimulatorOptions, simulate
from geocorrect.demo.simulator_observe import observe_kinds
from geocorrect.localize.gate import as_mapping, gate_features, gate_statistics
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.joint import solve_joint
from geocorrect.localize.options import LocalizeOptions
from geocorrect.localize.solution import Solution
from geocorrect.records import Query

OPTIONS = LocalizeOptions()
BLANK = np.zeros((1, 1, 3), np.uint8)
LIMIT_M = 1.0
"""What a false accept is: a position wrong by more than this."""
CLEAN = ("1 anchor", "2 anchors", "4 anchors", "4 anchors, focal 3 %")
EXPECTED_ERROR = 3
"""Index of log expected error among the features."""
COVARIANCE_INFLATION_OF_STORE = 1.0
"""Inflation in force when the store was filled; set to the model's own when it is filled anew."""
TARGET_FALSE_SHARE = 0.01
MODEL = Path(__file__).resolve().parents[1] / "geocorrect" / "localize" / "gate_model.py"

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
}


def run(store: Path, queries: int, seconds: float) -> None:
    """Fill the store, all cells together, until every one has `queries` or the time is up."""
    store.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["cell"], row["seed"]) for row in read(store)}
    stop = time.monotonic() + seconds
    with store.open("a") as stream:
        for seed in range(10_000, 10_000 + queries):
            for cell, options in CELLS.items():
                if (cell, seed) in done:
                    continue
                if time.monotonic() > stop:
                    return
                for row in solve_case(cell, options, seed):
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
            row["inflation"] = COVARIANCE_INFLATION
            row["sigma_m"] = float(np.sqrt(np.trace(pose.covariance[:3, :3])))
            row["distance_m"] = float(np.linalg.norm(off[:3]))
            row["rotation_deg"] = float(np.degrees(np.linalg.norm(off[3:])))
            row["nees_rotation"] = float(off[3:] @ np.linalg.solve(pose.covariance[3:, 3:], off[3:]))
            row["nees"] = float(off[:3] @ np.linalg.solve(pose.covariance[:3, :3], off[:3]))
            row["gate"] = as_mapping(gate_statistics(solution, observed, query))
        rows.append(row)
    return rows


def fit(rows: Sequence[dict[str, Any]]) -> None:
    """Fit on even seeds, report on odd ones, write the model."""
    solved = [r for r in rows if r["error_m"] is not None and not _undetectable(r)]
    left_out = sum(r["error_m"] is not None and _undetectable(r) for r in rows)
    features = np.array([gate_features(r["gate"]) for r in solved])
    wrong = np.array([r["error_m"] > LIMIT_M for r in solved], float)
    train = np.array([r["seed"] % 2 == 0 for r in solved])
    nees = np.array([r["nees"] for r in solved])
    right = np.array([r["error_m"] < LIMIT_M for r in solved])
    # The 80 % quantile sets the scale: the bulk decides, a few wild ones do not.
    clean = np.array([r["cell"] in CLEAN for r in solved])
    inflation = float(np.quantile(nees[right & train & clean], 0.8) / chi2.ppf(0.8, 3))
    # The stored statistics were taken without inflation; poses carry it from now on.
    features[:, EXPECTED_ERROR] += 0.5 * np.log(inflation / COVARIANCE_INFLATION_OF_STORE)
    mean, spread = features[train].mean(0), features[train].std(0) + 1e-9
    weights = _logistic((features[train] - mean) / spread, wrong[train])
    probability = _probability((features - mean) / spread, weights)
    threshold = _threshold(probability[train], wrong[train])
    hard = np.array([_passes_rules(r["gate"]) for r in solved])
    report = [f"{left_out} solutions from one aliased anchor alone left out: matches cannot tell them"]
    for name, part in (("fitted on", train), ("judged on", ~train)):
        accepted = part & (probability <= threshold) & hard
        localisable = part & right & np.array([_localisable(r) for r in solved])
        report.append(
            f"{name} {int(part.sum())} solutions: accepted {int(accepted.sum())}, false accepts (> {LIMIT_M:g} m) "
            f"{int((accepted & (wrong > 0)).sum())}, of {int(localisable.sum())} localisable accepted "
            f"{(accepted & localisable).sum() / max(localisable.sum(), 1):.1%}"
        )
    held = nees[right & ~train & clean] / inflation
    report.append(
        f"covariance inflation {inflation:.2f}; on the judging half 68 % ellipsoids hold "
        f"{np.mean(held < chi2.ppf(0.68, 3)):.0%}, 95 % hold {np.mean(held < chi2.ppf(0.95, 3)):.0%}"
    )
    print("\n".join(report))
    _write(mean, spread, weights, threshold, inflation, report)


def _undetectable(row: dict[str, Any]) -> bool:
    """One anchor, on record in the wrong place, with perfect matches: nothing but the reported position
    could object.
    """
    return row["cell"] == "1 anchor, half wrong" and row["n_right"] == 0 and row["gate"]["n_inliers"] > 250


def _localisable(row: dict[str, Any]) -> bool:
    """The right anchors are a majority."""
    return 2 * row["n_right"] > CELLS[row["cell"]].anchors


def _passes_rules(statistics: dict[str, float]) -> bool:
    """The gate's fixed rules, without its error model."""
    o = OPTIONS.gate
    return (
        statistics["alternative_share"] <= o.max_alternative_share
        and statistics["support_share"] >= o.min_support_share
        and not statistics["anchor_spread_m"] > o.max_anchor_spread_m
        and statistics["n_inliers"] >= o.min_inliers
        and statistics["coverage"] >= o.min_coverage
    )


def _logistic(features: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Ridge logistic regression, intercept first; classes weigh the same."""
    design = np.column_stack([np.ones(len(features)), features])
    balance = np.where(wrong > 0, 0.5 / max(wrong.mean(), 1e-3), 0.5 / max(1 - wrong.mean(), 1e-3))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        score = design @ w
        probability = 1 / (1 + np.exp(-np.clip(score, -50, 50)))
        value = balance @ (np.logaddexp(0, score) - wrong * score) + 2.0 * (w[1:] @ w[1:])
        gradient = design.T @ (balance * (probability - wrong))
        gradient[1:] += 4.0 * w[1:]
        return float(value), gradient

    return np.asarray(minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x)


def _probability(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    score = weights[0] + features @ weights[1:]
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -50, 50))))


def _threshold(probability: np.ndarray, wrong: np.ndarray) -> float:
    """Largest threshold at which at most TARGET_FALSE_SHARE / 2 of the accepted are wrong."""
    order = np.argsort(probability)
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    allowed = np.flatnonzero(share <= TARGET_FALSE_SHARE / 2)
    return float(probability[order][allowed[-1]]) if len(allowed) else 0.0


def _write(
    mean: np.ndarray, spread: np.ndarray, weights: np.ndarray, threshold: float, inflation: float, report: list[str]
) -> None:
    def numbers(values: np.ndarray) -> str:
        return "(" + ", ".join(f"{v:.6g}" for v in values) + ")"

    provenance = "\n".join(report)
    MODEL.write_text(
        f'"""The gate\'s error model, written by benchmarks/calibrate_gate.py; do not edit.\n\n{provenance}\n"""\n\n'
        "from __future__ import annotations\n\n"
        f"FEATURE_MEAN = {numbers(mean)}\nFEATURE_SPREAD = {numbers(spread)}\nWEIGHTS = {numbers(weights)}\n"
        f"ACCEPT_PROBABILITY = {threshold:.6g}\n"
        f"COVARIANCE_INFLATION = {inflation:.4g}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "fit"])
    parser.add_argument("--store", type=Path, default=Path("out/gate.jsonl"))
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=3600.0)
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.store, arguments.queries, arguments.seconds)
    else:
        fit(read(arguments.store))


if __name__ == "__main__":
    main()
