"""Depth Anything 3: names and shapes of the published file, numbers of the published code, files that are refused.

`depth_anything_3.json` was written once, with the published package: keys and shapes of its configuration, and what it
computes from the small network of `support/depth_anything_3_world.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import weights_world
from support.depth_anything_3_world import TINY, photo, tiny_tensors, write

from geocorrect.depth.monocular import DEPTH_ANYTHING_3, DepthAnything3Options, build_depth_anything_3
from geocorrect.depth.predictors import DepthAnything3 as Predictor
from geocorrect.errors import ModelError
from geocorrect.geometry.camera import Camera
from geocorrect.networks.cards import CARDS
from geocorrect.networks.depth_anything_3.loading import assemble, load, sizes_from_shapes
from geocorrect.networks.depth_anything_3.model import DepthAnything3, DepthAnything3Sizes
from geocorrect.networks.runtime import Runtime

PUBLISHED = json.loads((Path(__file__).parent / "depth_anything_3.json").read_text())
PARITY = PUBLISHED["parity"]


def published_shapes() -> dict[str, tuple[int, ...]]:
    blocks = {key.replace("*", str(number)): shape for key, shape in PUBLISHED["block"].items() for number in range(24)}
    return {key: tuple(shape) for key, shape in (PUBLISHED["other"] | blocks).items()}


def camera_of(image: np.ndarray, factor: float = 1.0) -> Camera:
    height, width = image.shape[:2]
    focal_x_px, focal_y_px = (factor * focal for focal in PARITY["focal_px"])
    return Camera.pinhole(width, height, focal_x_px, focal_y_px, (width - 1) / 2, (height - 1) / 2)


@pytest.fixture(scope="module")
def tiny() -> DepthAnything3:
    return assemble(tiny_tensors())


def test_every_tensor_of_the_published_file_has_its_place() -> None:
    shapes = published_shapes()
    with torch.device("meta"):
        ours = DepthAnything3(DepthAnything3Sizes()).state_dict()
    assert {f"model.{key}": tuple(tensor.shape) for key, tensor in ours.items()} == shapes
    n_parameters = sum(int(np.prod(shape)) for shape in shapes.values())
    assert n_parameters == 334_171_394
    assert CARDS[DEPTH_ANYTHING_3].size_mb == pytest.approx(4 * n_parameters / 1e6, abs=1)
    assert sizes_from_shapes({key.removeprefix("model."): shape for key, shape in shapes.items()}) == (
        DepthAnything3Sizes()
    )


class Recorded:
    """The network, and the images that it was shown."""

    def __init__(self, model: DepthAnything3) -> None:
        self.model, self.sizes, self.seen = model, model.sizes, list[torch.Tensor]()

    def __call__(self, images: torch.Tensor) -> Any:
        self.seen.append(images)
        return self.model(images)


def test_the_numbers_are_those_of_the_published_code(tiny: DepthAnything3) -> None:
    """Input, depth, sky and metres; the grid of 4 × 7 patches is halved to 2 × 4 and back, so sizes count, too."""
    network, image = Recorded(tiny), photo()
    found = Predictor(network, PARITY["long_side_px"]).predict(image, camera_of(image))
    (shown,) = network.seen
    np.testing.assert_allclose(shown.flatten()[::101], PARITY["input_every_101st"], rtol=1e-5, atol=1e-6)
    depth, sky = tiny(shown)
    assert list(depth.shape[1:]) == PARITY["shape"]
    np.testing.assert_allclose(depth.flatten()[::13], PARITY["depth_every_13th"], rtol=1e-4)
    np.testing.assert_allclose(sky.flatten()[::13], PARITY["sky_every_13th"], atol=1e-5)
    is_sky = sky[0].numpy() >= 0.3
    assert 0.01 < is_sky.mean() < 0.99
    np.testing.assert_array_equal(np.isnan(found.z_m), is_sky)
    metres = np.where(is_sky.flatten()[::13], np.nan, PARITY["metric_every_13th"])
    np.testing.assert_allclose(found.z_m.flatten()[::13], metres, rtol=1e-4)


def test_a_longer_lens_sees_farther_and_is_not_mistaken_in_the_cache(tmp_path: Path) -> None:
    runtime = weights_world.runtime_with(tmp_path, DEPTH_ANYTHING_3, write)
    source = build_depth_anything_3(DepthAnything3Options(runtime, long_side_px=98, edge_ratio=3.0))
    image = photo()
    maps = [source.depth_of(image, camera_of(image, factor)) for factor in (4.0, 8.0, 4.0)]
    near, far, again = (found.z_m for found in maps)
    assert near is not None
    assert far is not None
    assert near.shape == image.shape[:2]
    both = np.isfinite(near) & np.isfinite(far)
    assert both.mean() > 0.05
    np.testing.assert_allclose(far[both], 2.0 * near[both], rtol=1e-5)
    np.testing.assert_array_equal(near, again)
    assert DEPTH_ANYTHING_3 in source.fingerprint
    assert "the camera's focal length" in source.declaration.needs
    assert CARDS[DEPTH_ANYTHING_3].licence.commercial


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = tiny_tensors()
    damages = [
        ({**tensors, "model.stranger": torch.zeros(1)}, "unknown.*`stranger`"),
        ({key: t for key, t in tensors.items() if "sky" not in key}, "missing.*`head.scratch.sky"),
        ({key: t for key, t in tensors.items() if ".blocks.23." not in key}, "23 blocks of width 128, expected 24"),
        ({**tensors, "model.head.projects.0.bias": torch.full((8,), torch.nan)}, "not finite"),
        ({key: t for key, t in tensors.items() if "patch_embed" not in key}, "no tensor `backbone.pretrained.patch"),
    ]
    for damaged, message in damages:
        save_file(damaged, path)
        with pytest.raises(ModelError, match=f"{path}.*{message}"):
            load(path, Runtime(device="cpu"))


def test_a_size_that_patches_do_not_fill_is_refused(tiny: DepthAnything3) -> None:
    with pytest.raises(ValueError, match="100×56 is not a multiple of 14"):
        tiny(torch.zeros(1, 3, 56, 100))


def test_half_precision_is_in_the_backbone_only() -> None:
    model = assemble(tiny_tensors()).use_dtype(torch.bfloat16)
    halved = {key.split(".")[0] for key, tensor in model.state_dict().items() if tensor.dtype is torch.bfloat16}
    assert halved == {"backbone"}
    image = torch.rand(1, 3, 56, 56)
    exact, rounded = assemble(tiny_tensors())(image)[0], model(image)[0]
    assert torch.median((rounded / exact).log().abs()) < 0.1
    assert model.sizes == TINY
