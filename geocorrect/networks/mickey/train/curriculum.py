"""Which pairs of a batch are learnt from: the easiest share, which grows from epoch to epoch (Bengio et al. 2009)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from geocorrect.networks.mickey.train.options import CurriculumOptions


def kept_percent(epoch: int, options: CurriculumOptions) -> float:
    """Share of the batch in percent that is kept in an epoch (0, 1, …)."""
    return min(options.first_percent + options.step_percent * epoch, options.last_percent)


def kept_pairs(losses: Sequence[float], epoch: int, options: CurriculumOptions) -> Tensor:
    """(B,) bool: pairs whose loss is smaller than that of the first one beyond the share.

    The share is at least one pair. A pair whose loss equals that of the first one beyond is not kept, nor is one whose
    loss is not finite.
    """
    values = torch.tensor(list(losses), dtype=torch.float64)
    finite = torch.isfinite(values)
    if not options.enabled:
        return finite
    count = max(math.floor(len(values) * kept_percent(epoch, options) / 100.0), 1)
    if count >= len(values):
        return finite
    ordered = torch.where(finite, values, torch.inf).sort().values
    return finite & (values < ordered[count])
