"""A predicted focal length helps a guessed lens, never a stated one, and nonsense helps nobody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from geocorrect.geometry.camera import Camera
from geocorrect.geometry.projection import Projection
from geocorrect.localize.focal_prior import FocalPrior, FocalPriorOptions, believed_focal, focal_prior, with_prior
from geocorrect.networks.mapanything.photo_view import PhotoView, PredictedFocal
from geocorrect.records import ImageArray

PHOTO = np.zeros((480, 640, 3), np.uint8)
GUESSED = replace(Camera.pinhole(640, 480, 540.0, 540.0, 319.5, 239.5), focal_sigma=0.25)
CLEAN = PredictedFocal(480.0, 480.0, 319.5, 239.5, 0.0)


class StatedNetwork:
    """Predicts what it is told."""

    fingerprint = "stated"

    def __init__(self, predicted: PredictedFocal) -> None:
        self.predicted, self.calls = predicted, 0

    def focal(self, photo: ImageArray, known: Sequence[PhotoView] = ()) -> PredictedFocal:
        self.calls += 1
        return self.predicted


def test_a_guessed_lens_moves_nearly_to_the_prediction() -> None:
    found = focal_prior(PHOTO, GUESSED, StatedNetwork(CLEAN))
    assert found.focal_x_px == pytest.approx(480.0, rel=0.01)
    assert 0.045 < found.focal_sigma < 0.05
    assert found.focal_x_px == found.focal_y_px
    assert (found.principal_x_px, found.principal_y_px) == (319.5, 239.5)


def test_an_unknown_sigma_takes_the_prediction_as_it_is() -> None:
    found = focal_prior(PHOTO, replace(GUESSED, focal_sigma=math.nan), StatedNetwork(CLEAN))
    assert found.focal_x_px == pytest.approx(480.0)
    assert found.focal_sigma == pytest.approx(0.05)


@pytest.mark.parametrize(
    "camera",
    [
        replace(GUESSED, focal_sigma=0.02),
        replace(GUESSED, projection=Projection.FISHEYE, focal_sigma=0.3),
        Camera.spherical(640, 320),
    ],
)
def test_other_cameras_are_not_even_asked_about(camera: Camera) -> None:
    network = StatedNetwork(CLEAN)
    assert focal_prior(PHOTO, camera, network) is camera
    assert network.calls == 0


@pytest.mark.parametrize(
    "predicted",
    [
        PredictedFocal(*(math.nan,) * 5),
        replace(CLEAN, focal_x_px=-480.0),
        replace(CLEAN, focal_x_px=600.0),  # square pixels have one focal length
        replace(CLEAN, principal_x_px=400.0),
        replace(CLEAN, principal_y_px=100.0),
        replace(CLEAN, residual_px=60.0),
        replace(CLEAN, residual_px=math.nan),
    ],
)
def test_predictions_that_contradict_themselves_change_nothing(predicted: PredictedFocal) -> None:
    assert believed_focal(predicted, GUESSED) is None
    assert focal_prior(PHOTO, GUESSED, StatedNetwork(predicted)) is GUESSED


@pytest.mark.parametrize(
    "worse",
    [replace(CLEAN, focal_x_px=505.0), replace(CLEAN, principal_x_px=350.0), replace(CLEAN, residual_px=20.0)],
)
def test_every_sign_of_error_widens_the_prior(worse: PredictedFocal) -> None:
    clean, widened = believed_focal(CLEAN, GUESSED), believed_focal(worse, GUESSED)
    assert clean is not None
    assert widened is not None
    assert clean.log_sigma == FocalPriorOptions().floor_sigma
    assert widened.log_sigma > clean.log_sigma


def test_the_product_of_two_gaussians() -> None:
    camera = replace(GUESSED, focal_sigma=0.1)
    found = with_prior(camera, FocalPrior(540.0 * math.exp(0.1), 0.1))
    assert math.log(found.focal_x_px / 540.0) == pytest.approx(0.05)
    assert found.focal_sigma == pytest.approx(0.1 / math.sqrt(2), rel=1e-6)


def test_a_contradiction_does_not_make_a_narrow_lens() -> None:
    found = with_prior(replace(GUESSED, focal_sigma=0.1), FocalPrior(540.0 * math.exp(0.8), 0.1))
    assert found.focal_sigma == pytest.approx(0.4)


def test_honest_over_many_photos() -> None:
    """400 photos: true focal lengths spread as the guess says, predictions as the network's floor says."""
    random = np.random.default_rng(0)
    sigmas = []
    for _ in range(400):
        true_px = 540.0 * math.exp(random.normal(0.0, 0.25))
        predicted_px = true_px * math.exp(random.normal(0.0, 0.05))
        network = StatedNetwork(PredictedFocal(predicted_px, predicted_px, 319.5, 239.5, 0.0))
        found = focal_prior(PHOTO, GUESSED, network)
        sigmas.append(math.log(found.focal_x_px / true_px) / found.focal_sigma)
    assert 0.60 < np.mean(np.abs(sigmas) < 1.0) < 0.80
    assert np.mean(np.abs(sigmas) < 2.0) > 0.92
