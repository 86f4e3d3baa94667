"""How wrong predicted points are, with and without the confidence that the head states of them."""

from __future__ import annotations

import torch
from torch import Tensor

from geocorrect.networks.mast3r.train.options import ConfidenceLoss, FinetuneOptions, PointLoss

DISTANCE_FLOOR = 1e-12
"""Keeps the gradient of a distance of zero finite."""


def point_distances(found_m: Tensor, measured_m: Tensor, kind: PointLoss) -> Tensor:
    """(N,) distances of points (N, 3) from points (N, 3), metres."""
    offset = found_m - measured_m
    if kind is PointLoss.L1:
        return offset.abs().sum(dim=-1)
    return (offset.square().sum(dim=-1) + DISTANCE_FLOOR).sqrt()


def pixel_losses(found_m: Tensor, measured_m: Tensor, confidence: Tensor, options: FinetuneOptions) -> Tensor:
    """(N,) losses of one pair's pixels.

    Args:
        found_m: (N, 3) predicted points.
        measured_m: (N, 3) measured points.
        confidence: (N,) > 1, of the predicted points.
        options: which loss.
    """
    distance = point_distances(found_m, measured_m, options.loss)
    if options.confidence is ConfidenceLoss.NONE:
        return distance
    alpha, size_m = options.alpha, torch.linalg.vector_norm(measured_m, dim=-1).mean()
    if options.confidence is ConfidenceLoss.RELATIVE:
        distance = distance / size_m
    elif options.confidence is ConfidenceLoss.METRIC_SCALED:
        alpha = alpha * float(size_m)
    return confidence * distance - alpha * confidence.log()


def absolute_relative_error(found_m: Tensor, measured_m: Tensor) -> float:
    """Mean of |found − measured| / |measured| over points (N, 3)."""
    distance = torch.linalg.vector_norm(found_m - measured_m, dim=-1)
    return float((distance / torch.linalg.vector_norm(measured_m, dim=-1)).mean())
