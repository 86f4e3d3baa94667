"""LightGlue (Lindenberger et al. 2023) on DISK features (Tyszkiewicz et al. 2020) through kornia: all Apache-2.0.

transformers has no DISK of its own; its hub entry would run code fetched from the hub, which we do not do. Features of
each photo are computed once and cached. Torch and weights are touched by the first match only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocorrect.errors import ModelError
from geocorrect.match.network_pixels import to_photos
from geocorrect.networks.deferred import deferred
from geocorrect.networks.runtime import Runtime, open_store, require_libraries, torch_device
from geocorrect.networks.weights import Checkpoint, locate
from geocorrect.records import ImageArray, Matches

if TYPE_CHECKING:
    from torch import Tensor

    from geocorrect.networks.store import TensorStore

MAX_KEYPOINTS = 2048
DESCRIPTOR_DIM = 128
LAYERS = 9
MULTIPLE_PX = 16


@dataclass(frozen=True)
class DiskLightGlueOptions:
    """Sizes and threshold."""

    runtime: Runtime = field(default_factory=Runtime)
    long_side_px: int = 1024
    """Size of the images for the detector."""
    min_score: float = 0.1
    """LightGlue's matching score, its own default."""


class DiskLightGlue:
    """Matcher of DISK keypoints with LightGlue."""

    def __init__(self, disk: Any, lightglue: Any, identity: str, options: DiskLightGlueOptions) -> None:
        self.disk, self.lightglue, self.options, self._identity = disk, lightglue, options, identity
        self.fingerprint = f"{identity}/{options.long_side_px}/{MAX_KEYPOINTS}/{options.min_score}"

    @cached_property
    def _store(self) -> TensorStore:
        return open_store(self.options.runtime)

    def match(self, query: ImageArray, anchors: Sequence[ImageArray]) -> list[Matches]:
        """See `match.base.Matcher`."""
        of_query = self._features(query)
        return [self._match_features((query, anchor), of_query, self._features(anchor)) for anchor in anchors]

    def _match_features(
        self, photos: tuple[ImageArray, ImageArray], query: Mapping[str, Tensor], anchor: Mapping[str, Tensor]
    ) -> Matches:
        import torch

        from geocorrect.networks.exact import full_float32

        if not len(query["keypoints"]) or not len(anchor["keypoints"]):
            return Matches.empty()
        sides = [
            {"keypoints": f["keypoints"][None], "descriptors": f["descriptors"][None], "image_size": f["size"][None]}
            for f in (query, anchor)
        ]
        with torch.inference_mode(), full_float32():
            output = self.lightglue({"image0": sides[0], "image1": sides[1]})
        pairs, score = output["matches"][0].cpu(), output["scores"][0].double().cpu()
        keep = score >= self.options.min_score
        at_query, at_anchor = (
            side["keypoints"].cpu().double()[pairs[keep, index]].numpy() for index, side in enumerate((query, anchor))
        )
        return to_photos((at_query, at_anchor), score[keep].numpy(), photos, (_size(query), _size(anchor)))

    def _features(self, photo: ImageArray) -> Mapping[str, Tensor]:
        """Keypoints (N, 2) float32 and descriptors (N, 128) in the network image, and its size (width, height)."""
        import torch

        from geocorrect.networks.exact import full_float32
        from geocorrect.networks.image_input import resized, size_with_long_side
        from geocorrect.networks.store import content_key

        key = content_key(photo, "disk", self._identity, str(self.options.long_side_px), str(MAX_KEYPOINTS))
        cached = self._store.get(key)
        device = torch_device(self.options.runtime)
        if cached is None:
            size = size_with_long_side(photo.shape[1], photo.shape[0], self.options.long_side_px, MULTIPLE_PX)
            pixels = torch.from_numpy(resized(photo, size).copy()).permute(2, 0, 1)[None].float().to(device) / 255.0
            with torch.inference_mode(), full_float32():
                found = self.disk(pixels, n=MAX_KEYPOINTS)[0]
            cached = {
                "keypoints": found.keypoints.float(),
                "descriptors": found.descriptors.float(),
                "size": torch.tensor(size, device=device),
            }
            self._store.put(key, cached)
        return {name: tensor.to(device) for name, tensor in cached.items()}


def build(options: DiskLightGlueOptions) -> DiskLightGlue:
    """The matcher; ModelError when libraries or weights are missing. Damaged weights are refused at the first match."""
    require_libraries("kornia")
    weights = locate("lightglue_disk", options.runtime.access)
    disk = deferred(partial(_load_disk, weights, options))
    return DiskLightGlue(disk, deferred(partial(_load_lightglue, weights, options)), weights.identity, options)


def _load_disk(weights: Checkpoint, options: DiskLightGlueOptions) -> Any:
    from kornia.feature import DISK

    path = weights.file("disk.pth")
    disk = DISK(desc_dim=DESCRIPTOR_DIM)
    _fill(disk, _state_dict(path), path)
    return _ready(disk, options.runtime)


def _load_lightglue(weights: Checkpoint, options: DiskLightGlueOptions) -> Any:
    from kornia.feature import LightGlue

    path = weights.file("disk_lightglue.pth")
    unnamed: Any = None  # a name would make kornia fetch weights of its own choice
    lightglue = LightGlue(
        features=unnamed, weights=None, input_dim=DESCRIPTOR_DIM, n_layers=LAYERS, filter_threshold=options.min_score
    )
    _fill(lightglue, _renamed(_state_dict(path)), path)
    return _ready(lightglue, options.runtime)


def _ready(model: Any, runtime: Runtime) -> Any:
    return model.to(torch_device(runtime)).eval().requires_grad_(False)


def _state_dict(path: Path) -> dict[str, Tensor]:
    import torch

    from geocorrect.networks.state_dict import load_pickled_tensors

    try:
        content = load_pickled_tensors(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    state = content.get("extractor", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path}: holds no state dict")
    return state


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' file numbers the two attentions of a layer apart; kornia nests them in the layer."""
    renamed = dict(state)
    for layer in range(LAYERS):
        for attention in ("self_attn", "cross_attn"):
            before, after = f"{attention}.{layer}.", f"transformers.{layer}.{attention}."
            renamed = {key.replace(before, after) if key.startswith(before) else key: renamed[key] for key in renamed}
    return renamed


def _fill(model: Any, state: Mapping[str, Tensor], path: Path) -> None:
    """Load; every parameter must come from the file (buffers are derived)."""
    try:
        report = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: does not fit {type(model).__name__} ({str(error).splitlines()[-1].strip()})"
        ) from None
    parameters = {name for name, _ in model.named_parameters()}
    wrong = sorted(parameters & set(report.missing_keys)) + sorted(report.unexpected_keys)
    if wrong:
        raise ModelError(f"{path}: does not fit {type(model).__name__}: {len(wrong)} keys, the first is `{wrong[0]}`")


def _size(features: Mapping[str, Tensor]) -> tuple[int, int]:
    width, height = features["size"].tolist()
    return int(width), int(height)
