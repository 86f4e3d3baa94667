"""A prior on the focal length of photos that state none, from the rays that a network predicts for their pixels.

2 % of focal length cost 0.2 m of position on a street; a photo without EXIF starts with a guess that is off by a
quarter. The prior is a Gaussian in log focal length with a sigma that holds what the prediction says of itself and a
floor for what it cannot know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from geocorrect.geometry.camera import Camera, Projection
from geocorrect.networks.mapanything.photo_view import PhotoView, PredictedFocal
from geocorrect.records import ImageArray


class FocalNetwork(Protocol):
    """What predicts: `networks.mapanything.engine.MapAnythingEngine`, or a stand-in."""

    fingerprint: str

    def focal(self, photo: ImageArray, known: Sequence[PhotoView] = ()) -> PredictedFocal:
        """The pinhole that the predicted rays of the photo describe; `known`: other views of the same place."""
        ...


@dataclass(frozen=True)
class FocalPriorOptions:
    """When a predicted focal length is believed, and how far."""

    unknown_sigma: float = 0.1
    """Only cameras whose relative focal sigma is above this, or unknown, are asked about: others state their lens."""
    floor_sigma: float = 0.05
    """Least standard deviation of a predicted log focal length. An assumption: no published model was measured here."""
    max_anisotropy: float = 0.1
    """Horizontal and vertical focal lengths of square pixels that differ by more, in logarithm, are no prediction."""
    max_off_centre: float = 0.1
    """Nor is a principal point farther from the middle than this share of the width or height."""
    max_residual: float = 0.1
    """Nor are rays that miss the fitted pinhole by more than this share of its focal length."""


@dataclass(frozen=True)
class FocalPrior:
    """A Gaussian on the logarithm of a focal length."""

    focal_px: float
    """Its median, in pixels of the photo."""
    log_sigma: float
    """Its standard deviation."""


def focal_prior(
    photo: ImageArray,
    camera: Camera,
    network: FocalNetwork,
    known: Sequence[PhotoView] = (),
    options: FocalPriorOptions | None = None,
) -> Camera:
    """The camera with a better focal length and an honest `focal_sigma`; the same one where nothing is learned.

    known: anchors near the photo, with their lenses. Asked are perspective cameras without a trustworthy lens only.
    """
    options = options or FocalPriorOptions()
    if not is_unknown(camera, options):
        return camera
    prior = believed_focal(network.focal(photo, known), camera, options)
    return camera if prior is None else with_prior(camera, prior)


def is_unknown(camera: Camera, options: FocalPriorOptions) -> bool:
    """Whether the lens is a guess. Fisheyes and panoramas are left alone: a pinhole fit says nothing about them."""
    if camera.projection not in (Projection.PERSPECTIVE, Projection.BROWN):
        return False
    return not camera.focal_sigma <= options.unknown_sigma


def believed_focal(
    predicted: PredictedFocal, camera: Camera, options: FocalPriorOptions | None = None
) -> FocalPrior | None:
    """The prior that a prediction gives; None where it contradicts itself."""
    options = options or FocalPriorOptions()
    x_px, y_px = predicted.focal_x_px, predicted.focal_y_px
    if not (math.isfinite(x_px) and math.isfinite(y_px) and x_px > 0 and y_px > 0):
        return None
    focal_px, anisotropy = math.sqrt(x_px * y_px), abs(math.log(x_px / y_px))
    off_x = abs(predicted.principal_x_px - (camera.width - 1) / 2) / camera.width
    off_y = abs(predicted.principal_y_px - (camera.height - 1) / 2) / camera.height
    residual = predicted.residual_px / focal_px
    if (
        anisotropy > options.max_anisotropy
        or max(off_x, off_y) > options.max_off_centre
        or not residual <= options.max_residual
    ):
        return None
    # Half the difference of the two axes is the error of their mean; a shifted centre and bent rays are errors of the
    # same kind as a wrong focal length.
    own = math.hypot(anisotropy / 2, residual, max(off_x, off_y) / 2)
    return FocalPrior(focal_px, math.hypot(options.floor_sigma, own))


def with_prior(camera: Camera, prior: FocalPrior) -> Camera:
    """The camera at the product of its own Gaussian in log focal length and the prior."""
    own_px = math.sqrt(camera.focal_x_px * camera.focal_y_px)
    shift = math.log(prior.focal_px / own_px)
    if not math.isfinite(camera.focal_sigma):
        return replace(camera.with_focal_scaled(math.exp(shift)), focal_sigma=prior.log_sigma)
    own_weight, prior_weight = 1.0 / camera.focal_sigma**2, 1.0 / prior.log_sigma**2
    total = own_weight + prior_weight
    sigma = 1.0 / math.sqrt(total)
    # Two Gaussians that contradict each other do not make a narrow one: the sigma keeps the distance in it.
    sigma = max(sigma, abs(shift) * math.sqrt(own_weight * prior_weight) / total)
    return replace(camera.with_focal_scaled(math.exp(shift * prior_weight / total)), focal_sigma=sigma)
