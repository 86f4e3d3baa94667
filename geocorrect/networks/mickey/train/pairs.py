"""What is learnt from: two photos, their intrinsics, and the true motion between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geocorrect.records import ImageArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Two photos of one place."""

    image0: ImageArray
    """(H, W, 3) as the network sees it, sides multiples of 14; all pairs of a batch have one size."""
    image1: ImageArray
    """As image0."""
    intrinsics0: Float
    """(3, 3) of the photo as it was taken."""
    intrinsics1: Float
    """As intrinsics0."""
    network_intrinsics0: Float
    """(3, 3) of the network image: the same where the photo was not resized."""
    network_intrinsics1: Float
    """As network_intrinsics0."""
    cam1_from_cam0: Float
    """(4, 4), metres."""


class PairSource(Protocol):
    """Image pairs, epoch by epoch. Equal epochs are equal: nothing but the number decides what is in one."""

    @property
    def fingerprint(self) -> str:
        """The data and how they are chosen, in one line; a training continues only on equal ones."""
        ...

    def epoch(self, number: int) -> Sequence[Any]:
        """What to load in this epoch, in order."""
        ...

    def load(self, item: Any) -> TrainingPair:
        """One pair; InputError naming a file that is missing or damaged."""
        ...
