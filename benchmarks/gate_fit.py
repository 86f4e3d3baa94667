"""The gate's error model: fitted to solutions with known errors, judged by models that have not seen their place.

A row is a solution: what the gate looked at (`gate`), how wrong it is (`error_m`), and where it comes from. Rows of the
simulator (`gate_solutions.py`) are grouped by their seed, real ones by the number in their photo's name, so that two
cameras of one instant are never in both parts.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from gate_solutions import LIMIT_M, OPTIONS, localisable
from scipy.optimize import minimize
from scipy.stats import chi2

from geocorrect.evaluate.table import read_table
from geocorrect.localize.gate import GateStatistics, by_rules, gate_features
from geocorrect.localize.gate_model import COVARIANCE_INFLATION
from geocorrect.localize.independence import needs_confirmation

CLEAN = ("1 anchor", "2 anchors", "4 anchors", "4 anchors, focal 3 %", "3 anchors, few matches")
FALSE_SHARE = 0.006
"""Of the accepted, while a model is fitted: the goal is 1 %."""
MOST_PROBABLE = 0.2
"""The highest threshold: a false accept costs at least as much as four right photos left for a review."""
MARGIN = 0.5
"""And at most this part of the least probability of a real photo that has no right answer."""
RIDGE = 1.0
FOLDS = 5
ALIASED_PATCHES = 60
"""A lone anchor with more patches than this fits; whether its record is right the matches do not tell."""


@dataclass(frozen=True, eq=False)
class Model:
    """What is fitted: scaling (F,) and weights (1 + F,) of the error model, its threshold, the covariance's factor."""

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    threshold: float
    inflation: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a model says of N solutions, each (N,)."""

    probability: np.ndarray
    believed: np.ndarray
    """Whether rules and error model accept it; with `alone`: and nothing else has to confirm it."""
    alone: np.ndarray
    nees: np.ndarray
    nees_rotation: np.ndarray
    """Squared errors, normalised by the model's covariance."""


def real_rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Solutions of real photos: of `corruptions.py`, `wrong_photos.py`, `matchers.py`, or tables of `evaluate own`.

    What a cascade says is what one of its stages says, and is left out.
    """
    rows = []
    for path in paths:
        if not path.is_file():
            raise SystemExit(f"--real {path}: no such file; a store of rows that a benchmark or `evaluate own` wrote")
        if path.suffix == ".parquet":
            found = [_of_own(row) for row in read_table(path) if row.gate and np.isfinite(row.centre_m)]
        else:
            found = [json.loads(line) for line in path.read_text().splitlines()]
        if not any("gate" in row for row in found):
            raise SystemExit(f"--real {path}: no row has statistics of the gate; measure it anew with this revision")
        for row in found:
            if "gate" in row and row["key"][0] != "cascade":
                numbers = re.findall(r"\d+", row["key"][-1])
                rows.append({**row, "group": f"photo {int(numbers[-1]) if numbers else row['key'][-1]}"})
    return rows


def _of_own(row: Any) -> dict[str, Any]:
    return {
        "key": ["own", row.scene, row.query_id], "gate": json.loads(row.gate), "error_m": row.centre_m,
        "inflation": row.inflation, "nees": row.chi2,
    }  # fmt: skip


def fit_model(rows: Sequence[dict[str, Any]]) -> Model:
    """Covariance inflation, error model and its threshold from solutions with known errors."""
    wrong = np.array([r["error_m"] > LIMIT_M for r in rows], float)
    clean = [r["nees"] * r["inflation"] for r in rows if r.get("cell") in CLEAN and r["error_m"] <= LIMIT_M]
    if not clean or wrong.all():
        raise SystemExit("too few solutions to fit to: run more queries, of cells with one anchor and with several")
    inflation = _inflation(np.array(clean))
    fitted = np.array([not undetectable(r) for r in rows])
    features = np.array([gate_features(with_inflation(r, inflation)) for r in rows])
    mean, spread = features[fitted].mean(0), features[fitted].std(0) + 1e-9
    scaled = (features - mean) / spread
    model = Model(mean, spread, _logistic(scaled[fitted], wrong[fitted]), 1.0, inflation)
    # The threshold is set on probabilities of models that have not seen the solution.
    fold = folds(rows)
    probability = np.empty(len(rows))
    for k in range(FOLDS):
        rest = fitted & (fold != k)
        probability[fold == k] = _probability(scaled[fold == k], _logistic(scaled[rest], wrong[rest]))
    alone = np.array([stands_alone(r, model) for r in rows])
    of_real = np.array(["cell" not in r for r in rows]) & (wrong > 0)
    least = float(probability[alone & of_real].min(initial=1.0))
    return replace(model, threshold=min(_threshold(probability[alone], wrong[alone]), MARGIN * least, MOST_PROBABLE))


def judge(model: Model, rows: Sequence[dict[str, Any]]) -> Verdict:
    """What the gate would say with this model, and how its covariance does."""
    features = np.array([gate_features(with_inflation(r, model.inflation)) for r in rows])
    probability = _probability((features - model.mean) / model.spread, model.weights)
    believed = np.array([passes(r, model) for r in rows]) & (probability <= model.threshold)
    alone = np.array([stands_alone(r, model) for r in rows])
    factor = np.array([r["inflation"] for r in rows]) / model.inflation
    nees = (np.array([r.get(key, np.nan) for r in rows]) * factor for key in ("nees", "nees_rotation"))
    return Verdict(probability, believed, believed & alone, *nees)


def cross_validated(rows: Sequence[dict[str, Any]]) -> Verdict:
    """Every solution judged by the model of the other folds, its threshold included."""
    fold = folds(rows)
    parts = []
    for k in np.unique(fold):
        model = fit_model([r for r, f in zip(rows, fold, strict=True) if f != k])
        parts.append(judge(model, [r for r, f in zip(rows, fold, strict=True) if f == k]))
    order = np.argsort(np.argsort(fold, kind="stable"), kind="stable")
    return Verdict(*(np.concatenate([getattr(p, f.name) for p in parts])[order] for f in fields(Verdict)))


def folds(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """(N,) the part that a row's group is in."""
    return np.array([zlib.crc32(str(r.get("group", r.get("seed"))).encode()) % FOLDS for r in rows])


def passes(row: dict[str, Any], model: Model) -> bool:
    """Whether no rule is broken that comes before the error model."""
    return by_rules(_statistics(with_inflation(row, model.inflation)), OPTIONS.gate) is None


def stands_alone(row: dict[str, Any], model: Model) -> bool:
    """And the anchors check each other."""
    return passes(row, model) and not needs_confirmation(row["gate"], OPTIONS.gate)


def with_inflation(row: dict[str, Any], inflation: float) -> dict[str, float]:
    """The statistics as they will be with a new inflation: the expected error grows with its root."""
    factor = float(np.sqrt(inflation / row["inflation"]))
    return {**row["gate"], "expected_error_m": row["gate"]["expected_error_m"] * factor}


def _statistics(gate: dict[str, float]) -> GateStatistics:
    return GateStatistics(**{f.name: gate[f.name] for f in fields(GateStatistics) if f.name in gate})


def undetectable(row: dict[str, Any]) -> bool:
    """Wrong because a record is that nothing in the photo can check: left out of the fit, but never of what is counted.

    A wrong photo of a right record is no such case.
    """
    gate = row["gate"]
    return bool(
        LIMIT_M < row["error_m"] < np.inf
        and gate["independent_anchors"] < 2
        and gate["support_share"] == 1.0
        and gate["inlier_patches"] > ALIASED_PATCHES
    )


def is_localisable(row: dict[str, Any]) -> bool:
    """The right anchors are a majority; of a real photo: it has a truth."""
    return localisable(row) if "cell" in row else bool(np.isfinite(row["error_m"]))


def _inflation(nees: np.ndarray) -> float:
    """The factor at which the share of errors inside the ellipsoids is right between 68 and 95 %.

    The one that ships, where these solutions do not tell the two apart (95 % bootstrap): it moves every stated error.
    """
    levels = np.linspace(0.68, 0.95, 10)

    def factor(drawn: np.ndarray) -> float:
        return float(np.exp(np.mean(np.log(np.quantile(drawn, levels) / chi2.ppf(levels, 3)))))

    random = np.random.default_rng(0)
    low, high = np.quantile([factor(random.choice(nees, len(nees))) for _ in range(200)], [0.025, 0.975])
    return COVARIANCE_INFLATION if low <= COVARIANCE_INFLATION <= high else factor(nees)


def _logistic(features: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Ridge logistic regression, intercept first; no weight is negative: more doubt never makes an answer likelier."""
    design = np.column_stack([np.ones(len(features)), features])

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        score = design @ w
        value = float(np.sum(np.logaddexp(0, score) - wrong * score)) + RIDGE * float(w[1:] @ w[1:])
        gradient = design.T @ (1 / (1 + np.exp(-np.clip(score, -50, 50))) - wrong)
        gradient[1:] += 2 * RIDGE * w[1:]
        return value, gradient

    bounds = [(None, None)] + [(0.0, None)] * features.shape[1]
    return np.asarray(minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x)


def _probability(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    score = weights[0] + features @ weights[1:]
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -50, 50))))


def _threshold(probability: np.ndarray, wrong: np.ndarray) -> float:
    """Largest probability up to which at most FALSE_SHARE of the accepted are wrong."""
    order = np.argsort(probability)
    share = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    allowed = np.flatnonzero(share <= FALSE_SHARE)
    return float(probability[order][allowed[-1]]) if len(allowed) else 0.0
