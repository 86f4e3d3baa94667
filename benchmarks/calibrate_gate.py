"""Fits the gate's error model and the covariance's inflation on simulated and real solutions with known errors; writes
geocorrect/localize/gate_model.py.

    python benchmarks/calibrate_gate.py run --queries 60 --seconds 900 --store out/gate.jsonl
    python benchmarks/calibrate_gate.py fit --store out/gate.jsonl --real out/corruptions.jsonl --real out/wrong.jsonl
    python benchmarks/calibrate_gate.py run --first-seed 20000 --store out/unseen.jsonl
    python benchmarks/calibrate_gate.py judge --store out/unseen.jsonl  # the gate that ships

`run` simulates (gate_solutions.py), `judge` counts what the gate that ships says (judge_gate.py), `fit` fits and judges
crosswise (gate_fit.py). Real solutions: stores of `corruptions.py`, `wrong_photos.py` and `matchers.py`, and the tables
that `geocorrect evaluate own` makes of anybody's anchors.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from estimator import read
from gate_fit import CLEAN, Model, Verdict, cross_validated, fit_model, judge, passes, real_rows
from gate_solutions import CELLS, LIMIT_M, run, share, with_pose
from judge_gate import judged, ways
from scipy.stats import chi2, spearmanr

MODEL = Path(__file__).resolve().parents[1] / "geocorrect" / "localize" / "gate_model.py"
PICTURE = MODEL.parents[2] / "docs" / "img" / "trust.png"


def fit(simulated: Sequence[dict[str, Any]], real: Sequence[dict[str, Any]], picture: Path) -> None:
    """Judge crosswise, by models that have not seen the street or the photo; write the model that all rows give."""
    simulated = with_pose(simulated)
    rows = [*simulated, *real]
    verdict, model = cross_validated(rows), fit_model(rows)
    is_real = np.array(["cell" not in r for r in rows])
    clean = np.array([r.get("cell") in CLEAN and r["error_m"] <= LIMIT_M for r in rows])
    of_simulator = _part(verdict, ~is_real)
    counts, table = ways(simulated, of_simulator.believed, of_simulator.alone)
    report = [
        f"{len(simulated)} simulated and {len(real)} real solutions, each judged by a model that has not seen its "
        "street or photo; every false accept counted",
        *counts,
        *_of_real(real, _part(verdict, is_real)),
        f"accepted up to {model.threshold:.1%}; covariance inflation {model.inflation:.2f}",
        *_coverage([r for r, c in zip(rows, clean, strict=True) if c], _part(verdict, clean)),
    ]
    print("\n".join([*report, *table]))
    if real:
        print("\n".join(["", *_by_source(real, _part(verdict, is_real), model)]))
        # All real rows may be of one drive: what the simulator alone gives is judged on a place that no fit has seen.
        apart = fit_model(simulated)
        print("\n".join(["", "fitted to the simulator alone:", *_by_source(real, judge(apart, real), apart)]))
    draw(rows, verdict.nees, clean, picture)
    _write(model, report)


def _part(verdict: Verdict, chosen: np.ndarray) -> Verdict:
    return Verdict(*(values[chosen] for values in vars(verdict).values()))


def _of_real(real: Sequence[dict[str, Any]], verdict: Verdict) -> list[str]:
    if not real:
        return []
    wrong = np.array([r["error_m"] > LIMIT_M for r in real])
    accepted = verdict.alone
    return [
        f"real: accepted {int((accepted & ~wrong).sum())} of {int((~wrong).sum())} within {LIMIT_M:g} m, "
        f"{int((accepted & wrong).sum())} of {int(wrong.sum())} wrong ones"
    ]


def _by_source(real: Sequence[dict[str, Any]], verdict: Verdict, model: Model) -> list[str]:
    """Markdown: per matcher, what passes the rules, and how far right and wrong are apart for the error model."""
    lines = [
        "| real photos | pass the rules: right, wrong | probability of a right one, 95 % / largest | of a wrong one, "
        "least | accepted: right, wrong | wait for others: right, wrong |",
        "|---" * 6 + "|",
    ]
    names = np.array([_matcher(r) for r in real])
    wrong, pass_ = (np.array(v) for v in ([r["error_m"] > LIMIT_M for r in real], [passes(r, model) for r in real]))
    waits = verdict.believed & ~verdict.alone
    # A lone wrong record fits as well as a right one: the error model is asked of the others.
    asked = pass_ & (verdict.alone | ~verdict.believed)
    for name in dict.fromkeys(names):
        here = names == name
        right, bad = (verdict.probability[here & asked & w] for w in (~wrong, wrong))
        counts = [
            f"{int((here & v & ~wrong).sum())}, {int((here & v & wrong).sum())}" for v in (pass_, verdict.alone, waits)
        ]
        spread = f"{np.quantile(right, 0.95):.1%} / {right.max():.1%}" if len(right) else "–"
        least = f"{bad.min():.1%}" if len(bad) else "–"
        lines.append(f"| {name} | {counts[0]} | {spread} | {least} | {counts[1]} | {counts[2]} |")
    return lines


def _matcher(row: dict[str, Any]) -> str:
    return str(row.get("matcher") or row["key"][0]).partition("-")[0]


def _coverage(rows: Sequence[dict[str, Any]], verdict: Verdict) -> list[str]:
    """Judged: what the ellipsoids hold, and whether predicted and real errors grow together."""
    lines = []
    for name, nees in (("position", verdict.nees), ("rotation", verdict.nees_rotation)):
        parts = [f"{p:.0%} hold {share(int((nees < chi2.ppf(p, 3)).sum()), len(nees))}" for p in (0.68, 0.95)]
        lines.append(f"{name}: ellipsoids of {', of '.join(parts)}, NEES/3 mean {nees.mean() / 3:.2f}, n = {len(nees)}")
    rank = spearmanr([r["sigma_m"] for r in rows], [r["distance_m"] for r in rows]).statistic
    return [*lines, f"Spearman correlation of predicted and real position error {rank:.2f}, n = {len(rows)}"]


def draw(rows: Sequence[dict[str, Any]], nees: np.ndarray, judged: np.ndarray, path: Path) -> None:
    """Normalised squared errors against their law, and predicted against real errors, clean cells."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.0), layout="constrained")
    law = np.linspace(0.005, 0.995, 199)
    left.plot(law, law, color="0.6", lw=1)
    for cell in CLEAN:
        here = judged & np.array([r.get("cell") == cell for r in rows])
        left.plot(law, [np.mean(nees[here] < chi2.ppf(p, 3)) for p in law], lw=1.5, label=f"{cell}, n = {here.sum()}")
        chosen = [r for r, c in zip(rows, here, strict=True) if c]
        right.plot([r["sigma_m"] for r in chosen], [r["distance_m"] for r in chosen], ".", ms=4, label=cell)
    left.set(xlabel="stated probability of the ellipsoid", ylabel="share of errors inside", aspect="equal")
    left.legend(fontsize=7)
    limits = [0.01, 1.0]
    right.plot(limits, limits, color="0.6", lw=1)
    right.set(xscale="log", yscale="log", xlim=limits, ylim=[0.003, 1.0])
    right.set(xlabel="predicted position sigma (three axes together), m", ylabel="real position error, m")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)


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
        f"COVARIANCE_INFLATION = {model.inflation:.4g}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="run", choices=["run", "fit", "judge"])
    parser.add_argument("--store", type=Path, default=Path("out/gate.jsonl"))
    parser.add_argument("--real", type=Path, action="append", default=[], help="rows of real photos for the fit")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=30_000, help="the model that ships was fitted from 30000 on")
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
        fit(read(arguments.store), real_rows(arguments.real), arguments.picture)


if __name__ == "__main__":
    main()
