"""Every number of the training, with the published value as default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geocorrect.records import ImageArray


class PoseLoss(StrEnum):
    """What a motion's error is measured by."""

    VCRE = "vcre"
    """Virtual correspondences on the screen, pixels."""
    POSE = "pose"
    """Angle and translation."""


@dataclass(frozen=True)
class DrawOptions:
    """Drawing pairs and motions from the weights of one image pair."""

    draws: int = 20
    """Independent draws of pairs: the samples of REINFORCE."""
    pairs_per_draw: int = 512
    """64 in a warm-up."""
    motions_per_draw: int = 20
    """Small sets per draw, one motion each."""
    set_size: int = 5
    """Pairs that make a motion; the released configuration says 8."""
    refinements: int = 4
    """Times that a set is replaced by the pairs that agree with its motion, at most."""
    inlier_m: float = 0.15
    """Distance of a pair that agrees."""
    soft_inlier_m: float = 0.3
    """Scale of the soft count that ranks motions."""
    temperature: float = 20.0
    """Of the softmax over motions: soft counts are divided by it."""

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ValueError("draws must be at least 2: their mean is the baseline of each")
        if not 3 <= self.set_size <= self.pairs_per_draw:
            raise ValueError(f"set_size must be between 3 and pairs_per_draw, got {self.set_size}")


@dataclass(frozen=True)
class LossOptions:
    """Errors of motions, and the motion that is none."""

    kind: PoseLoss = PoseLoss.VCRE
    """On the screen, or of the pose."""
    soft_clip: bool = True
    """Large errors saturate: tanh(error / scale)."""
    vcre_scale_px: float = 80.0
    """Of the saturation on the screen."""
    clip_px: float = 720.0
    """Projections are held inside this square, whatever the image."""
    rotation_scale_rad: float = 0.9
    """Of the saturation of angles."""
    translation_scale_m: float = 0.9
    """Of the saturation of translations, the sum over the axes."""
    null_hypothesis: bool = True
    """One more motion "no pose" competes: pairs of images that share nothing then pull at nothing."""
    null_share: float = 0.35
    """Its soft count, as a share of the drawn pairs."""
    null_loss: float = 0.8
    """Its error with soft clipping."""
    null_loss_px: float = 90.0
    """Its VCRE without soft clipping."""


@dataclass(frozen=True)
class CurriculumOptions:
    """Which pairs of a batch are learnt from: the easier ones first."""

    enabled: bool = True
    """Off: every pair, for data that are selected by overlap."""
    first_percent: float = 30.0
    """Of the batch, in the first epoch."""
    step_percent: float = 5.0
    """Added per epoch."""
    last_percent: float = 80.0
    """Never more than this."""


@dataclass(frozen=True)
class TrainOptions:
    """The training as a whole."""

    draw: DrawOptions = field(default_factory=DrawOptions)
    """Pairs and motions."""
    loss: LossOptions = field(default_factory=LossOptions)
    """Errors."""
    curriculum: CurriculumOptions = field(default_factory=CurriculumOptions)
    """The easier pairs first."""
    epochs: int = 100
    """In all; may be raised when a training continues."""
    batch_size: int = 8
    """Image pairs per step; 24 in a warm-up at 360 × 480 px."""
    learning_rate: float = 1e-4
    """Of Adam, without a schedule."""
    adam_epsilon: float = 1e-6
    """Of Adam."""
    max_gradient_norm: float = 5.0
    """Longer gradients are shortened to this."""
    save_every_steps: int = 500
    """The state is also saved after every epoch."""
    seed: int = 0
    """Of fresh heads and of all draws."""


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
