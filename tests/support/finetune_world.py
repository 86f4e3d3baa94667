"""Streets as a random MASt3R sees them: the true points are those of the network itself, times the street's scale.

So the network's own head is exact, a damaged one can be repaired, and a street of another scale contradicts it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch

from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.train.samples import HeadSamples, MeasuredPair
from geocorrect.networks.store import TensorStore
from support.mast3r_world import TINY

WIDTH, HEIGHT = 64, 48
FACTOR = 0.3
"""On the head's raw output r, and so, in a street of this size, on its points, exp(|r|) − 1 away."""


def street_model(far: float = 0.0) -> Mast3r:
    """The tiny architecture, its points some decimetres ahead; far: added to the raw output along the axis."""
    torch.manual_seed(4)
    model = Mast3r(TINY).eval().requires_grad_(False)
    features, last = model.downstream_head1.dpt.head[2], model.downstream_head1.dpt.head[4]
    # Large features, small last weights: the repair is a small step in the last layer, as it is in a trained network.
    features.weight *= 1000.0
    features.bias *= 1000.0
    last.weight *= 0.004
    last.weight[2] = last.weight[2].abs()
    last.bias[:3] = torch.tensor([0.0, 0.0, far])
    return model


def damaged(model: Mast3r) -> Mast3r:
    """The same with a first point head whose points are about 0.3 times as far away."""
    copy = deepcopy(model)
    last = copy.downstream_head1.dpt.head[4]
    last.weight[:3] *= FACTOR
    last.bias[:3] *= FACTOR
    return copy


def facade(seed: int) -> np.ndarray:
    """(48, 64, 3) uint8: smooth brightness with edges."""
    rng = np.random.default_rng(seed)
    u, v = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    waves = [np.sin(2 * np.pi * (a * u + b * v + c)) for a, b, c in rng.uniform(-2, 2, (3, 3))]
    blocks = rng.uniform(0, 1, (6, 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return np.clip(110 + 40 * np.stack(waves, axis=-1) + 60 * (blocks - 0.5), 0, 255).astype(np.uint8)


@dataclass
class Street:
    """`PairSource`: views of one street and what a scanner with `share` of the pixels measures there."""

    truth: Mast3r
    seeds: range
    scale: float = 1.0
    share: float = 0.1
    loads: list[int] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        return f"street-{self.seeds}-{self.scale}-{self.share}"

    def __len__(self) -> int:
        return len(self.seeds)

    def load(self, index: int) -> MeasuredPair:
        self.loads.append(index)
        seed = self.seeds[index]
        image, other = facade(seed), facade(seed + 10_000)
        engine = Mast3rEngine(self.truth, "truth", TensorStore(), long_side_px=WIDTH)
        first, second = (photo.encoded() for photo in engine.encode([image, other]))
        points = self.truth.points(self.truth.decode(first, second)[0], 1).xyz_m[0].numpy().astype(float) * self.scale
        rows, columns = np.nonzero(np.random.default_rng(seed).random((HEIGHT, WIDTH)) < self.share)
        return MeasuredPair(
            f"view {seed}", image, other, np.stack([columns, rows], 1).astype(float), points[rows, columns]
        )


def samples(model: Mast3r, street: Street) -> HeadSamples:
    """The street as the model's head learns from it."""
    return HeadSamples(street, Mast3rEngine(model, "damaged", TensorStore(), long_side_px=WIDTH))
