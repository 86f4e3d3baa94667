"""docs/scale.md: its tables follow from the constants, its sentences from its tables."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCALE = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_tables_are_fresh() -> None:
    assert SCALE["filled"](PAGE) == PAGE, "run python benchmarks/scale.py --write"
    assert PAGE.count("<!-- table:") == len(SCALE["tables"]())


def test_the_arithmetic_by_hand() -> None:
    """One row again, without the script: 5 pairs, 1.25 photos described, 70 % of paid time computes."""
    sift, mast3r, gpu = SCALE["costs"]()
    common = 1.25 * 0.009 + 0.25 * 0.030 + 5 * 0.042 + 0.0022
    assert sift.core_s == pytest.approx(common + 1.25 * 0.379 + 5 * 0.744)
    assert mast3r.core_s == pytest.approx(common + 5 * 10.81)
    assert gpu.gpu_s == pytest.approx(0.055)
    assert gpu.gpus(1e9, 30) == pytest.approx(1e9 * 0.055 / (30 * 86_400 * 0.7))
    assert sift.usd_per_1000() == pytest.approx(1000 * sift.core_s * 0.04 / 3600 / 0.7)


def test_sentences_agree_with_the_tables() -> None:
    gpu = SCALE["costs"]()[2]
    assert 28 <= gpu.gpus(1e9, 30) <= 32
    assert "about thirty H200" in PAGE
    assert 120 <= gpu.cores(1e9, 30) <= 140
    assert 25_000 <= SCALE["costs"]()[1].cores(1e9, 30) <= 35_000
    assert abs(1e9 / SCALE["M"].harvest_images_per_s / 86_400 - 200) < 3
    assert round(gpu.core_s / gpu.gpu_s) == 4
    assert "four busy cores per H200" in PAGE


def test_every_constant_says_where_it_is_from() -> None:
    for values, meaning in ((SCALE["M"], SCALE["WHERE"]), (SCALE["A"], SCALE["WHY"])):
        assert set(vars(values)) == set(meaning)
