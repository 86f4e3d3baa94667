"""Our network with the official network's weights (tiny, random) gives the official outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.mast3r_world import assert_equal_to
from support.mickey_world import TINY, rule_model
from torch import Tensor

from geocorrect.networks.dinov2 import resampled_positions
from geocorrect.networks.mickey.engine import network_image, to_tensor
from geocorrect.networks.mickey.model import Keypoints, Mickey

RELATIVE = 1e-4


@pytest.fixture(scope="module")
def tiny() -> Mickey:
    return rule_model()


@pytest.fixture(scope="module")
def images(mickey_official: dict[str, np.ndarray]) -> Tensor:
    """171 × 145 px, which are cut to 168 × 140 and not resized."""
    prepared = [network_image(mickey_official[name], long_side_px=171) for name in ("image0", "image1")]
    assert [placement.size for _, placement in prepared] == [(168, 140)] * 2
    for (image, _), name in zip(prepared, ("image0", "image1"), strict=True):
        np.testing.assert_array_equal(image, mickey_official[name][:140, :168])
    return to_tensor([image for image, _ in prepared])


@pytest.fixture(scope="module")
def keypoints(tiny: Mickey, images: Tensor) -> list[Keypoints]:
    return [tiny.detect(images[i : i + 1]) for i in (0, 1)]


def test_the_sizes_are_read_from_the_shapes(tiny: Mickey) -> None:
    assert tiny.sizes == TINY


def test_tokens(tiny: Mickey, images: Tensor, mickey_official: dict[str, np.ndarray]) -> None:
    features = tiny.extractor.features(images)
    assert tuple(features.shape[-2:]) == tuple(mickey_official["grid"])
    assert_equal_to(features[0].flatten(1).T, mickey_official["dino_tokens0"], RELATIVE)


@pytest.mark.parametrize("index", [0, 1])
def test_keypoints(keypoints: list[Keypoints], mickey_official: dict[str, np.ndarray], index: int) -> None:
    found = keypoints[index]
    assert_equal_to(found.px[0], mickey_official[f"kps{index}"], RELATIVE)
    assert_equal_to(found.depth_m, mickey_official[f"depth{index}"], RELATIVE)
    assert_equal_to(found.score, mickey_official[f"scr{index}"], RELATIVE)
    assert_equal_to(found.descriptor[0], mickey_official[f"dsc{index}"], RELATIVE)
    assert float(found.score.sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("index", [0, 1])
def test_score_logits(tiny: Mickey, images: Tensor, mickey_official: dict[str, np.ndarray], index: int) -> None:
    features = tiny.extractor.features(images[index : index + 1])
    assert_equal_to(tiny.extractor.det_head.logits(features)[0], mickey_official[f"det_logits{index}"], RELATIVE)


def test_match_probabilities(tiny: Mickey, keypoints: list[Keypoints], mickey_official: dict[str, np.ndarray]) -> None:
    found = tiny.match(*keypoints)
    assert_equal_to(found.probability[0, ::7], mickey_official["scores_rows"], RELATIVE)
    assert_equal_to(found.weight[0, ::7], mickey_official["final_rows"], RELATIVE)
    assert float(found.probability.double().sum()) == pytest.approx(float(mickey_official["scores_sum"]), rel=1e-5)


def test_a_batch_gives_what_single_images_give(tiny: Mickey, images: Tensor, keypoints: list[Keypoints]) -> None:
    together = tiny.detect(images)
    for index, alone in enumerate(keypoints):
        for name in ("px", "depth_m", "score", "descriptor"):
            assert_equal_to(getattr(together, name)[index], getattr(alone, name)[0].numpy(), 1e-5)


def test_positions_matter(tiny: Mickey, images: Tensor, mickey_official: dict[str, np.ndarray]) -> None:
    """The later interpolation, to the exact size, is another network: this comparison must notice it."""
    backbone = tiny.extractor.dinov2_vitl14
    trained = backbone.pos_embed[:, 1:].unflatten(1, (5, 5)).permute(0, 3, 1, 2)
    exact = torch.nn.functional.interpolate(trained, size=(10, 12), mode="bicubic").flatten(2).transpose(1, 2)
    ours = resampled_positions(backbone.pos_embed, (10, 12))
    assert torch.equal(ours[:, :1], backbone.pos_embed[:, :1])
    assert float((ours[:, 1:] - exact).norm() / exact.norm()) > 0.005
    assert torch.equal(resampled_positions(backbone.pos_embed, (5, 5)), backbone.pos_embed)
