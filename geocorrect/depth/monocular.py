"""Metric depth from one photo: Depth Anything V2, Depth Pro, ZoeDepth, through transformers.

Torch and the weights are touched by the `build_…` functions, not by importing this module. Predictions are cached per
photo at the network's resolution; validity rules and resizing are applied when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from geocorrect.depth.validity import ValidityRules, believable, resize_depth
from geocorrect.errors import InputError, ModelError
from geocorrect.geometry.camera import Camera
from geocorrect.networks.cards import ModelCard
from geocorrect.networks.runtime import Runtime, open_store, require_torch
from geocorrect.networks.weights import Checkpoint, locate
from geocorrect.records import Anchor, DepthMap, Float32, ImageArray

LOCAL_SHARE = 0.42
"""Part of a network's log-depth error that varies inside one image, as a share of its scale error (METHOD §1)."""

DEPTH_PRO_SIDE_PX = 1536
ZOEDEPTH_SIZE = (512, 384)


class Size(StrEnum):
    """Depth Anything V2 variants. Only SMALL may be used commercially."""

    SMALL = "small"
    BASE = "base"
    LARGE = "large"


class Scene(StrEnum):
    """What a model was fine-tuned for; decides its range."""

    OUTDOOR = "outdoor"
    INDOOR = "indoor"


@dataclass(frozen=True)
class DepthAnythingOptions:
    """short_side_px: network resolution, the trained one by default."""

    runtime: Runtime = field(default_factory=Runtime)
    size: Size = Size.LARGE
    scene: Scene = Scene.OUTDOOR
    short_side_px: int = 518
    edge_ratio: float = 1.15


@dataclass(frozen=True)
class DepthProOptions:
    """Depth Pro takes the focal length from the anchor's camera; its own field-of-view network is not loaded."""

    runtime: Runtime = field(default_factory=Runtime)
    edge_ratio: float = 1.15


@dataclass(frozen=True)
class ZoeDepthOptions:
    """scene OUTDOOR uses the KITTI head; INDOOR the two-headed model, which decides per image."""

    runtime: Runtime = field(default_factory=Runtime)
    scene: Scene = Scene.OUTDOOR
    edge_ratio: float = 1.15


class Predictor(Protocol):
    """A network. `needs` names what else than pixels the prediction depends on, for the cache."""

    def needs(self, camera: Camera) -> str:
        """What of the camera the prediction depends on; empty for nothing."""
        ...

    def predict(self, image: ImageArray, camera: Camera) -> Float32:
        """z-depth (h, w) in metres that covers exactly the whole image."""
        ...


class MonocularDepth:
    """DepthSource around one network."""

    def __init__(self, predictor: Predictor, weights: Checkpoint, runtime: Runtime, edge_ratio: float) -> None:
        if weights.card.valid_range_m is None or weights.card.relative_depth_sigma is None:
            raise ValueError(f"{weights.card.name} is not a depth model")
        self.predictor = predictor
        self.card: ModelCard = weights.card
        self.rules = ValidityRules(weights.card.valid_range_m, edge_ratio=edge_ratio)
        self._sigma = weights.card.relative_depth_sigma
        self._identity = f"{weights.identity}/{runtime.precision}"
        self._store = open_store(runtime)

    @property
    def fingerprint(self) -> str:
        """Weights, settings of the network and validity rules."""
        return (
            f"{self._identity}/{self.predictor!r}/{self.rules.range_m}/{self.rules.cap_margin}/{self.rules.edge_ratio}"
        )

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """Dense depth of the anchor's image; nan where it gives no point. InputError when the camera does not fit."""
        return self.depth_of(image, anchor.camera, anchor.id)

    def depth_of(self, image: ImageArray, camera: Camera, name: str = "image") -> DepthMap:
        """Dense depth of any image (H, W, 3) with this camera."""
        height, width = image.shape[:2]
        if (camera.width, camera.height) != (width, height):
            raise InputError(f"{name}: image is {width}×{height}, its camera {camera.width}×{camera.height}")
        if not np.isfinite(camera.focal_x_px):
            raise InputError(f"{name}: a spherical image has no z-depth; cut perspective faces first")
        z_m = believable(self._predicted(image, camera), image, self.rules)
        return DepthMap(
            name=self.card.name,
            is_oracle=False,
            z_m=resize_depth(z_m, (width, height)),
            log_sigma=LOCAL_SHARE * self._sigma,
            common_log_sigma=self._sigma,
        )

    def _predicted(self, image: ImageArray, camera: Camera) -> Float32:
        import torch

        from geocorrect.networks.store import content_key

        key = content_key(image, "depth", self._identity, repr(self.predictor), self.predictor.needs(camera))
        cached = self._store.get(key)
        if cached is None:
            cached = {"z_m": torch.from_numpy(self.predictor.predict(image, camera))}
            self._store.put(key, cached)
        return np.asarray(cached["z_m"].cpu().numpy(), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class DepthAnything:
    """Depth Anything V2 metric: sigmoid times the cap; no intrinsics."""

    model: Any = field(repr=False)
    short_side_px: int = 518

    def needs(self, camera: Camera) -> str:
        """Nothing but pixels."""
        return ""

    def predict(self, image: ImageArray, camera: Camera) -> Float32:
        """See `Predictor`."""
        from geocorrect.networks.image_input import IMAGENET, normalised, resized, size_with_short_side

        size = size_with_short_side(image.shape[1], image.shape[0], self.short_side_px, self.model.config.patch_size)
        return _run(self.model, normalised(resized(image, size, bicubic=True), IMAGENET))


@dataclass(frozen=True, eq=False)
class DepthPro:
    """Depth Pro: the network's output is inverse depth for a canonical camera; the known focal length scales it."""

    model: Any = field(repr=False)
    side_px: int = DEPTH_PRO_SIDE_PX

    def needs(self, camera: Camera) -> str:
        """The focal length in units of the image width."""
        return f"focal/width={camera.focal_x_px / camera.width!r}"

    def predict(self, image: ImageArray, camera: Camera) -> Float32:
        """See `Predictor`. depth = 1 / (canonical inverse depth · width / focal) (MODELS §4.4)."""
        from geocorrect.networks.image_input import SYMMETRIC, normalised, resized

        canonical = _run(self.model, normalised(resized(image, (self.side_px, self.side_px)), SYMMETRIC))
        inverse = np.clip(canonical * (camera.width / camera.focal_x_px), 1e-4, 1e4)
        return np.asarray(1.0 / inverse, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class ZoeDepth:
    """ZoeDepth: reflected margins against border artefacts; one image at a time, for its heads vote per batch."""

    model: Any = field(repr=False)
    size: tuple[int, int] = ZOEDEPTH_SIZE

    def needs(self, camera: Camera) -> str:
        """Nothing but pixels."""
        return ""

    def predict(self, image: ImageArray, camera: Camera) -> Float32:
        """See `Predictor`."""
        from geocorrect.networks.image_input import SYMMETRIC, normalised, resized

        height, width = image.shape[:2]
        margin_y, margin_x = (int(np.sqrt(side / 2) * 3) for side in (height, width))
        margins = ((margin_y, margin_y), (margin_x, margin_x), (0, 0))
        padded: ImageArray = np.pad(image, margins, mode="reflect")
        z_m = _run(self.model, normalised(resized(padded, self._network_size(padded)), SYMMETRIC))
        whole = resize_depth(z_m, (padded.shape[1], padded.shape[0]))
        return np.ascontiguousarray(whole[margin_y : margin_y + height, margin_x : margin_x + width])

    def _network_size(self, padded: ImageArray) -> tuple[int, int]:
        """As near to the trained size as one scale for both axes allows, in multiples of 32."""
        height, width = padded.shape[:2]
        scales = self.size[0] / width, self.size[1] / height
        scale = min(scales, key=lambda candidate: abs(1.0 - candidate))
        return max(32, round(width * scale / 32) * 32), max(32, round(height * scale / 32) * 32)


def build_depth_anything(options: DepthAnythingOptions) -> MonocularDepth:
    """Depth Anything V2; ModelError when the weights are missing, not metric, or not licensed for the profile."""
    require_torch()
    from transformers import DepthAnythingForDepthEstimation

    name = f"depth_anything_v2_{options.scene}_{options.size}"
    model, weights = _load(name, options.runtime, DepthAnythingForDepthEstimation)
    if model.config.depth_estimation_type != "metric":
        raise ModelError(f"{weights.folder}: a relative-depth model; metric depth needs the weights of {name}")
    return MonocularDepth(DepthAnything(model, options.short_side_px), weights, options.runtime, options.edge_ratio)


def build_depth_pro(options: DepthProOptions) -> MonocularDepth:
    """Depth Pro without its field-of-view network; ModelError as above."""
    require_torch()
    from transformers import DepthProForDepthEstimation

    model, weights = _load("depth_pro", options.runtime, DepthProForDepthEstimation, use_fov_model=False)
    return MonocularDepth(DepthPro(model), weights, options.runtime, options.edge_ratio)


def build_zoedepth(options: ZoeDepthOptions) -> MonocularDepth:
    """ZoeDepth; ModelError as above."""
    require_torch()
    from transformers import ZoeDepthForDepthEstimation

    name = "zoedepth_kitti" if options.scene is Scene.OUTDOOR else "zoedepth_nyu_kitti"
    model, weights = _load(name, options.runtime, ZoeDepthForDepthEstimation)
    return MonocularDepth(ZoeDepth(model), weights, options.runtime, options.edge_ratio)


def _load(name: str, runtime: Runtime, model_class: Any, **settings: Any) -> tuple[Any, Checkpoint]:
    from geocorrect.networks.pretrained import load_pretrained

    weights = locate(name, runtime.access)
    return load_pretrained(model_class, weights.folder, runtime, **settings), weights


def _run(model: Any, pixels: Any) -> Float32:
    import torch

    with torch.inference_mode():
        output = model(pixel_values=pixels[None].to(model.device, model.dtype))
    return np.ascontiguousarray(output.predicted_depth[0].float().cpu().numpy(), dtype=np.float32)
