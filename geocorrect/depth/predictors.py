"""The networks that predict metric depth from one photo: what goes in, and what their output means.

Depth Anything V2, Depth Pro and ZoeDepth through transformers, Depth Anything 3 by our own code; `monocular` makes
depth sources of them. Units and pre-processing of each: `docs/models.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from geocorrect.depth.validity import resize_depth
from geocorrect.geometry.camera import Camera
from geocorrect.records import NAN, Float32, ImageArray

DEPTH_PRO_SIDE_PX = 1536
ZOEDEPTH_SIZE = (512, 384)
CANONICAL_FOCAL_PX = 300.0
"""Focal length, in pixels of its own input, for which the metric Depth Anything 3 counts metres."""
MAX_SKY = 0.3
"""From this output of its sky head on a pixel is sky."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Depth of one whole image."""

    z_m: Float32
    """(h, w) z-depth in metres as the network counts them; its corners are those of the image."""
    cap_m: float = math.inf
    """The farthest depth that could come out for this image, where that is the image's own; inf: it is the card's."""


class Predictor(Protocol):
    """A network."""

    def needs(self, camera: Camera) -> str:
        """What of the camera the prediction depends on, for the cache; empty: on nothing but pixels."""
        return ""

    def predict(self, image: ImageArray, camera: Camera) -> Prediction:
        """The depth of one photo (H, W, 3), at the network's resolution or any other."""
        ...

    def focal_factor(self, camera: Camera) -> float:
        """What the network's metres must be multiplied by for this camera; 1 where the prediction knows the focal."""
        return 1.0


@dataclass(frozen=True, eq=False)
class DepthAnything(Predictor):
    """Depth Anything V2 metric: sigmoid times the cap; no intrinsics."""

    model: Any = field(repr=False)
    short_side_px: int = 518
    trained_focal: float = NAN
    """Focal length over short side of the fine-tuning photos, by which depth is rescaled; nan = it is not."""

    def predict(self, image: ImageArray, camera: Camera) -> Prediction:
        """See `Predictor`."""
        from geocorrect.networks.image_input import IMAGENET, normalised, resized, size_with_short_side

        size = size_with_short_side(image.shape[1], image.shape[0], self.short_side_px, self.model.config.patch_size)
        return Prediction(_depth_of(_run(self.model, normalised(resized(image, size, bicubic=True), IMAGENET))))

    def focal_factor(self, camera: Camera) -> float:
        """A thing of one size fills the same share of the picture at a distance proportional to the focal length."""
        if np.isnan(self.trained_focal):
            return 1.0
        return camera.focal_x_px / min(camera.width, camera.height) / self.trained_focal


@dataclass(frozen=True, eq=False)
class DepthAnything3(Predictor):
    """Depth Anything 3 metric: depth for a focal length of 300 px, scaled by the known one; sky gives no depth."""

    model: Any = field(repr=False)
    long_side_px: int = 504

    def needs(self, camera: Camera) -> str:
        """The focal lengths in units of width and height."""
        return f"focal={camera.focal_x_px / camera.width!r},{camera.focal_y_px / camera.height!r}"

    def predict(self, image: ImageArray, camera: Camera) -> Prediction:
        """See `Predictor`. The size is that of the published code: the long side first, then multiples of a patch."""
        from geocorrect.networks.image_input import IMAGENET, normalised, resized_by_area

        height, width = image.shape[:2]
        scale, patch_px = self.long_side_px / max(width, height), self.model.sizes.patch_px
        inside = resized_by_area(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        sides = [max(patch_px, (side + patch_px // 2) // patch_px * patch_px) for side in inside.shape[1::-1]]
        depth, sky = self.model(normalised(resized_by_area(inside, (sides[0], sides[1])), IMAGENET)[None])
        x, y = sides[0] / width, sides[1] / height
        z_m = depth[0] * ((camera.focal_x_px * x + camera.focal_y_px * y) / 2.0 / CANONICAL_FOCAL_PX)
        z_m = z_m.where(sky[0] < MAX_SKY, math.nan)
        return Prediction(np.ascontiguousarray(z_m.cpu().numpy(), dtype=np.float32))


@dataclass(frozen=True, eq=False)
class DepthPro(Predictor):
    """Depth Pro: the network's output is inverse depth for a canonical camera; the known focal length scales it."""

    model: Any = field(repr=False)
    side_px: int = DEPTH_PRO_SIDE_PX

    def needs(self, camera: Camera) -> str:
        """The focal length in units of the image width."""
        return f"focal/width={camera.focal_x_px / camera.width!r}"

    def predict(self, image: ImageArray, camera: Camera) -> Prediction:
        """See `Predictor`. depth = 1 / (canonical inverse depth · width / focal length in pixels)."""
        from geocorrect.networks.image_input import SYMMETRIC, normalised, resized

        canonical = _depth_of(_run(self.model, normalised(resized(image, (self.side_px, self.side_px)), SYMMETRIC)))
        inverse = np.clip(canonical * (camera.width / camera.focal_x_px), 1e-4, 1e4)
        return Prediction(np.asarray(1.0 / inverse, dtype=np.float32))


@dataclass(frozen=True, eq=False)
class ZoeDepth(Predictor):
    """ZoeDepth: reflected margins against border artefacts; one image at a time, for its heads vote per batch.

    An indoor head ends at 10 m, an outdoor one at 80 m; the model with both chooses one for each image. It is not
    rescaled by the focal length: its error outdoors is not one of scale alone.
    """

    model: Any = field(repr=False)
    size: tuple[int, int] = ZOEDEPTH_SIZE

    def predict(self, image: ImageArray, camera: Camera) -> Prediction:
        """See `Predictor`."""
        from geocorrect.networks.image_input import SYMMETRIC, normalised, resized

        height, width = image.shape[:2]
        margin_y, margin_x = (int(np.sqrt(side / 2) * 3) for side in (height, width))
        margins = ((margin_y, margin_y), (margin_x, margin_x), (0, 0))
        padded: ImageArray = np.pad(image, margins, mode="reflect")
        output = _run(self.model, normalised(resized(padded, self.network_size(padded)), SYMMETRIC))
        whole = resize_depth(_depth_of(output), (padded.shape[1], padded.shape[0]))
        z_m = np.ascontiguousarray(whole[margin_y : margin_y + height, margin_x : margin_x + width])
        return Prediction(z_m, self._cap_m(output))

    def network_size(self, padded: ImageArray) -> tuple[int, int]:
        """(width, height) as near to the trained size as one scale for both axes allows, in multiples of 32."""
        height, width = padded.shape[:2]
        scales = self.size[0] / width, self.size[1] / height
        scale = min(scales, key=lambda candidate: abs(1.0 - candidate))
        return max(32, round(width * scale / 32) * 32), max(32, round(height * scale / 32) * 32)

    def _cap_m(self, output: Any) -> float:
        """Where the head ends that the network chose for the image."""
        heads, votes = self.model.config.bin_configurations, output.domain_logits
        return float(heads[0 if votes is None else int(votes[0].argmax())]["max_depth"])


def _run(model: Any, pixels: Any) -> Any:
    """The network's output for one image (3, h, w), as a batch of one, in the precision that its weights have."""
    import torch

    from geocorrect.networks.exact import full_float32

    with torch.inference_mode(), full_float32():
        return model(pixel_values=pixels[None].to(model.device, model.dtype))


def _depth_of(output: Any) -> Float32:
    return np.ascontiguousarray(output.predicted_depth[0].float().cpu().numpy(), dtype=np.float32)
