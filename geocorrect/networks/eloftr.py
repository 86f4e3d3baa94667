"""EfficientLoFTR of transformers with its matching as the authors published and trained it.

In transformers 4.57 to 5.24 four things of the step from features to coordinates differ from the published method:

- The two lists of matches are not aligned: the first has an entry per cell of the second image, the second one per cell
  of the first. They are then read as pairs, which refines cells that do not match.
- The fine offset is looked up among the keypoints instead of the pixels of the window, so that every keypoint moves by
  (−3.5, −3.5) pixels.
- The two softmaxes run over keypoints and over pixels of the first window, instead of over the pixels of both windows.
- Fine features are divided by the square root of 56 channels instead of 64: the slice for the second stage counts.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def published_eloftr_class() -> Any:
    """The model class of transformers with these four steps replaced; its weights are the same."""
    import torch
    from transformers import EfficientLoFTRForKeypointMatching

    class PublishedEfficientLoFTR(EfficientLoFTRForKeypointMatching):
        def _get_matches_from_scores(self, scores: Tensor) -> tuple[Tensor, Tensor]:
            """Cells (B, 2, N) that match and their scores (B, 2, N), an entry per cell of the first image in both."""
            indices, values = super()._get_matches_from_scores(scores)
            partner, score = indices[:, 1], values[:, 1]
            cell = torch.arange(partner.shape[1], device=partner.device).expand_as(partner)
            own = torch.where(partner > -1, cell, -1)
            return torch.stack([own, partner], dim=1), torch.stack([score, score], dim=1)

        def _fine_matching(
            self, fine_features_0: Tensor, fine_features_1: Tensor, coarse_matched_keypoints: Tensor, fine_scale: float
        ) -> Tensor:
            """Windows (B, K, W², C) and (B, K, (W + 2)², C) of matched cells (B, 2, K, 2) → pixels (B, 2, K, 2)."""
            n_pixels, channels = fine_features_0.shape[-2:]
            padded = isqrt(n_pixels) + 2
            n_slice = self.config.fine_matching_slice_dim
            first_0, second_0 = fine_features_0.split([channels - n_slice, n_slice], dim=-1)
            first_1, second_1 = fine_features_1.split([channels - n_slice, n_slice], dim=-1)
            similarity = (first_0 / channels**0.5) @ (first_1 / channels**0.5).mT
            confidence = similarity.softmax(dim=-2) * similarity.softmax(dim=-1)
            inner = confidence.unflatten(-1, (padded, padded))[..., 1:-1, 1:-1].flatten(-2)
            found, pixels = self._get_first_stage_fine_matching(inner, coarse_matched_keypoints, n_pixels, fine_scale)
            around = second_0 @ (second_1 / n_slice**0.5).mT
            return self._get_second_stage_fine_matching(found, pixels, around, n_pixels, fine_scale)

        def _get_first_stage_fine_matching(
            self, fine_confidence: Tensor, coarse_matched_keypoints: Tensor, fine_window_size: int, fine_scale: float
        ) -> tuple[Tensor, Tensor]:
            """The most confident pair of pixels of each (B, K, W², W²): window indices (B, 2, K, 1), pixels."""
            best = fine_confidence.flatten(-2).argmax(dim=-1)
            at = torch.stack([best // fine_window_size, best % fine_window_size], dim=1)
            side = isqrt(fine_window_size)
            offset = torch.stack([at % side, at // side], dim=-1).to(fine_confidence.dtype) - side // 2 + 0.5
            return at[..., None], coarse_matched_keypoints + offset * fine_scale

    return PublishedEfficientLoFTR
