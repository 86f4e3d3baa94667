"""Depth Pro and ZoeDepth beside the library's own processors: what goes in, what comes out, the focal length.

The processors are judges only: they need torchvision, of which what they use here is one resize that has nothing to do.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import weights_world
from support.mast3r_world import random_photo

from geocorrect.depth.monocular import DepthProOptions, ZoeDepthOptions, build_depth_pro, build_zoedepth
from geocorrect.depth.predictors import DepthPro, ZoeDepth
from geocorrect.geometry.camera import Camera
from geocorrect.networks.image_input import SYMMETRIC, normalised, resized

pytestmark = pytest.mark.long


def camera_of(image: np.ndarray, focal_px: float = 60.0) -> Camera:
    height, width = image.shape[:2]
    return Camera.pinhole(width, height, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)


def library_method(model: str, file: str, name: str, names: dict[str, Any]) -> Callable[..., Any]:
    """A method of the library, out of its source: the module around it cannot be imported without torchvision.

    names: what the method takes from its module.
    """
    package = importlib.util.find_spec(f"transformers.models.{model}")
    assert package is not None
    assert package.origin is not None
    tree = ast.parse((Path(package.origin).parent / file).read_text(encoding="utf-8"))
    (method,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
    method.decorator_list = []
    code = ast.Module([ast.parse("from __future__ import annotations").body[0], method], [])
    exec(compile(code, file, "exec"), names)
    found: Callable[..., Any] = names[name]
    return found


@pytest.fixture(scope="module")
def depth_pro(tmp_path_factory: pytest.TempPathFactory) -> DepthPro:
    folder = tmp_path_factory.mktemp("weights")
    runtime = weights_world.runtime_with(folder, "depth_pro", weights_world.depth_pro)
    source = build_depth_pro(DepthProOptions(runtime))
    assert isinstance(source.predictor, DepthPro)
    return replace(source.predictor, side_px=64)


class Positive:
    """A random network sees most things at infinity; this one's inverse depths are those of a street."""

    def __init__(self, network: Any) -> None:
        self.network, self.device, self.dtype = network, network.device, network.dtype

    def __call__(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        raw = self.network(pixel_values=pixel_values).predicted_depth
        share = (raw - raw.min()) / (raw.max() - raw.min())
        return SimpleNamespace(predicted_depth=0.02 + 0.5 * share)


def library_depth(predicted: torch.Tensor, fov_deg: float, size: tuple[int, int]) -> np.ndarray:
    """What the library's post-processing of Depth Pro makes of a raw output (h, w) and a field of view."""
    names = {"torch": torch, "pil_torch_interpolation_mapping": {"bilinear": SimpleNamespace(value="bilinear")}}
    method = library_method("depth_pro", "image_processing_depth_pro.py", "post_process_depth_estimation", names)
    outputs = SimpleNamespace(predicted_depth=predicted[None], field_of_view=torch.tensor([fov_deg]))
    (found,) = method(SimpleNamespace(resample="bilinear"), outputs, [size])
    return np.asarray(found["predicted_depth"])


@pytest.mark.parametrize("focal_px", [30.0, 70.0, 250.0])
def test_depth_pro_with_the_focal_length_is_the_library_with_the_field_of_view(
    depth_pro: DepthPro, focal_px: float
) -> None:
    photo = random_photo(100, 75)
    assert depth_pro.model.config.use_fov_model is False
    network = Positive(depth_pro.model)
    with torch.inference_mode():
        pixels = normalised(resized(photo, (depth_pro.side_px, depth_pro.side_px)), SYMMETRIC)
        canonical = network(pixel_values=pixels[None]).predicted_depth[0]
    fov_deg = math.degrees(2.0 * math.atan(100 / (2.0 * focal_px)))
    height, width = canonical.shape
    expected = library_depth(canonical, fov_deg, (height, width))
    found = replace(depth_pro, model=network).predict(photo, camera_of(photo, focal_px)).z_m
    assert found.max() < 1e3
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(found) > 1.0, "depths at the limits would prove nothing"


def test_depth_pro_is_cached_per_focal_length(depth_pro: DepthPro) -> None:
    photo = random_photo(64, 48)
    wide, long = camera_of(photo, 40.0), camera_of(photo, 80.0)
    assert depth_pro.needs(wide) != depth_pro.needs(long)
    assert depth_pro.needs(wide) == depth_pro.needs(wide.resized(128, 96))


class Recorder:
    """A network that keeps what it was shown."""

    device, dtype = torch.device("cpu"), torch.float32
    config = SimpleNamespace(bin_configurations=[weights_world.KITTI_BINS])

    def __call__(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        self.seen = pixel_values
        return SimpleNamespace(predicted_depth=pixel_values[:, 0], domain_logits=None)


@pytest.fixture
def zoedepth_library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of ZoeDepth's processor; its resize of the output has nothing to do in these tests."""
    module = importlib.import_module("transformers.models.zoedepth.image_processing_pil_zoedepth")

    def unchanged(depth: torch.Tensor, size: list[int], **options: Any) -> torch.Tensor:
        assert list(depth.shape[-2:]) == list(size)
        return depth

    resize = SimpleNamespace(resize=unchanged, InterpolationMode=SimpleNamespace(BICUBIC="bicubic"))
    monkeypatch.setattr(module, "tvF", resize, raising=False)
    return module


@pytest.mark.parametrize(
    "size",
    [(100, 75), (75, 100), (640, 480), (1242, 375), (694, 350), (1920, 1080), (1080, 1920), (512, 384), (33, 40)],
)
def test_zoedepth_sees_photos_at_the_size_of_the_library(zoedepth_library: Any, size: tuple[int, int]) -> None:
    photo = smooth_photo(*size)
    network = Recorder()
    ZoeDepth(network).predict(photo, camera_of(photo))
    processor = zoedepth_library.ZoeDepthImageProcessorPil(ensure_multiple_of=32)
    expected = processor(photo, return_tensors="pt")["pixel_values"]
    assert network.seen.shape == expected.shape
    # The library resizes from corner to corner, we with pixel centres where they belong: half a pixel at the border.
    assert (network.seen - expected).abs().max() < 0.06


def smooth_photo(width: int, height: int) -> np.ndarray:
    """Slow waves, of which a shift by half a pixel changes little."""
    v, u = np.mgrid[0:height, 0:width]
    wave = np.sin(2 * np.pi * u / width) + np.cos(2 * np.pi * v / height)
    return np.repeat((127.5 + 60 * wave)[..., None], 3, axis=2).astype(np.uint8)


def test_zoedepth_is_the_library_to_the_last_pixel_where_nothing_is_resized(
    zoedepth_library: Any, tmp_path: Path
) -> None:
    """Photo and margins that make the network's size exactly: margins, normalisation and cutting are all there is."""
    height, width = (next(n for n in range(60, 200) if n + 2 * margin(n) == size) for size in (96, 160))
    runtime = weights_world.runtime_with(tmp_path, "zoedepth_kitti", weights_world.zoedepth)
    source = build_zoedepth(ZoeDepthOptions(runtime))
    assert isinstance(source.predictor, ZoeDepth)
    predictor = replace(source.predictor, size=(160, 96))
    photo = random_photo(width, height)
    processor = zoedepth_library.ZoeDepthImageProcessorPil(ensure_multiple_of=32, size={"height": 96, "width": 160})
    inputs = processor(photo, return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (96, 160)
    with torch.inference_mode():
        outputs = predictor.model(**inputs)
    (expected,) = processor.post_process_depth_estimation(outputs, source_sizes=[(height, width)])
    found = predictor.predict(photo, camera_of(photo))
    np.testing.assert_allclose(found.z_m, expected["predicted_depth"].numpy(), rtol=1e-5)


def margin(side_px: int) -> int:
    """The reflected margin of docs/models.md."""
    return int(math.sqrt(side_px / 2) * 3)
