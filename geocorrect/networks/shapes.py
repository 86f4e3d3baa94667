"""What the shapes of a checkpoint's tensors say of its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

from geocorrect.errors import ModelError

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class StackSizes:
    """A stack of equal transformer blocks. The defaults are the image encoder of MapAnything v1.1."""

    dim: int = 1536
    """Channels of a token."""
    depth: int = 24
    """Number of blocks."""
    heads: int = 24
    """Attention heads."""
    hidden_dim: int = 4096
    """Channels inside the feed-forward part."""
    gated: bool = True
    """Feed-forward with a SiLU gate (MapAnything v1.1), or with one GELU (v1, DINOv2 ViT-L)."""
    layer_scale: bool = True
    """Whether both parts of a block end with a learned factor per channel."""


@dataclass(frozen=True)
class CheckpointShapes:
    """Shapes by the names of the tensors. Every method raises ModelError naming the first key that does not fit."""

    shapes: Shapes
    name: str
    """What a fitting checkpoint is called: "a MASt3R checkpoint"."""

    def of(self, key: str, dimensions: int) -> Sequence[int]:
        """The shape of a tensor with so many dimensions, none of them empty."""
        if key not in self.shapes:
            raise ModelError(f"not {self.name}: it has no tensor `{key}`")
        shape = self.shapes[key]
        if len(shape) != dimensions or min(shape) < 1:
            raise ModelError(f"not {self.name}: `{key}` has the shape {tuple(shape)}")
        return shape

    def four_widths(self, pattern: str, first: int = 0) -> tuple[int, int, int, int]:
        """Output channels of four convolutions, whose names differ by a number in place of {}."""
        a, b, c, d = (self.of(pattern.format(number), 4)[0] for number in range(first, first + 4))
        return a, b, c, d

    def depth(self, stack: str) -> int:
        """Number of blocks of a stack."""
        prefix = f"{stack}."
        numbers = {key.removeprefix(prefix).split(".")[0] for key in self.shapes if key.startswith(prefix)}
        if not numbers or numbers != {str(number) for number in range(len(numbers))}:
            raise ModelError(f"not {self.name}: the blocks of `{stack}` are not numbered 0, 1, 2 …")
        return len(numbers)

    def position_grid(self, key: str) -> int:
        """Rows and columns of learned positions, class token first."""
        positions = self.of(key, 3)[1] - 1
        if positions < 1 or isqrt(positions) ** 2 != positions:
            raise ModelError(f"not {self.name}: `{key}` holds {positions} positions, which is no square grid")
        return isqrt(positions)
