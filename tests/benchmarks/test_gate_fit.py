"""`benchmarks/gate_fit.py`: the gate's error model from simulated and real solutions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from geocorrect.evaluate.table import Row, write_table
from geocorrect.localize.gate_model import COVARIANCE_INFLATION

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fitting() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield __import__("gate_fit")


def row(
    draw: int, gate: Mapping[str, float] = MappingProxyType({}), *, error_m: float, lone: bool = False
) -> dict[str, Any]:
    """A solution; as good ones are, but for what is given."""
    random = np.random.default_rng(draw)
    found = {
        "n_inliers": 900.0, "inlier_share": random.uniform(0.85, 0.99), "coverage": random.uniform(0.5, 0.9),
        "displacement_m": 5.0, "height_difference_m": 0.0, "anchor_spread_m": random.uniform(0.01, 0.2),
        "alternative_share": 0.0, "supporting_anchors": 3.0 - 2.0 * lone, "support_share": 1.0,
        "expected_error_m": random.uniform(0.02, 0.15), "expected_heading_error_deg": 0.1, "reported_sigmas": 0.5,
        "scale_sigmas": random.uniform(0.1, 3.0), "leave_one_out_m": 0.02, "independent_anchors": 3.0 - 2.0 * lone,
        "inlier_patches": random.uniform(150.0, 400.0), "contested_m": np.nan,
    }  # fmt: skip
    level = 0.618034 * draw % 1.0  # evenly spread: the stated errors hold
    nees = dict.fromkeys(("nees", "nees_rotation"), float(chi2.ppf(level, 3)))
    return {"error_m": error_m, "gate": found | dict(gate), "inflation": COVARIANCE_INFLATION, **nees}


MIRRORED = {"inlier_patches": 75.0, "inlier_share": 0.68, "expected_error_m": 0.4, "anchor_spread_m": 0.4}
"""Passes every rule."""


def simulated(count: int) -> list[dict[str, Any]]:
    """Two right solutions of several anchors, one of a lone one and a bad one, street by street."""
    rows = []
    for seed in range(count):
        here = {"seed": seed, "n_right": 4}
        rows += [row(4 * seed + n, error_m=0.05) | here | {"cell": "4 anchors"} for n in (0, 1)]
        rows.append(row(4 * seed + 2, error_m=0.1, lone=True) | here | {"cell": "1 anchor", "n_right": 1})
        bad = row(4 * seed + 3, MIRRORED | {"expected_error_m": 2.5}, error_m=9.0)
        rows.append(bad | here | {"cell": "elsewhere", "n_right": 0})
    return rows


def real(count: int, matcher: str = "xfeat") -> list[dict[str, Any]]:
    rows = [row(9_000 + n, error_m=0.03) | {"key": [matcher, "right", f"02/{n}"]} for n in range(count)]
    wrong = [row(8_000 + n, MIRRORED, error_m=np.inf) | {"key": [matcher, "mirrored", f"03/{n}"]} for n in range(5)]
    return rows + wrong


def store(folder: Path, rows: list[dict[str, Any]], name: str = "real.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder / name


def test_right_photos_are_accepted_and_real_ones_without_an_answer_stay_far_below(fitting: Any, tmp_path: Path) -> None:
    rows = [*simulated(40), *fitting.real_rows([store(tmp_path, real(40))])]
    model, verdict = fitting.fit_model(rows), fitting.cross_validated(rows)
    assert (model.weights[1:] >= 0).all(), "more doubt never makes an answer likelier"
    wrong = np.array([r["error_m"] > 1.0 for r in rows])
    assert verdict.believed[~wrong].mean() > 0.97
    assert not verdict.believed[wrong].any()
    least = verdict.probability[[r["error_m"] == np.inf for r in rows]].min()
    assert model.threshold <= min(0.5 * least, 0.2) + 0.05
    assert not verdict.alone[[r["gate"]["independent_anchors"] < 2 for r in rows]].any()
    # The stated errors hold, so that the factor on the covariance stays, to the digit.
    assert model.inflation == COVARIANCE_INFLATION
    too_sure = [r | {"nees": 2.0 * r["nees"]} for r in rows]
    assert fitting.fit_model(too_sure).inflation == pytest.approx(2.0 * COVARIANCE_INFLATION, rel=0.35)


def test_a_wrong_record_that_fits_is_left_out_of_the_fit_and_counted(fitting: Any) -> None:
    rows = simulated(40)
    aliased = [row(7_000 + n, error_m=12.0, lone=True) | {"cell": "1 anchor, half wrong"} for n in range(20)]
    aliased = [r | {"seed": n, "n_right": 0} for n, r in enumerate(aliased)]
    assert np.allclose(fitting.fit_model(rows).weights, fitting.fit_model([*rows, *aliased]).weights)
    verdict = fitting.cross_validated([*rows, *aliased])
    assert verdict.believed[-20:].sum() > 15
    assert not verdict.alone[-20:].any()


def test_a_place_is_never_in_both_parts(fitting: Any, tmp_path: Path) -> None:
    names = ["02/7", "2011_09_26_drive_0002_sync/image_03/0000000007", "2011/image_02/0000000007/left/mirrored"]
    own = [row(n, error_m=0.1) | {"key": ["sift", "right", name]} for n, name in enumerate(names)]
    assert {r["group"] for r in fitting.real_rows([store(tmp_path, own)])} == {"photo 7"}
    of_seed = [r for r in simulated(30) if r["seed"] == 11]
    assert len(set(fitting.folds(of_seed).tolist())) == 1
    assert len(set(fitting.folds(simulated(30)).tolist())) == fitting.FOLDS


def test_what_a_cascade_says_counts_once_and_tables_of_own_anchors_are_read(fitting: Any, tmp_path: Path) -> None:
    kept = fitting.real_rows([store(tmp_path, [*real(2, "sift"), *real(2, "cascade")])])
    assert {r["key"][0] for r in kept} == {"sift"}
    gate = json.dumps(row(1, error_m=0.1)["gate"])
    plain = {"protocol": "own", "scene": "a", "anchor_ids": "x", "n_anchors": 3, "depth": "lidar"}
    plain |= {"depth_is_oracle": True, "matcher": "sift-2", "estimator": "joint", "config_hash": "", "seed": 0}
    told = Row(**plain, query_id="p12", status="accepted", centre_m=0.2, chi2=1.5, gate=gate, inflation=1.5)  # type: ignore[arg-type]
    refused = Row(**plain, query_id="p13", status="rejected")  # type: ignore[arg-type]
    write_table([told, refused], tmp_path / "own.parquet")
    (found,) = fitting.real_rows([tmp_path / "own.parquet"])
    assert (found["error_m"], found["nees"], found["group"], found["inflation"]) == (0.2, 1.5, "photo 12", 1.5)


def test_a_store_that_is_missing_or_of_before_is_named(fitting: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="none.jsonl: no such file"):
        fitting.real_rows([tmp_path / "none.jsonl"])
    old = store(tmp_path, [{"key": ["sift", "right", "02/1"], "status": "accepted"}], "old.jsonl")
    with pytest.raises(SystemExit, match=r"old.jsonl: no row has statistics of the gate; measure it anew"):
        fitting.real_rows([old])
