"""A predicted depth times a factor, stated or measured by the anchor's own scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geocorrect.depth.base import DepthDeclaration, DepthSource
from geocorrect.depth.scale import DepthScale, ScaleError, ScaleHeuristic, scale_depth, scale_from_lidar
from geocorrect.errors import InputError
from geocorrect.records import NAN, Anchor, DepthMap, ImageArray


@dataclass(frozen=True)
class ScaleOptions:
    """What a predicted depth is multiplied by; nothing by default."""

    factor: float = 1.0
    """Stated, such as the train-set median that `geocorrect anchors scale` prints."""
    common_log_sigma: float | None = None
    """What is left of the error shared by a picture; None: what the source states without the factor."""
    heuristic: ScaleHeuristic | None = None
    """Measure the factor in the anchor's own laser scan instead, picture by picture; results are then an oracle."""

    def __post_init__(self) -> None:
        if not 0.0 < self.factor < float("inf"):
            raise ValueError(f"depth scale: factor must be positive, got {self.factor}")
        if self.common_log_sigma is not None and not 0.0 < self.common_log_sigma < float("inf"):
            raise ValueError(f"depth scale: common_log_sigma must be positive, got {self.common_log_sigma}")
        if self.heuristic is not None and (self.factor != 1.0 or self.common_log_sigma is not None):
            raise ValueError("depth scale: give a factor or a heuristic that measures it, not both")


class StatedScaleDepth:
    """DepthSource: another source's depth times a factor that was found elsewhere."""

    def __init__(self, base: DepthSource, factor: float, common_log_sigma: float | None) -> None:
        self.base, self.scale = base, stated_scale(factor, common_log_sigma)
        self.declaration = declare_stated_scale(base.declaration, self.scale)
        self.fingerprint = f"{base.fingerprint}*{self.scale.factors[2]!r}/{self.scale.common_log_sigma!r}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`."""
        return scale_depth(self.base.depth(anchor, image), self.scale)


class LidarScaleDepth:
    """DepthSource: another source's depth, its scale measured by the anchor's own scan. An oracle."""

    def __init__(self, base: DepthSource, lidar: DepthSource, heuristic: ScaleHeuristic) -> None:
        self.base, self.lidar, self.heuristic = base, lidar, heuristic
        self.declaration = declare_measured_scale(base.declaration, lidar.declaration)
        self.fingerprint = f"{base.fingerprint}*{heuristic}/{lidar.fingerprint}"

    def depth(self, anchor: Anchor, image: ImageArray) -> DepthMap:
        """See `depth.base.DepthSource.depth`; InputError when there is no scan, or it does not fix the scale."""
        predicted, measured = self.base.depth(anchor, image), self.lidar.depth(anchor, image)
        try:
            scale = scale_from_lidar(predicted, measured, anchor.camera, self.heuristic)
        except ScaleError as error:
            raise InputError(f"anchor {anchor.id}: its scan does not fix the depth's scale: {error}") from None
        return scale_depth(predicted, scale)


def stated_scale(factor: float, common_log_sigma: float | None) -> DepthScale:
    """One factor for all axes that was found elsewhere; common_log_sigma None: the source's own."""
    sigma = NAN if common_log_sigma is None else common_log_sigma
    return DepthScale(np.full(3, factor), f"{factor:g}", is_oracle=False, common_log_sigma=sigma)


def declare_stated_scale(base: DepthDeclaration, scale: DepthScale) -> DepthDeclaration:
    """What a source is once its metres are multiplied by a factor."""
    nearest, farthest = (float(scale.factors[2]) * limit for limit in base.valid_range_m)
    sigma = base.common_log_sigma if np.isnan(scale.common_log_sigma) else scale.common_log_sigma
    return replace(base, valid_range_m=(nearest, farthest), common_log_sigma=sigma)


def declare_measured_scale(base: DepthDeclaration, lidar: DepthDeclaration) -> DepthDeclaration:
    """What a source is once each anchor's own scan scales it: as far as the picture's own factor takes it."""
    return replace(
        base, needs=(*base.needs, *lidar.needs), valid_range_m=(0.0, float("inf")), common_log_sigma=NAN, is_oracle=True
    )
