"""The pretrained matchers with small random networks of the real classes: pixels of the photos, sub-pixel kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import weights_world
from support.mast3r_world import random_photo

from geocorrect.errors import ModelError
from geocorrect.match import aliked_lightglue, huggingface, lightglue_disk, xfeat
from geocorrect.match.aliked_lightglue import AlikedLightGlueOptions
from geocorrect.match.base import Matcher
from geocorrect.match.huggingface import EloftrOptions, LightGlueOptions, PairMatcher, select_eloftr, select_lightglue
from geocorrect.match.lightglue_disk import DiskLightGlueOptions
from geocorrect.match.xfeat import XFeatOptions
from geocorrect.networks.cards import CARDS
from geocorrect.networks.image_input import to_photos
from geocorrect.networks.local_features.matcher import FeatureMatcher
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.weights import Checkpoint, ModelAccess


@pytest.fixture(scope="module")
def eloftr(tmp_path_factory: pytest.TempPathFactory) -> PairMatcher:
    runtime = weights_world.runtime_with(tmp_path_factory.mktemp("weights"), "eloftr", weights_world.eloftr)
    return huggingface.build_eloftr(EloftrOptions(runtime, long_side_px=160, min_score=0.0))


@pytest.fixture(scope="module")
def superpoint(tmp_path_factory: pytest.TempPathFactory) -> PairMatcher:
    folder = tmp_path_factory.mktemp("weights")
    runtime = weights_world.runtime_with(folder, "lightglue_superpoint", weights_world.lightglue_superpoint)
    return huggingface.build_lightglue_superpoint(LightGlueOptions(runtime, long_side_px=96, min_score=0.0))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> FeatureMatcher:
    folder = tmp_path_factory.mktemp("weights")
    runtime = weights_world.runtime_with(folder, "lightglue_disk", weights_world.lightglue_disk)
    return lightglue_disk.build(DiskLightGlueOptions(runtime, long_side_px=64, min_score=0.0))


PHOTO_AND_ANCHORS = random_photo(64, 48), [random_photo(64, 48, 1)]


@pytest.mark.parametrize("name", ["eloftr", "superpoint", "disk"])
def test_matches_lie_inside_the_photos(name: str, request: pytest.FixtureRequest) -> None:
    matcher = request.getfixturevalue(name)
    assert isinstance(matcher, Matcher)
    query, anchors = random_photo(200, 150), [random_photo(200, 150), random_photo(90, 120, 1)]
    found = matcher.match(query, anchors)
    assert len(found) == 2
    for matches, anchor in zip(found, anchors, strict=True):
        for px, photo in ((matches.query_px, query), (matches.anchor_px, anchor)):
            assert (px >= -0.5).all()
            assert (px <= [photo.shape[1] - 0.5, photo.shape[0] - 0.5]).all()
    assert matcher.match(query, []) == []
    again = matcher.match(query, anchors)
    np.testing.assert_array_equal(found[0].query_px, again[0].query_px)


@pytest.mark.parametrize("name", ["superpoint", "disk"])
def test_a_photo_matches_itself(name: str, request: pytest.FixtureRequest) -> None:
    """Random weights match a photo with itself where it should: identical features, so the diagonal wins."""
    photo = random_photo(128, 96)
    (found,) = request.getfixturevalue(name).match(photo, [photo])
    assert len(found) > 0
    distance = np.linalg.norm(found.query_px - found.anchor_px, axis=1)
    assert np.median(distance) < 3.0


def test_eloftr_matches_a_photo_with_itself(eloftr: PairMatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights tell no cells apart and give faint features: each cell is given itself, and contrast."""
    network = eloftr.model.resolve()
    honest, refine = network._get_matches_from_scores, network._fine_matching

    def same(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n_cells = scores.shape[1] * scores.shape[2]
        return honest(0.9 * torch.eye(n_cells).reshape(scores.shape))

    def contrasted(fine_0: torch.Tensor, fine_1: torch.Tensor, *others: object) -> torch.Tensor:
        mean, deviation = fine_1.mean(dim=(0, 1, 2)), fine_1.std(dim=(0, 1, 2))
        return refine(*(4 * (fine - mean) / deviation for fine in (fine_0, fine_1)), *others)

    monkeypatch.setattr(network, "_get_matches_from_scores", same)
    monkeypatch.setattr(network, "_fine_matching", contrasted)
    photo = random_photo(160, 128)
    (found,) = eloftr.match(photo, [photo])
    rows, columns = np.meshgrid(np.arange(2, 14), np.arange(2, 18), indexing="ij")
    cells_px = 8 * np.stack([columns.ravel(), rows.ravel()], axis=1)
    assert len(found) == len(cells_px)
    for px in (found.query_px, found.anchor_px):
        offset = px - cells_px
        assert np.abs(offset).max() <= 4.5
        assert len(np.unique(offset.round(), axis=0)) > 16, "each keypoint moves on its own"


class Raw:
    """A network with a fixed raw output."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, output: SimpleNamespace) -> None:
        self.output = output
        self.input: torch.Tensor | None = None

    def __call__(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        self.input = pixel_values
        return self.output


def _weights(name: str) -> Checkpoint:
    return Checkpoint(CARDS[name], Path(), f"{name}-test")


def test_eloftr_keeps_fractions_of_pixels() -> None:
    """Normalised coordinates × canvas are network pixels; the photos, 2 × and 3 × as large, keep their aspect in it."""
    keypoints = torch.tensor([[[0.1234, 0.25], [0.5, 0.5], [0.9, 0.9]], [[0.2, 0.3], [0.4, 0.4], [0.9, 0.9]]])
    matches = torch.tensor([[0, 1, -1], [0, 1, -1]])
    output = SimpleNamespace(
        keypoints=keypoints[None], matches=matches[None], matching_scores=torch.tensor([[[0.9, 0.1, 0.9]] * 2])
    )
    network = Raw(output)
    matcher = PairMatcher(network, _weights("eloftr"), EloftrOptions(long_side_px=160, min_score=0.2))
    (found,) = matcher.match(random_photo(320, 180), [random_photo(480, 288)])
    assert network.input is not None
    assert network.input.shape == (1, 2, 3, 96, 160), "90 rows of the photo and 96 of the anchor"
    assert torch.equal(network.input[0, 0, 0, 90:], network.input[0, 0, 0, 89:90].expand(6, -1)), "its last row again"
    assert torch.equal(network.input[0, 0, 0], network.input[0, 0, 2])
    assert len(found) == 1  # the second is below the threshold, the third unmatched
    np.testing.assert_allclose(
        found.query_px[0], [(0.1234 * 160 + 0.5) * 2 - 0.5, (0.25 * 96 + 0.5) * 2 - 0.5], rtol=1e-6
    )
    np.testing.assert_allclose(found.anchor_px[0], [(0.2 * 160 + 0.5) * 3 - 0.5, (0.3 * 96 + 0.5) * 3 - 0.5], rtol=1e-6)
    assert found.score[0] == pytest.approx(0.9)


def test_eloftr_pairs_cells_that_match_each_other(eloftr: PairMatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A permutation that does not keep the order of cells: cell (row, column) matches (row, 9 − column)."""
    network = eloftr.model.resolve()
    honest = network._get_matches_from_scores

    def mirrored(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        _, height, width, _, _ = scores.shape
        known = torch.zeros_like(scores)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width - 10), indexing="ij")
        known[0, rows, columns, rows, 9 - columns] = 0.9
        return honest(known)

    monkeypatch.setattr(network, "_get_matches_from_scores", mirrored)
    photo = random_photo(160, 128)
    (found,) = eloftr.match(photo, [photo])
    cells, partners = (found.query_px + 4) // 8, (found.anchor_px + 4) // 8
    inner = cells[:, 0] + partners[:, 0]
    assert len(found) == 6 * 12  # two cells at each border are never matched
    np.testing.assert_allclose(inner, 9, atol=2)
    np.testing.assert_allclose(cells[:, 1], partners[:, 1], atol=2)


def test_lightglue_follows_indices_and_masks_padding() -> None:
    keypoints = torch.tensor([[[0.1, 0.1], [0.2, 0.2], [0.0, 0.0]], [[0.5, 0.5], [0.6, 0.6], [0.0, 0.0]]])
    output = SimpleNamespace(
        keypoints=keypoints[None],
        matches=torch.tensor([[[1, -1, 0], [-1, 0, -1]]]),
        matching_scores=torch.tensor([[[0.8, 0.0, 0.9], [0.0, 0.8, 0.0]]]),
        mask=torch.tensor([[[1, 1, 0], [1, 1, 0]]]),
    )
    query, anchor, score = select_lightglue(output)
    np.testing.assert_allclose(query, [[0.1, 0.1]])
    np.testing.assert_allclose(anchor, [[0.6, 0.6]])
    np.testing.assert_allclose(score, [0.8])


def test_eloftr_without_matches() -> None:
    output = SimpleNamespace(
        keypoints=torch.zeros(1, 2, 4, 2), matches=torch.full((1, 2, 4), -1), matching_scores=torch.zeros(1, 2, 4)
    )
    assert all(len(part) == 0 for part in select_eloftr(output))


def test_matches_outside_a_photo_are_dropped() -> None:
    photo = np.zeros((10, 20, 3), np.uint8)
    inside, outside = [19.4, 9.4], [19.6, 5.0]
    network_px = np.array([inside, inside]), np.array([inside, outside])
    assert len(to_photos(network_px, np.ones(2), (photo, photo), ((20, 10), (20, 10)))) == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda runtime: huggingface.build_eloftr(EloftrOptions(runtime)),
        lambda runtime: huggingface.build_lightglue_superpoint(LightGlueOptions(runtime)),
        lambda runtime: lightglue_disk.build(DiskLightGlueOptions(runtime)),
        lambda runtime: aliked_lightglue.build(AlikedLightGlueOptions(runtime)),
        lambda runtime: xfeat.build(XFeatOptions(runtime)),
    ],
)
def test_missing_weights_name_the_command(build: Callable[[Runtime], object], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"(?s)not on this machine.*geocorrect models fetch "):
        build(Runtime(device="cpu", access=ModelAccess(tmp_path)))


def test_disk_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        weights_world.lightglue_disk(folder)
        torch.save({"extractor": {"stranger": torch.zeros(1)}}, folder / "disk.pth")

    runtime = weights_world.runtime_with(tmp_path, "lightglue_disk", write)
    with pytest.raises(ModelError, match=r"disk.pth: does not fit DISK"):
        lightglue_disk.build(DiskLightGlueOptions(runtime)).match(*PHOTO_AND_ANCHORS)


def test_damaged_disk_weights_are_refused(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        weights_world.lightglue_disk(folder)
        (folder / "disk_lightglue.pth").write_bytes(b"not a pickle")

    runtime = weights_world.runtime_with(tmp_path, "lightglue_disk", write)
    with pytest.raises(ModelError, match=r"disk_lightglue.pth: truncated or damaged"):
        lightglue_disk.build(DiskLightGlueOptions(runtime)).match(*PHOTO_AND_ANCHORS)


def test_fingerprints_tell_settings_apart(eloftr: PairMatcher) -> None:
    other = PairMatcher(eloftr.model, _weights("eloftr"), replace(eloftr.settings, min_score=0.5))
    assert other.fingerprint != eloftr.fingerprint
