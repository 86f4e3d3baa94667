"""Image pairs of a Map-free training set for MicKey, and the figures of a network on its validation set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from geocorrect.errors import InputError
from geocorrect.evaluate.mapfree.benchmark import MapfreeRules, score_submission
from geocorrect.evaluate.mapfree.run import estimate_set, read_photo
from geocorrect.evaluate.mapfree.scene_files import MapfreeScene, read_set
from geocorrect.io.arrays import read_arrays
from geocorrect.networks.mickey.train.options import TrainOptions
from geocorrect.networks.runtime import Runtime, require_libraries, torch_device, torch_dtype

if TYPE_CHECKING:
    from geocorrect.networks.mickey.model import Mickey
    from geocorrect.networks.mickey.sizes import MickeySizes
    from geocorrect.networks.mickey.train.options import TrainingPair
    from geocorrect.networks.mickey.train.trainee import MickeyTrainee
    from geocorrect.networks.mickey.train.trainer import StepReport, Trainer

OVERLAPS_FILE = "overlaps.npz"
VALIDATION_STEP = 50
"""Every n-th query of a validation set is judged after an epoch."""


@dataclass(frozen=True)
class TrainingPairOptions:
    """Which pairs, at which size."""

    size: tuple[int, int] = (540, 720)
    """(width, height) that photos are resized to; 360 × 480 in a warm-up."""
    pairs_per_scene: int = 100
    """Per epoch, with replacement."""
    overlap: tuple[float, float] | None = None
    """Smallest and largest share of common view, from the set's own table (0.4 and 0.8 in the publication); None: any
    frame of the first recording with any frame of the second, for training with the curriculum."""
    seed: int = 0
    """Of the choice."""


@dataclass(frozen=True)
class ListedPair:
    """Two frames of a scene."""

    scene: int
    """Number of the scene in the set."""
    frame0: str
    """Name of a frame."""
    frame1: str
    """Name of another one."""


class MapfreePairs:
    """PairSource of a training set."""

    def __init__(self, folder: Path, options: TrainingPairOptions | None = None) -> None:
        """InputError naming what is missing."""
        self.folder, self.options = folder, options or TrainingPairOptions()
        self.scenes = read_set(folder)
        self._choices = [self._listed(number, scene) for number, scene in enumerate(self.scenes)]

    @property
    def fingerprint(self) -> str:
        """Scenes and options."""
        return f"{self.folder.name}/{len(self.scenes)}/{self.options}"

    def epoch(self, number: int) -> Sequence[ListedPair]:
        """Pairs of every scene, shuffled together."""
        rng = np.random.default_rng([self.options.seed, number])
        drawn: list[ListedPair] = []
        for choose in self._choices:
            drawn += [choose(rng) for _ in range(self.options.pairs_per_scene)]
        return [drawn[index] for index in rng.permutation(len(drawn))]

    def load(self, item: ListedPair) -> TrainingPair:
        """Pixels and geometry of one pair."""
        from geocorrect.networks.mickey.sizes import PATCH_PX
        from geocorrect.networks.mickey.train.options import TrainingPair

        scene = self.scenes[item.scene]
        width, height = self.options.size
        images, original, resized = [], [], []
        for frame in (item.frame0, item.frame1):
            photo = read_photo(scene, frame)
            camera, pixels = photo.camera, photo.pixels
            if (camera.width, camera.height) != (width, height):
                pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            images.append(pixels[: height // PATCH_PX * PATCH_PX, : width // PATCH_PX * PATCH_PX])
            original.append(camera.intrinsic_matrix)
            resized.append(camera.resized(width, height).intrinsic_matrix)
        pose0, pose1 = scene.world_from_cam[item.frame0], scene.world_from_cam[item.frame1]
        assert pose0 is not None
        assert pose1 is not None
        return TrainingPair(
            image0=images[0],
            image1=images[1],
            intrinsics0=original[0],
            intrinsics1=original[1],
            network_intrinsics0=resized[0],
            network_intrinsics1=resized[1],
            cam1_from_cam0=(pose1.inverse() @ pose0).matrix,
        )

    def _listed(self, number: int, scene: MapfreeScene) -> Callable[[np.random.Generator], ListedPair]:
        """How to draw a pair of this scene."""
        posed = [name for name, pose in scene.world_from_cam.items() if pose is not None]
        if self.options.overlap is not None:
            rows = _overlapping(scene.folder / OVERLAPS_FILE, self.options.overlap)
            known = set(posed)
            usable = [pair for pair in rows if known.issuperset(pair)]
            if not usable:
                raise InputError(f"{scene.folder}: no posed pair overlaps by {self.options.overlap}")
            return lambda rng: ListedPair(number, *usable[rng.integers(len(usable))])
        first, second = ([name for name in posed if name.startswith(f"seq{i}/")] for i in (0, 1))
        if not first or not second:
            raise InputError(f"{scene.folder}: needs posed frames of both recordings, seq0 and seq1, for training")
        return lambda rng: ListedPair(number, first[rng.integers(len(first))], second[rng.integers(len(second))])


def _overlapping(path: Path, limits: tuple[float, float]) -> list[tuple[str, str]]:
    """Frame names of the pairs within the limits."""
    try:
        content = read_arrays(path)
        indices, overlaps = content["idxs"], content["overlaps"].astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if indices.ndim != 2 or indices.shape[1] != 4 or overlaps.shape != (len(indices),):
        raise InputError(f"{path}: expected idxs (N, 4) and overlaps (N,), got {indices.shape} and {overlaps.shape}")
    within = (overlaps >= limits[0]) & (overlaps <= limits[1])
    return [
        (f"seq{a}/frame_{i:05d}.jpg", f"seq{b}/frame_{j:05d}.jpg")
        for a, i, b, j in indices[within].astype(int).tolist()
    ]


def require_true_poses(scenes: Sequence[MapfreeScene]) -> None:
    """InputError naming the first query whose pose is withheld: such a set cannot judge a training."""
    for scene in scenes:
        for frame in scene.queries(VALIDATION_STEP):
            if scene.world_from_cam.get(frame) is None:
                raise InputError(
                    f"{scene.folder}: no true pose of {frame}; validate on a set whose poses are published"
                )


def validate_mapfree(model: Mickey, scenes: Sequence[MapfreeScene], seed: int = 0) -> dict[str, float]:
    """`vcre_auc` and `pose_auc` of a network on a few queries of every scene of a validation set."""
    from geocorrect.evaluate.mapfree.pair_estimators import MickeyPairs
    from geocorrect.match.mickey import MickeyMatcher
    from geocorrect.networks.mickey.engine import MickeyEngine
    from geocorrect.networks.store import TensorStore

    require_true_poses(scenes)
    estimator = MickeyPairs(MickeyMatcher(MickeyEngine(model, "in training", TensorStore())))
    rules = MapfreeRules(query_step=VALIDATION_STEP, missing_scene_counts_every_frame=False)
    submission, _ = estimate_set(scenes, estimator, rules, seed)
    figures = score_submission(scenes, submission, rules)
    return {name: float(figures[name]) for name in ("vcre_auc", "pose_auc")}


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
    from geocorrect.networks.mickey.loading import PREFIX, read_heads
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
