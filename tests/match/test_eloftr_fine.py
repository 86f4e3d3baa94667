"""The fine stage of EfficientLoFTR finds planted features, to a fraction of a pixel, in both images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import weights_world
from torch import Tensor

from geocorrect.match import huggingface
from geocorrect.match.huggingface import EloftrOptions

SIDE, PADDED, CHANNELS, SLICE, KEYPOINTS = 8, 10, 64, 8, 100


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    runtime = weights_world.runtime_with(tmp_path_factory.mktemp("weights"), "eloftr", weights_world.eloftr)
    return huggingface.build_eloftr(EloftrOptions(runtime, long_side_px=160, min_score=0.0)).model.resolve()


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def _planted(network: Any, strength: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of both windows, and where they say that the match is: (K, 2) px from the cell in each image."""
    generator = torch.Generator().manual_seed(3)
    at_0, at_1 = torch.randint(0, SIDE, (2, KEYPOINTS, 2), generator=generator)  # (x, y) in the window
    fraction = torch.rand(KEYPOINTS, 2, generator=generator) * 1.6 - 0.8
    first_0 = torch.nn.functional.normalize(_random(KEYPOINTS, SIDE**2, CHANNELS - SLICE), dim=-1) * strength
    first_1 = torch.nn.functional.normalize(_random(KEYPOINTS, PADDED**2, CHANNELS - SLICE), dim=-1) * strength * 0.7
    second_0, second_1 = torch.zeros(KEYPOINTS, SIDE**2, SLICE), torch.zeros(KEYPOINTS, PADDED**2, SLICE)
    second_0[..., 0] = 1.0
    temperature = network.config.fine_matching_regress_temperature * SLICE**0.5
    for row, ((x_0, y_0), (x_1, y_1)) in enumerate(zip(at_0.tolist(), at_1.tolist(), strict=True)):
        first_1[row, (y_1 + 1) * PADDED + x_1 + 1] = first_0[row, y_0 * SIDE + x_0]
        # As trained: the nine second-stage features are those around index (y, x) of the padded window.
        across, down = (torch.stack([(-f).clamp(min=0), 1 - f.abs(), f.clamp(min=0)]) for f in fraction[row])
        for step_y in (-1, 0, 1):
            for step_x in (-1, 0, 1):
                weight = across[step_x + 1] * down[step_y + 1] + 1e-9
                pixel = (y_1 + step_y) % PADDED * PADDED + (x_1 + step_x) % PADDED
                second_1[row, pixel, 0] = weight.log() * temperature
    windows = torch.cat([first_0, second_0], -1)[None], torch.cat([first_1, second_1], -1)[None]
    return *windows, at_0 - 3.5, at_1 - 3.5 + fraction


@pytest.mark.long
@pytest.mark.parametrize("strength", [20.0, 60.0])
def test_planted_features_are_found_to_a_tenth_of_a_pixel(network: Any, strength: float) -> None:
    windows_0, windows_1, expected_0, expected_1 = _planted(network, strength)
    cells = (_random(1, 2, KEYPOINTS, 2) * 100).round()
    found = network._fine_matching(windows_0, windows_1, cells, 1.0)
    for image, expected in enumerate((expected_0, expected_1)):
        error_px = torch.linalg.vector_norm(found[0, image] - cells[0, image] - expected, dim=1)
        assert error_px.max() < 0.1


@pytest.mark.long
def test_confidence_is_the_dual_softmax_over_both_windows(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Similarity of 56 channels over all 64, softmax over the pixels of either window; then the inner ones."""
    seen: list[Tensor] = []
    honest = network._get_first_stage_fine_matching

    def spy(confidence: Tensor, *others: Any) -> Any:
        seen.append(confidence)
        return honest(confidence, *others)

    monkeypatch.setattr(network, "_get_first_stage_fine_matching", spy)
    windows_0, windows_1 = _random(1, 5, SIDE**2, CHANNELS) * 3, _random(1, 5, PADDED**2, CHANNELS) * 3
    network._fine_matching(windows_0, windows_1, torch.zeros(1, 2, 5, 2), 1.0)
    a, b = (window[0, ..., : CHANNELS - SLICE].double().numpy() for window in (windows_0, windows_1))
    weight = np.exp(np.einsum("klc,krc->klr", a, b) / CHANNELS)
    dual = weight / weight.sum(1, keepdims=True) * weight / weight.sum(2, keepdims=True)
    inner = dual.reshape(5, SIDE**2, PADDED, PADDED)[..., 1:-1, 1:-1].reshape(5, SIDE**2, SIDE**2)
    np.testing.assert_allclose(seen[0][0].numpy(), inner, rtol=1e-4)
