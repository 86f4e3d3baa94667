"""Fits the gate's error model and the covariance's inflation on simulated truth; writes
geocorrect/localize/gate_model.py.

    python benchmarks/calibrate_gate.py run --queries 60 --seconds 900 --store out/gate.jsonl
    python benchmarks/calibrate_gate.py fit --store out/gate.jsonl
    python benchmarks/calibrate_gate.py run --first-seed 20000 --store out/unseen.jsonl
    python benchmarks/calibrate_gate.py judge --store out/unseen.jsonl  # the gate that ships

`run` simulates (gate_solutions.py), `judge` counts what the gate that ships says (judge_gate.py). Each half of the
seeds is judged by the model that the other half gives; the model that is written uses all of them.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from estimator import read
from gate_solutions import CELLS, LIMIT_M, OPTIONS, localisable, run, share, undetectable, with_pose
from judge_gate import judged
from scipy.optimize import minimize
from scipy.stats import chi2, spearmanr

from geocorrect.localize.gate import gate_features

CLEAN = ("1 anchor", "2 anchors", "4 anchors", "4 anchors, focal 3 %")
TARGET_FALSE_SHARE = 0.01
SAFETY = 0.6
FOLDS = 5
MODEL = Path(__file__).resolve().parents[1] / "geocorrect" / "localize" / "gate_model.py"
PICTURE = MODEL.parents[2] / "docs" / "img" / "trust.png"


@dataclass(frozen=True, eq=False)
class Model:
    """Everything that is fitted: scaling (F,) and weights (1 + F,) of the error model, its threshold and the limits."""

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    threshold: float
    max_scale_sigmas: float
    min_lone_coverage: float
    inflation: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a model says of N solutions: accepted (N,), and errors normalised by its covariance (N,)."""

    accepted: np.ndarray
    nees: np.ndarray
    nees_rotation: np.ndarray


def fit(rows: Sequence[dict[str, Any]], picture: Path) -> None:
    """Judge by fitting on each half of the seeds and judging the other; write the model that all seeds give."""
    solved = with_pose(rows)
    even = np.array([r["seed"] % 2 == 0 for r in solved])
    verdict = _joined(solved, even)
    model = fit_model(solved)
    clean = np.array([r["cell"] in CLEAN and r["error_m"] <= LIMIT_M for r in solved])
    report = [
        *_decisions(solved, verdict.accepted),
        f"covariance inflation {model.inflation:.2f}, scales at most {model.max_scale_sigmas:.1f} sigmas apart, a lone "
        f"anchor covers at least {model.min_lone_coverage:.0%}",
        *_coverage([r for r, c in zip(solved, clean, strict=True) if c], _part(verdict, clean)),
    ]
    print("\n".join([*report, *_by_cell(solved, verdict.accepted)]))
    draw(solved, verdict.nees, clean, picture)
    _write(model, report)


def fit_model(rows: Sequence[dict[str, Any]]) -> Model:
    """Covariance inflation, limits, error model and its threshold from solutions with known errors."""
    wrong = np.array([r["error_m"] > LIMIT_M for r in rows], float)
    right = [r for r in rows if r["error_m"] <= LIMIT_M and localisable(r)]
    detectable = np.array([not undetectable(r) for r in rows])
    inflation = _inflation(np.array([r["nees"] * r["inflation"] for r in right if r["cell"] in CLEAN]))
    sigmas = np.array([r["gate"]["scale_sigmas"] for r in right])
    lone = np.array([r["gate"]["coverage"] for r in right if r["gate"]["supporting_anchors"] == 1])
    if not np.isfinite(sigmas).any() or not len(lone):
        raise SystemExit("too few solutions to fit to: run more queries, of cells with one anchor and with several")
    features = np.array([_features(r, inflation) for r in rows])
    mean, spread = features[detectable].mean(0), features[detectable].std(0) + 1e-9
    scaled = (features - mean) / spread
    limited = Model(
        mean, spread, _logistic(scaled[detectable], wrong[detectable]), 1.0,
        1.5 * float(np.quantile(sigmas[np.isfinite(sigmas)], 0.99)),
        float(np.quantile(lone, 0.02)),
        inflation,
    )  # fmt: skip
    # The threshold is set on probabilities of models that have not seen the solution.
    fold = np.array([r["seed"] // 2 % FOLDS for r in rows])
    probability = np.empty(len(rows))
    for k in range(FOLDS):
        rest = detectable & (fold != k)
        probability[fold == k] = _probability(scaled[fold == k], _logistic(scaled[rest], wrong[rest]))
    judged = detectable & np.array([_passes_rules(r["gate"], limited) for r in rows])
    return replace(limited, threshold=_threshold(probability[judged], wrong[judged]))


def judge(model: Model, rows: Sequence[dict[str, Any]]) -> Verdict:
    """What the gate would say with this model, and how its covariance does."""
    scaled = (np.array([_features(r, model.inflation) for r in rows]) - model.mean) / model.spread
    rules = np.array([_passes_rules(r["gate"], model) for r in rows])
    accepted = rules & (_probability(scaled, model.weights) <= model.threshold)
    factor = np.array([r["inflation"] for r in rows]) / model.inflation
    nees = (np.array([r[key] for r in rows]) * factor for key in ("nees", "nees_rotation"))
    return Verdict(accepted, *nees)


def _joined(rows: Sequence[dict[str, Any]], even: np.ndarray) -> Verdict:
    """Each half judged by the model of the other."""
    parts = {}
    for half in (True, False):
        mine = [r for r, e in zip(rows, even, strict=True) if e == half]
        parts[half] = judge(fit_model([r for r, e in zip(rows, even, strict=True) if e != half]), mine)
    whole = []
    for name in ("accepted", "nees", "nees_rotation"):
        values = np.zeros(len(rows), bool if name == "accepted" else float)
        values[even], values[~even] = getattr(parts[True], name), getattr(parts[False], name)
        whole.append(values)
    return Verdict(*whole)


def _part(verdict: Verdict, chosen: np.ndarray) -> Verdict:
    return Verdict(verdict.accepted[chosen], verdict.nees[chosen], verdict.nees_rotation[chosen])


def _features(row: dict[str, Any], inflation: float) -> tuple[float, ...]:
    """The gate's features as they will be with the new inflation: the expected error grows with its root."""
    factor = float(np.sqrt(inflation / row["inflation"]))
    return gate_features({**row["gate"], "expected_error_m": row["gate"]["expected_error_m"] * factor})


def _inflation(nees: np.ndarray) -> float:
    """The factor at which the share of errors inside the ellipsoids is right between 68 and 95 %."""
    levels = np.linspace(0.68, 0.95, 10)
    return float(np.exp(np.mean(np.log(np.quantile(nees, levels) / chi2.ppf(levels, 3)))))


def _decisions(solved: Sequence[dict[str, Any]], accepted: np.ndarray) -> list[str]:
    wrong = np.array([r["error_m"] > LIMIT_M for r in solved])
    detectable = np.array([not undetectable(r) for r in solved])
    found = ~wrong & np.array([localisable(r) for r in solved])
    kept, false = int((detectable & accepted).sum()), int((detectable & accepted & wrong).sum())
    return [
        f"fitted on one half of the seeds, judged on the other, both ways: {int(detectable.sum())} solutions, accepted "
        f"{kept}, false accepts (> {LIMIT_M:g} m) {false} ({share(false, kept)}), of {int(found.sum())} localisable "
        f"accepted {share(int((found & accepted).sum()), int(found.sum()))}",
        f"left out, because no match contradicts them: {int((~detectable).sum())} solutions (one aliased anchor alone; "
        f"most anchors on the same wrong copy of a façade), {int((~detectable & accepted).sum())} of them accepted",
        f"with them, every false accept counted: {int((accepted & wrong).sum())} of {int(accepted.sum())} accepted "
        f"({share(int((accepted & wrong).sum()), int(accepted.sum()))})",
    ]


def _coverage(rows: Sequence[dict[str, Any]], verdict: Verdict) -> list[str]:
    """Judged: what the ellipsoids hold, and whether predicted and real errors grow together."""
    lines = []
    for name, nees in (("position", verdict.nees), ("rotation", verdict.nees_rotation)):
        parts = [f"{p:.0%} hold {share(int((nees < chi2.ppf(p, 3)).sum()), len(nees))}" for p in (0.68, 0.95)]
        lines.append(f"{name}: ellipsoids of {', of '.join(parts)}, NEES/3 mean {nees.mean() / 3:.2f}, n = {len(nees)}")
    rank = spearmanr([r["sigma_m"] for r in rows], [r["distance_m"] for r in rows]).statistic
    return [*lines, f"Spearman correlation of predicted and real position error {rank:.2f}, n = {len(rows)}"]


def _by_cell(solved: Sequence[dict[str, Any]], accepted: np.ndarray) -> list[str]:
    wrong = np.array([r["error_m"] > LIMIT_M for r in solved])
    detectable = np.array([not undetectable(r) for r in solved])
    lines = [
        "| cell | n | wrong | accepted | false accepts | of them nothing contradicts |",
        "|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        here = np.array([r["cell"] == cell for r in solved])
        counts = (here, here & wrong, here & accepted, here & accepted & wrong, here & accepted & wrong & ~detectable)
        lines.append(f"| {cell} | " + " | ".join(str(int(c.sum())) for c in counts) + " |")
    return lines


def draw(solved: Sequence[dict[str, Any]], nees: np.ndarray, judged: np.ndarray, path: Path) -> None:
    """Normalised squared errors against their law, and predicted against real errors, judging half, clean cells."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.0), layout="constrained")
    law = np.linspace(0.005, 0.995, 199)
    left.plot(law, law, color="0.6", lw=1)
    for cell in CLEAN:
        here = judged & np.array([r["cell"] == cell for r in solved])
        left.plot(law, [np.mean(nees[here] < chi2.ppf(p, 3)) for p in law], lw=1.5, label=f"{cell}, n = {here.sum()}")
        rows = [r for r, chosen in zip(solved, here, strict=True) if chosen]
        right.plot([r["sigma_m"] for r in rows], [r["distance_m"] for r in rows], ".", ms=4, label=cell)
    left.set(xlabel="stated probability of the ellipsoid", ylabel="share of errors inside", aspect="equal")
    left.legend(fontsize=7)
    limits = [0.01, 1.0]
    right.plot(limits, limits, color="0.6", lw=1)
    right.set(xscale="log", yscale="log", xlim=limits, ylim=[0.003, 1.0])
    right.set(xlabel="predicted position sigma (three axes together), m", ylabel="real position error, m")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)


def _passes_rules(statistics: dict[str, float], model: Model) -> bool:
    """The gate's fixed rules, without its error model."""
    o = OPTIONS.gate
    return (
        statistics["alternative_share"] <= o.review_alternative_share
        and statistics["support_share"] >= o.min_support_share
        and not statistics["anchor_spread_m"] > o.max_anchor_spread_m
        and statistics["n_inliers"] >= o.min_inliers
        and statistics["coverage"] >= o.min_coverage
        and not statistics["scale_sigmas"] > model.max_scale_sigmas
        and not (statistics["supporting_anchors"] <= 1 and statistics["coverage"] < model.min_lone_coverage)
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
    """Largest threshold at which at most SAFETY · TARGET_FALSE_SHARE of the accepted are wrong."""
    order = np.argsort(probability)
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    allowed = np.flatnonzero(share <= SAFETY * TARGET_FALSE_SHARE)
    return float(probability[order][allowed[-1]]) if len(allowed) else 0.0


def _write(model: Model, report: list[str]) -> None:
    def numbers(values: np.ndarray) -> str:
        return "(" + ", ".join(f"{v:.6g}" for v in values) + ")"

    provenance = "\n".join(textwrap.fill(line, 110) for line in report)
    MODEL.write_text(
        f'"""The gate\'s error model, written by benchmarks/calibrate_gate.py; do not edit.\n\n{provenance}\n"""\n\n'
        "from __future__ import annotations\n\n"
        f"FEATURE_MEAN = {numbers(model.mean)}\nFEATURE_SPREAD = {numbers(model.spread)}\n"
        f"WEIGHTS = {numbers(model.weights)}\n"
        f"ACCEPT_PROBABILITY = {model.threshold:.6g}\n"
        f"MAX_SCALE_SIGMAS = {model.max_scale_sigmas:.3g}\n"
        f"MIN_LONE_COVERAGE = {model.min_lone_coverage:.3g}\n"
        f"COVARIANCE_INFLATION = {model.inflation:.4g}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="run", choices=["run", "fit", "judge"])
    parser.add_argument("--store", type=Path, default=Path("out/gate.jsonl"))
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=10_000, help="the model that ships was fitted from 10000 on")
    parser.add_argument("--cells", nargs="*", default=list(CELLS))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--quick", action="store_true", help="a query per cell, stored apart; figures mean little")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(queries=1, store=Path("out/quick/gate.jsonl"))
    if arguments.what == "run":
        run(arguments.store, arguments.queries, arguments.seconds, arguments.cells, arguments.first_seed)
    elif arguments.what == "judge":
        print(judged(read(arguments.store)))
    else:
        fit(read(arguments.store), arguments.picture)


if __name__ == "__main__":
    main()
