"""Pairs found by cells against all that the definition gives."""

from __future__ import annotations

import numpy as np
import pytest

from geocorrect.match.descriptors import nearest
from geocorrect.match.descriptors.nearest import Cells, distinct_pairs


def descriptors(n: int, seed: int) -> np.ndarray:
    """Unit vectors with few large components, as gradient histograms have."""
    values = np.random.default_rng(seed).gamma(0.4, size=(n, 128)).astype(np.float32)
    return np.sqrt(values / values.sum(axis=1, keepdims=True))


def seen_again(of: np.ndarray, seed: int, noise: float) -> np.ndarray:
    values = of**2 * np.exp(noise * np.random.default_rng(seed).standard_normal(of.shape)).astype(np.float32)
    return np.sqrt(values / values.sum(axis=1, keepdims=True))


def pairs(query: np.ndarray, anchor: np.ndarray) -> set[tuple[int, int]]:
    rows, columns, ratio = distinct_pairs(Cells(query), anchor, 0.8)
    assert (np.diff(rows) > 0).all()
    assert (ratio < 0.8).all()
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


def test_cells_find_nearly_all_pairs_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    query = descriptors(3000, 1)
    anchor = np.concatenate([seen_again(query[::3], 2, 0.5), descriptors(2000, 3)])
    found = pairs(query, anchor)
    compared = []
    monkeypatch.setattr(nearest, "ALL_PAIRS", len(query) * len(anchor))
    monkeypatch.setattr(nearest, "_centres", compared.append)
    every = pairs(query, anchor)
    assert not compared, "below the limit all are compared"
    assert len(every) > 900
    assert len(found & every) > 0.97 * len(every)
    assert len(found - every) < 0.01 * len(every)


@pytest.mark.parametrize("many", [0, 1, 2, 3000])
def test_images_of_one_descriptor_or_all_alike_match_nothing(many: int) -> None:
    same = np.tile(descriptors(1, 1), (many, 1))
    assert not pairs(same, same)
    assert not pairs(descriptors(1, 2), same)


def test_the_cells_of_a_query_are_found_once_for_all_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    """And give for each what they give for it alone."""
    query, found = descriptors(3000, 1), []
    anchors = [np.concatenate([seen_again(query[k::3], 2 + k, 0.5), descriptors(1500, 9 + k)]) for k in range(2)]
    alone = [distinct_pairs(Cells(query), anchor, 0.8) for anchor in anchors]
    monkeypatch.setattr(nearest, "_centres", lambda rows, centres=nearest._centres: found.append(1) or centres(rows))
    cells = Cells(query)
    together = [distinct_pairs(cells, anchor, 0.8) for anchor in anchors]
    assert len(found) == 1
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
