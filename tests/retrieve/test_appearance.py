"""Ranking by appearance: the descriptor's definition, ties, re-ranking of spatial candidates."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from support.mast3r_world import random_photo, seeded_engine

from geocorrect.errors import ModelError
from geocorrect.records import Pair
from geocorrect.retrieve.appearance import AppearanceIndex, TokenDescriber, Whitening, global_descriptor, read_whitening


def test_attention_weights_long_tokens() -> None:
    np.testing.assert_allclose(global_descriptor([[3.0, 0.0], [0.0, 1.0]]), np.array([9.0, 1.0]) / np.sqrt(82.0))


def test_whitening_comes_before_attention() -> None:
    whitening = Whitening(np.array([1.0, 1.0]), np.array([[0.0, 2.0], [1.0, 0.0]]))
    found = global_descriptor([[2.0, 1.0], [1.0, 3.0]], whitening)  # (1, 0), (0, 2) → (0, 2), (2, 0)
    np.testing.assert_allclose(found, np.array([1.0, 1.0]) / np.sqrt(2.0))
    with pytest.raises(ValueError, match="whitening needs"):
        Whitening(np.zeros(3), np.zeros((2, 2)))


def test_whitening_is_read_from_a_retrieval_checkpoint(tmp_path: Path) -> None:
    state = {"prewhiten.m": torch.ones(1, 2), "prewhiten.p": torch.eye(2), "other": torch.zeros(1)}
    torch.save({"model": state, "args": argparse.Namespace(nfeat=300)}, tmp_path / "retrieval.pth")
    found = read_whitening(tmp_path / "retrieval.pth")
    np.testing.assert_array_equal(found.mean, [1.0, 1.0])
    np.testing.assert_array_equal(found.matrix, np.eye(2))
    torch.save({"other": torch.zeros(1)}, tmp_path / "none.pth")
    with pytest.raises(ModelError, match=r"none\.pth: holds no whitening"):
        read_whitening(tmp_path / "none.pth")
    with pytest.raises(ModelError, match=r"absent\.pth: no such checkpoint"):
        read_whitening(tmp_path / "absent.pth")


@pytest.mark.parametrize("tokens", [np.zeros((0, 3)), np.zeros(3), [[np.nan, 1.0]], [[1.0, 0.0], [-1.0, 0.0]]])
def test_meaningless_tokens_are_refused(tokens: object) -> None:
    with pytest.raises(ValueError, match="token"):
        global_descriptor(tokens)  # type: ignore[arg-type]


def test_nearest_by_cosine_with_ties_by_id() -> None:
    index = AppearanceIndex(["c", "b", "a", "d"], [[1, 0], [0.8, 0.6], [1, 0], [0, 1]])
    assert index.similar([1.0, 0.0], 3) == [("a", 1.0), ("c", 1.0), ("b", 0.8)]
    with pytest.raises(ValueError, match="twice"):
        AppearanceIndex(["a", "a"], [[1, 0], [0, 1]])


def test_candidates_are_reranked_and_strangers_kept_last() -> None:
    index = AppearanceIndex(["near", "alike"], [[0.0, 1.0], [1.0, 0.0]])
    pairs = [Pair("q", "unknown", 0, 1.0), Pair("q", "near", 1, 2.0), Pair("q", "alike", 2, 9.0)]
    found = index.reranked([1.0, 0.0], pairs)
    assert [(pair.anchor_id, pair.rank, pair.distance_m) for pair in found] == [
        ("alike", 0, 9.0),
        ("near", 1, 2.0),
        ("unknown", 2, 1.0),
    ]


def test_a_photo_is_most_similar_to_its_own_copy() -> None:
    engine = seeded_engine()
    photos = [random_photo(64, 48, seed) for seed in range(5)]
    describer = TokenDescriber(engine)
    descriptors = describer.describe(photos)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1.0)
    noisy = np.clip(photos[3].astype(int) + 2, 0, 255).astype(np.uint8)
    (query,) = describer.describe([noisy])
    index = AppearanceIndex([str(number) for number in range(5)], descriptors)
    assert index.similar(query, 1)[0][0] == "3"
