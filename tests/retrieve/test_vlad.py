"""Photos described by local features: the definition, the words, large scenes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support.mast3r_world import random_photo

from geocorrect.errors import InputError, ModelError
from geocorrect.records import Float32, ImageArray
from geocorrect.retrieve import appearance
from geocorrect.retrieve.appearance import AppearanceIndex
from geocorrect.retrieve.vlad import WORDS, LocalFeatures, VladDescriber, vlad


def test_differences_from_the_nearest_word_are_summed_and_normalised_per_word() -> None:
    words = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], np.float32)
    seen = np.array([[1.0, 0.0], [2.0, 0.0], [10.0, 4.0]], np.float32)  # (3, 0) of the first word, (0, 4) of the second
    np.testing.assert_allclose(vlad(seen, words), np.array([1, 0, 0, 1, 0, 0]) / np.sqrt(2.0), rtol=1e-6)
    assert not vlad(np.zeros((0, 2), np.float32), words).any()


def patches(photo: ImageArray) -> Float32:
    """Blocks of 4 × 4 pixels as unit descriptors; of a black photo none."""
    grey = photo.mean(axis=2)
    height, width = (side // 4 * 4 for side in grey.shape)
    rows = grey[:height, :width].reshape(height // 4, 4, width // 4, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
    rows = rows[rows.any(axis=1)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


FEATURES = LocalFeatures(patches, "patches")


def test_words_are_learned_once_and_the_same_photos_give_the_same_ones(tmp_path: Path) -> None:
    photos = [random_photo(64, 48, seed) for seed in range(4)]
    first, other = VladDescriber(FEATURES, tmp_path / "a"), VladDescriber(FEATURES, tmp_path / "b")
    assert not first.is_trained
    with pytest.raises(InputError, match=r"words-.*npy: the visual words .* cannot be read"):
        first.describe(photos)
    first.train(photos)
    other.train(photos)
    later = VladDescriber(FEATURES, tmp_path / "a")
    assert later.is_trained
    assert later.identity == first.identity == other.identity
    described = later.describe(photos)
    assert described.shape == (4, WORDS * 16)
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1.0, rtol=1e-5)
    other.train(photos[:2])
    assert VladDescriber(FEATURES, tmp_path / "b").identity != first.identity


@pytest.mark.parametrize("damage", ["cut short", "empty", "other words", "no numbers"])
def test_damaged_words_are_one_error_that_says_what_to_do(tmp_path: Path, damage: str) -> None:
    describer = VladDescriber(FEATURES, tmp_path)
    describer.train([random_photo(64, 48, seed) for seed in range(4)])
    content, words = describer.file.read_bytes(), np.load(describer.file)
    if damage in ("cut short", "empty"):
        describer.file.write_bytes(content[: 300 if damage == "cut short" else 0])
    else:
        np.save(describer.file, words[:5] if damage == "other words" else words * np.nan)
    later = VladDescriber(FEATURES, tmp_path)
    with pytest.raises(InputError, match=rf"{re.escape(str(later.file))}: .*remove the file, and the next run"):
        _ = later.is_trained
    later.file.unlink()
    assert not later.is_trained


def test_a_scene_that_shows_nothing_is_named(tmp_path: Path) -> None:
    black = np.zeros((48, 64, 3), np.uint8)
    describer = VladDescriber(FEATURES, tmp_path)
    assert describer.refusal(black) == "shows no features to compare"
    assert describer.refusal(random_photo(64, 48)) == ""
    with pytest.raises(InputError, match="1 anchors show 0 features, too few to learn 32 visual words"):
        describer.train([black])
    assert not describer.is_trained


def test_large_scenes_are_searched_by_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = [f"a{number:03d}" for number in range(600)]
    wanted = rows[17] + 0.05 * random.normal(size=24)
    exact = AppearanceIndex(ids, rows)
    monkeypatch.setattr(appearance, "EXACT_DESCRIPTORS", 599)
    large = AppearanceIndex(ids, rows)
    assert large._approximate is not None
    found = large.similar(wanted, 3)
    assert found[0] == exact.similar(wanted, 3)[0]
    assert found[0][0] == "a017"
    assert len(found) == 3
    both = large.similar(np.stack([rows[3], rows[400]]), 2)
    assert {name for name, _ in both} == {"a003", "a400"}


def test_without_faiss_the_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(appearance, "EXACT_DESCRIPTORS", 1)
    with pytest.raises(ModelError, match=r"pip install 'geocorrect\[retrieval\]'"):
        AppearanceIndex(["a", "b"], np.eye(2, dtype=np.float32))
