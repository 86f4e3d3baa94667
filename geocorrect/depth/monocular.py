"""Metric depth from one photo: Depth Anything V2 and 3, Depth Pro, ZoeDepth.

Torch and the weights are touched by the first prediction that is not in the cache. Predictions are cached per photo at
the network's resolution; validity rules and resizing are applied when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from geocorrect.depth.base import DepthDeclaration, declared_by_card
from geocorrect.depth.predictors import DepthAnything, DepthAnything3, DepthPro, Prediction, Predictor, ZoeDepth
from geocorrect.depth.validity import ValidityRules, believable, resize_depth
from geocorrect.errors import InputError, ModelError
from geocorrect.geometry.camera import Camera
from geocorrect.networks.cards import CARDS, ModelCard
from geocorrect.networks.deferred import deferred
from geocorrect.networks.pretrained import deferred_pretrained
from geocorrect.networks.runtime import Runtime, open_store, require_compiler, require_libraries, torch_device
from geocorrect.networks.weights import Checkpoint, locate
from geocorrect.records import NAN, Anchor, DepthMap, ImageArray

if TYPE_CHECKING:
    from geocorrect.networks.store import TensorStore

DEPTH_PRO = "depth_pro"
DEPTH_ANYTHING_3 = "depth_anything_3_metric"
KNOW_FOCAL = (DEPTH_PRO, DEPTH_ANYTHING_3)
"""Networks whose depth depends on the camera's focal length."""
TRAINED_FOCAL = {"outdoor": 725.0087 / 375.0, "indoor": 886.81 / 768.0}
"""Focal length over short side of the data that Depth Anything V2 was fine-tuned on: Virtual KITTI 2, Hypersim."""


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
    """Depth Anything V2, fine-tuned for metric depth (Yang et al. 2024)."""

    runtime: Runtime = field(default_factory=Runtime)
    size: Size = Size.LARGE
    scene: Scene = Scene.OUTDOOR
    short_side_px: int = 518
    """Network resolution; the default is the trained one."""
    rescale_by_focal: bool = False
    """Multiply depth by the camera's focal length over that of the fine-tuning photos, in units of the short side.

    The network knows no intrinsics, so other lenses see scaled depth; how much of the effect it has learned to undo is
    not known, hence off. See `docs/networks.md`, section Depth and focal length.
    """
    edge_ratio: float = 1.15


@dataclass(frozen=True)
class DepthAnything3Options:
    """Depth Anything 3, metric (Lin et al. 2025), with the anchor's focal length."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 504
    """Network resolution; the default is that of the published code."""
    edge_ratio: float = 1.15


@dataclass(frozen=True)
class DepthProOptions:
    """Depth Pro (Bochkovskii et al. 2024) with the anchor's focal length; its field-of-view network is not loaded."""

    runtime: Runtime = field(default_factory=Runtime)
    edge_ratio: float = 1.15


@dataclass(frozen=True)
class ZoeDepthOptions:
    """ZoeDepth (Bhat et al. 2023)."""

    runtime: Runtime = field(default_factory=Runtime)
    scene: Scene = Scene.OUTDOOR
    """OUTDOOR uses the KITTI head; INDOOR the two-headed model, which decides per image."""
    edge_ratio: float = 1.15


class MonocularDepth:
    """DepthSource around one network."""

    def __init__(self, predictor: Predictor, weights: Checkpoint, runtime: Runtime, edge_ratio: float) -> None:
        self.predictor, self.card = predictor, weights.card
        self.declaration = declare_network(self.card)
        self.rules = ValidityRules(self.declaration.valid_range_m, edge_ratio=edge_ratio)
        self._identity = f"{weights.identity}/{runtime.precision}"
        self._runtime = runtime

    @cached_property
    def _store(self) -> TensorStore:
        return open_store(self._runtime)

    @property
    def fingerprint(self) -> str:
        """Weights, settings of the network and validity rules."""
        rules = self.rules
        return f"{self._identity}/{self.predictor!r}/{rules.range_m}/{rules.cap_margin}/{rules.edge_ratio}"

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
        # Range and cap are those of the network's own metres.
        predicted = self._predicted(image, camera)
        nearest, farthest = self.rules.range_m
        rules = replace(self.rules, range_m=(nearest, min(farthest, predicted.cap_m)))
        z_m = believable(predicted.z_m, image, rules)
        z_m = z_m * np.float32(self.predictor.focal_factor(camera))
        return DepthMap(
            name=self.card.name,
            is_oracle=False,
            z_m=resize_depth(z_m, (width, height)),
            log_sigma=self.declaration.log_sigma,
            common_log_sigma=self.declaration.common_log_sigma,
        )

    def _predicted(self, image: ImageArray, camera: Camera) -> Prediction:
        import torch

        from geocorrect.networks.store import content_key

        key = content_key(image, "depth and cap", self._identity, repr(self.predictor), self.predictor.needs(camera))
        cached = self._store.get(key)
        if cached is None:
            new = self.predictor.predict(image, camera)
            cached = {"z_m": torch.from_numpy(new.z_m), "cap_m": torch.tensor([new.cap_m], dtype=torch.float32)}
            self._store.put(key, cached)
        return Prediction(np.asarray(cached["z_m"].cpu().numpy(), dtype=np.float32), float(cached["cap_m"][0]))


def declare_network(card: ModelCard) -> DepthDeclaration:
    """What a network of this card is, whether or not its weights are here."""
    return declared_by_card(card, *(["the camera's focal length"] if card.name in KNOW_FOCAL else []))


def depth_anything_card(options: DepthAnythingOptions) -> ModelCard:
    """The card of the variant that the options choose."""
    return CARDS[f"depth_anything_v2_{options.scene}_{options.size}"]


def zoedepth_card(options: ZoeDepthOptions) -> ModelCard:
    """The card of the variant that the options choose."""
    return CARDS["zoedepth_kitti" if options.scene is Scene.OUTDOOR else "zoedepth_nyu_kitti"]


def build_depth_anything(options: DepthAnythingOptions) -> MonocularDepth:
    """Depth Anything V2; ModelError when the weights are missing or not licensed for the profile.

    Weights that are damaged, or not metric, are refused by the first prediction.
    """
    card, runtime = depth_anything_card(options), options.runtime
    model, weights = deferred_pretrained(card.name, "DepthAnythingForDepthEstimation", runtime)
    trained_focal = TRAINED_FOCAL[options.scene] if options.rescale_by_focal else NAN
    predictor = DepthAnything(deferred(partial(_metric, model, weights)), options.short_side_px, trained_focal)
    return MonocularDepth(predictor, weights, runtime, options.edge_ratio)


def _metric(model: Any, weights: Checkpoint) -> Any:
    if model.config.depth_estimation_type != "metric":
        raise ModelError(
            f"{weights.folder}: a relative-depth model; metric depth needs the weights of {weights.card.name}"
        )
    return model


def build_depth_anything_3(options: DepthAnything3Options) -> MonocularDepth:
    """Depth Anything 3; ModelError as above."""
    require_libraries()
    from geocorrect.networks.depth_anything_3.loading import load

    runtime = options.runtime
    weights = locate(DEPTH_ANYTHING_3, runtime.access)
    torch_device(runtime)  # a device or a compiler that is not there is said now
    require_compiler(runtime)
    model = deferred(partial(load, weights.file("model.safetensors"), runtime))
    return MonocularDepth(DepthAnything3(model, options.long_side_px), weights, runtime, options.edge_ratio)


def build_depth_pro(options: DepthProOptions) -> MonocularDepth:
    """Depth Pro without its field-of-view network; ModelError as above."""
    settings = {"use_fov_model": False}
    model, weights = deferred_pretrained(DEPTH_PRO, "DepthProForDepthEstimation", options.runtime, **settings)
    return MonocularDepth(DepthPro(model), weights, options.runtime, options.edge_ratio)


def build_zoedepth(options: ZoeDepthOptions) -> MonocularDepth:
    """ZoeDepth; ModelError as above."""
    model, weights = deferred_pretrained(zoedepth_card(options).name, "ZoeDepthForDepthEstimation", options.runtime)
    return MonocularDepth(ZoeDepth(model), weights, options.runtime, options.edge_ratio)
