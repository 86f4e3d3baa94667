"""A matcher of keypoints that are found once per photo: the same for every detector and every way of pairing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from geocorrect.networks.local_features.loading import algorithm
from geocorrect.networks.runtime import Runtime, open_store, torch_device
from geocorrect.records import Float32, ImageArray, Matches

if TYPE_CHECKING:
    from torch import Tensor

    from geocorrect.networks.store import TensorStore

Features = Mapping[str, "Tensor"]
"""`keypoints` (N, 2) float32 pixels of the network image, `descriptors` (N, D) float32, `size` (2,) width and height of
the photo in it, without padding."""
MULTIPLE_PX = 32
"""Both sides of a network image; XFeat would squeeze other sizes, ALIKED and DISK would pad them anew."""
SMALL_PX, ENLARGED = 320, 2.0
"""Photos with a shorter long side are enlarged so many times. In a KITTI photo of 310 × 94 ALIKED found 367 matches
when it was enlarged twice, and none as it was."""


@dataclass(frozen=True)
class Detector:
    """Finds the keypoints of a network image."""

    find: Callable[[Tensor], tuple[Tensor, Tensor]]
    """(1, 3, H, W) RGB in [0, 1] → keypoints (N, 2) in its pixels, descriptors (N, D)."""
    identity: str
    """Its weights and parameters, in one line."""
    long_side_px: int
    """Size of the network image; smaller photos keep theirs, or see SMALL_PX."""


@dataclass(frozen=True)
class Pairing:
    """Joins the keypoints of two photos."""

    join: Callable[[Features, Features], tuple[Tensor, Tensor]]
    """Features of query and anchor → indices (K, 2) of their keypoints, scores (K,)."""
    identity: str
    """Its parameters and precision, in one line."""


class FeatureMatcher:
    """Matcher whose features are cached by the photo's content, in memory and, with a cache folder, on disk.

    Detectors work in float32 whatever the precision of the runtime: their keypoints are geometry.
    """

    def __init__(self, detector: Detector, pairing: Pairing, runtime: Runtime) -> None:
        self.detector, self.pairing, self._runtime = detector, pairing, runtime
        self.feature_identity = f"{detector.identity}/{algorithm()}/{detector.long_side_px}/{SMALL_PX}"
        self.fingerprint = f"{self.feature_identity}/{pairing.identity}"

    @cached_property
    def _store(self) -> TensorStore:
        return open_store(self._runtime)

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        of_query = self.features(query)
        return [self._match_features((query, anchor), of_query, self.features(anchor)) for anchor in anchors]

    def features(self, photo: ImageArray) -> Features:
        """Keypoints and descriptors of a photo, on the runtime's device."""
        from geocorrect.networks.store import content_key

        key = content_key(photo, self.feature_identity)
        cached = self._store.get(key)
        if cached is None:
            self._store.put(key, cached := self._detect(photo))
        device = torch_device(self._runtime)
        return {name: tensor.to(device) for name, tensor in cached.items()}

    def descriptors(self, photo: ImageArray) -> Float32:
        """(N, D) unit descriptors of a photo's keypoints, for comparing whole photos."""
        found: Float32 = self.features(photo)["descriptors"].cpu().numpy()
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    def _detect(self, photo: ImageArray) -> Features:
        import torch

        from geocorrect.networks.exact import full_float32
        from geocorrect.networks.image_input import padded, resized

        device, size = torch_device(self._runtime), network_size(photo, self.detector.long_side_px)
        image = torch.from_numpy(padded(resized(photo, size), MULTIPLE_PX)).permute(2, 0, 1)[None]
        with torch.inference_mode(), full_float32():
            keypoints, descriptors = self.detector.find(image.to(device).float() / 255.0)
        # Keypoints of the padding are none of the photo's.
        last = torch.tensor(size, device=device) - 0.5
        inside = (keypoints < last).all(dim=1)
        return {
            "keypoints": keypoints[inside].float().clone(),
            "descriptors": descriptors[inside].float().clone(),
            "size": torch.tensor(size, device=device),
        }

    def _match_features(self, photos: tuple[ImageArray, ImageArray], query: Features, anchor: Features) -> Matches:
        import torch

        from geocorrect.networks.exact import full_float32
        from geocorrect.networks.image_input import to_photos

        if not len(query["keypoints"]) or not len(anchor["keypoints"]):
            return Matches.empty()
        with torch.inference_mode(), full_float32():
            pairs, score = self.pairing.join(query, anchor)
        at_query, at_anchor = (
            side["keypoints"][pairs[:, column]].double().cpu().numpy() for column, side in enumerate((query, anchor))
        )
        return to_photos((at_query, at_anchor), score.double().cpu().numpy(), photos, (_size(query), _size(anchor)))


def network_size(photo: ImageArray, long_side_px: int) -> tuple[int, int]:
    """(width, height) at which keypoints are sought."""
    from geocorrect.networks.image_input import size_within

    width, height = size_within(photo, long_side_px)
    longer = max(width, height)
    factor = max(1.0, min(ENLARGED, long_side_px / longer)) if longer < SMALL_PX else 1.0
    return round(width * factor), round(height * factor)


def lightglue_pairing(network: Any, identity: str, runtime: Runtime) -> Pairing:
    """LightGlue as a pairing; its layers run in the runtime's precision."""

    def join(query: Features, anchor: Features) -> tuple[Tensor, Tensor]:
        from geocorrect.networks.runtime import torch_dtype

        dtype = torch_dtype(runtime)
        sides = [
            {
                "keypoints": side["keypoints"][None],
                "descriptors": side["descriptors"][None].to(dtype),
                "image_size": side["size"][None],
            }
            for side in (query, anchor)
        ]
        output = network({"image0": sides[0], "image1": sides[1]})
        return output["matches"][0], output["scores"][0]

    return Pairing(join, f"lightglue/{runtime.precision}/{identity}")


def _size(features: Features) -> tuple[int, int]:
    width, height = features["size"].tolist()
    return int(width), int(height)
