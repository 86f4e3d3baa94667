"""What "float32" promises: products of 24-bit numbers, and no answer that overflowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from geocorrect.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def full_float32() -> Iterator[None]:
    """Float32 means float32 inside, also in convolutions on CUDA, where torch's default is TF32 with 10-bit mantissas.

    The process's own settings are restored afterwards. Half precision is not touched.
    """
    import torch

    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def require_finite(values: Tensor, part: str, computed_in: Tensor) -> None:
    """ModelError when a network's part gave inf or nan, which later would silently be "no match" or a hole in depth.

    computed_in: a weight of that part; its number format is named.
    """
    import torch

    if torch.isfinite(values).all():
        return
    precision = str(computed_in.dtype).removeprefix("torch.")
    if computed_in.dtype is torch.float16:
        remedy = 'float16 overflows; use [models] precision = "bfloat16" or "float32"'
    else:
        remedy = "the weights are damaged or not those of this network; fetch and verify them again"
    raise ModelError(f"mast3r: the {part} gave numbers that are not finite in {precision}: {remedy}")
