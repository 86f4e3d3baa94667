"""Training MicKey on a Map-free training set, from files to files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geocorrect.evaluate.mapfree.scene_files import read_set
from geocorrect.evaluate.mapfree.training_pairs import (
    MapfreePairs,
    TrainingPairOptions,
    require_true_poses,
    validate_mapfree,
)
from geocorrect.networks.mickey.train.options import TrainOptions
from geocorrect.networks.runtime import Runtime, require_libraries, torch_device, torch_dtype

if TYPE_CHECKING:
    from geocorrect.networks.mickey.sizes import MickeySizes
    from geocorrect.networks.mickey.train.trainee import MickeyTrainee
    from geocorrect.networks.mickey.train.trainer import StepReport, Trainer


@dataclass(frozen=True)
class MapfreeTraining:
    """What to train on and how."""

    training_set: Path
    """Folder of scenes with two posed recordings each."""
    backbone: Path
    """DINOv2's file."""
    folder: Path
    """For the state and the networks; where it holds a state, the training continues."""
    validation_set: Path | None = None
    """Folder of scenes whose queries are judged after every epoch; None: nothing is judged."""
    start: Path | None = None
    """Heads to begin with, such as those of a warm-up; None: fresh ones."""
    pairs: TrainingPairOptions = field(default_factory=TrainingPairOptions)
    """Which pairs, at which size."""
    options: TrainOptions = field(default_factory=TrainOptions)
    """Numbers of the training."""
    runtime: Runtime = field(default_factory=Runtime)
    """Device, and precision of the backbone."""


def train_mickey(
    training: MapfreeTraining,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[StepReport], None] | None = None,
) -> Path | None:
    """Train, or continue; the path of the last state (heads in it), None when `stop` ended it early.

    Raises:
        InputError: naming a file of the sets.
        ModelError: libraries, backbone or start are missing or damaged.
        UsageError: the folder holds a training with other data or options.
    """
    require_libraries()
    from geocorrect.networks.mickey.train.trainer import STATE_FILE

    trainer = build_trainer(training)
    return training.folder / STATE_FILE if trainer.run(stop, report) else None


def build_trainer(training: MapfreeTraining, sizes: MickeySizes | None = None) -> Trainer:
    """The trainer, at its first step or where it stopped. sizes: of the network; None: as released."""
    from geocorrect.networks.mickey.checkpoint import PREFIX, read_heads
    from geocorrect.networks.mickey.sizes import BACKBONE, RELEASED
    from geocorrect.networks.mickey.train.trainee import new_trainee
    from geocorrect.networks.mickey.train.trainer import Trainer

    source = MapfreePairs(training.training_set, training.pairs)
    trainee = new_trainee(training.backbone, training.options.seed, sizes or RELEASED)
    if training.start is not None:
        heads = read_heads(training.start)
        trainee.load_trained_state({f"{PREFIX}{k}": v for k, v in heads.items() if not k.startswith(f"{BACKBONE}.")})
    device = torch_device(training.runtime)
    trainee.mickey.use_dtype(torch_dtype(training.runtime)).to(device)
    validate = None
    if training.validation_set is not None:
        scenes = read_set(training.validation_set)
        require_true_poses(scenes)  # now, not after the first epoch

        def validate(network: MickeyTrainee) -> dict[str, float]:
            return validate_mapfree(network.mickey, scenes)

    return Trainer(trainee, source, training.options, training.folder, device, validate)  # type: ignore[arg-type]
