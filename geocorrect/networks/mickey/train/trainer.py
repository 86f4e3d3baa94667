"""The training loop: deterministic, and resumable to the bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geocorrect.errors import ModelError, OutputError, UsageError
from geocorrect.io.atomic_file import atomic_file
from geocorrect.networks.exact import full_float32
from geocorrect.networks.mickey.engine import to_tensor
from geocorrect.networks.mickey.train.options import CurriculumOptions, PairSource, TrainingPair, TrainOptions
from geocorrect.networks.mickey.train.reinforce import PairGeometry, PairLoss, pair_loss, points_m
from geocorrect.networks.mickey.train.trainee import KeypointNetwork
from geocorrect.networks.state_dict import load_pickled_tensors

Validate = Callable[[KeypointNetwork], Mapping[str, float]]
"""Figures of a network after an epoch, larger is better; the best of each name is kept."""


STATE_FILE = "training.ckpt"
FREE_OPTIONS = ("epochs", "save_every_steps")
"""May change when a training continues: no step depends on them."""


@dataclass
class Progress:
    """Counts since the beginning. Random numbers follow from the seed and the step, so they need no state."""

    epoch: int = 0
    """Epochs that are done."""
    batch: int = 0
    """Batches of the present epoch that are done."""
    step: int = 0
    """Batches in all."""
    skipped_steps: int = 0
    """Steps whose gradient was not finite and that changed nothing."""
    best: dict[str, float] = field(default_factory=dict)
    """Best validation figure so far, by name."""


@dataclass(frozen=True)
class SavedTraining:
    """What a state file holds."""

    trained_state: dict[str, Tensor]
    optimizer: dict[str, Any]
    progress: Progress


def save_training(
    path: Path, state: dict[str, Tensor], optimizer: dict[str, Any], progress: Progress, identity: str
) -> None:
    """Write the state atomically; `load_mickey` reads the heads from it, too. identity: of data and options."""
    content = {
        "state_dict": {key: tensor.detach().cpu() for key, tensor in state.items()},
        "optimizer": optimizer,
        "progress": asdict(progress),
        "identity": identity,
    }
    with atomic_file(path) as file:  # not by its name, which torch would write into the file
        torch.save(content, file)


def load_training(path: Path, identity: str) -> SavedTraining:
    """The state of an interrupted training.

    Raises:
        ModelError: the file is damaged.
        UsageError: it belongs to other data or options; names what differs.
    """
    try:
        content = load_pickled_tensors(path)
        known = {"state_dict", "optimizer", "progress", "identity"}
        if not isinstance(content, dict) or not known <= set(content):
            raise ModelError("not a state of a training")
        saved = SavedTraining(content["state_dict"], content["optimizer"], Progress(**content["progress"]))
        found = json.loads(content["identity"])
    except (ModelError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: {error}; begin in another folder, or restore the file") from None
    wanted = json.loads(identity)
    different = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if different:
        told = "; ".join(f"{key}: {found.get(key)!r} then, {wanted.get(key)!r} now" for key in different)
        raise UsageError(f"{path}: belongs to another training ({told}); use its options, or begin in another folder")
    return saved


def identity_of(options: TrainOptions, source: str) -> str:
    """Everything that decides the course of a training, as flat JSON."""
    flat: dict[str, Any] = {"data": source}
    for name, value in asdict(options).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": entry for inner, entry in value.items()}
        elif name not in FREE_OPTIONS:
            flat[name] = value
    return json.dumps(flat, sort_keys=True)


@dataclass(frozen=True)
class StepReport:
    """What one step did."""

    step: int
    loss: float
    """Mean error of all pairs of the batch."""
    n_kept: int
    """Pairs that were learnt from."""


class Trainer:
    """Moves a network over the pairs of a source. The folder holds the state and the best networks."""

    def __init__(
        self,
        network: KeypointNetwork,
        source: PairSource,
        options: TrainOptions,
        folder: Path,
        device: torch.device | str = "cpu",
        validate: Validate | None = None,
    ) -> None:
        """Continues where the folder's state stopped; ModelError or UsageError where that is not possible."""
        self.network, self.source, self.options, self.folder = network, source, options, folder
        self.device = torch.device(device)
        self.validate = validate
        self.progress = Progress()
        self.identity = identity_of(options, source.fingerprint)
        moving = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(moving, lr=options.learning_rate, eps=options.adam_epsilon)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be created ({error.strerror})") from None
        if (folder / STATE_FILE).is_file():
            saved = load_training(folder / STATE_FILE, self.identity)
            network.load_trained_state(saved.trained_state)
            self.optimizer.load_state_dict(saved.optimizer)
            self.progress = saved.progress

    def run(self, stop: Callable[[], bool] = lambda: False, report: Callable[[StepReport], None] | None = None) -> bool:
        """Train to the last epoch; False where `stop` said so, after the step and with the state saved."""
        while self.progress.epoch < self.options.epochs:
            items = self.source.epoch(self.progress.epoch)
            batches = [items[i : i + self.options.batch_size] for i in range(0, len(items), self.options.batch_size)]
            for batch in batches[self.progress.batch :]:
                told = self.step([self.source.load(item) for item in batch])
                if report is not None:
                    report(told)
                if stop():
                    self.save()
                    return False
                if self.progress.step % self.options.save_every_steps == 0:
                    self.save()
            self._end_epoch()
        return True

    @full_float32()
    def step(self, pairs: Sequence[TrainingPair]) -> StepReport:
        """One batch: losses of its pairs, the easier ones learnt from."""
        self.network.train()
        losses = self._losses(pairs)
        values = [math.nan if loss is None else loss.value for loss in losses]
        kept = kept_pairs(values, self.progress.epoch, self.options.curriculum)
        chosen = [loss.total for loss, keep in zip(losses, kept.tolist(), strict=True) if keep and loss is not None]
        norm = self._descend(chosen) if chosen else math.nan
        if not math.isfinite(norm):
            self.progress.skipped_steps += 1
        self.progress.step += 1
        self.progress.batch += 1
        finite = [value for value in values if math.isfinite(value)]
        return StepReport(self.progress.step, float(np.mean(finite)) if finite else math.nan, len(chosen))

    def save(self, name: str = STATE_FILE) -> Path:
        """Write the state under a name in the folder."""
        path = self.folder / name
        save_training(path, self.network.trained_state(), self.optimizer.state_dict(), self.progress, self.identity)
        return path

    def _losses(self, pairs: Sequence[TrainingPair]) -> list[PairLoss | None]:
        """Per pair; None where its weights leave nothing to draw."""
        images0, images1 = (to_tensor([getattr(pair, name) for pair in pairs]) for name in ("image0", "image1"))
        found0, found1, weight = self.network.predict(images0.to(self.device), images1.to(self.device))
        losses: list[PairLoss | None] = []
        for index, pair in enumerate(pairs):
            geometry = self._geometry(pair)
            source = points_m(found0.px[index], found0.depth_m[index], geometry.network_intrinsics0)
            target = points_m(found1.px[index], found1.depth_m[index], geometry.network_intrinsics1)
            drawable = torch.isfinite(weight[index]).all() and (weight[index] > 0).sum() >= self.options.draw.set_size
            losses.append(
                pair_loss(source, target, weight[index], geometry, self.options, self._generator(index))
                if drawable
                else None
            )
        return losses

    def _descend(self, totals: Sequence[Tensor]) -> float:
        """One step of Adam; the norm of the gradient, not finite where the step was left out."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(totals)).mean().backward()
        moving = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(moving, self.options.max_gradient_norm))
        if math.isfinite(norm):
            self.optimizer.step()
        return norm

    def _end_epoch(self) -> None:
        self.progress.epoch += 1
        self.progress.batch = 0
        if self.validate is not None:
            self.network.train(False)
            for name, value in self.validate(self.network).items():
                if math.isfinite(value) and value > self.progress.best.get(name, -math.inf):
                    self.progress.best[name] = float(value)
                    self.save(f"best-{name}.ckpt")
        self.save()

    def _geometry(self, pair: TrainingPair) -> PairGeometry:
        names = ("cam1_from_cam0", "intrinsics0", "intrinsics1", "network_intrinsics0", "network_intrinsics1")
        tensors: dict[str, Any] = {
            name: torch.from_numpy(np.asarray(getattr(pair, name), np.float32)).to(self.device) for name in names
        }
        return PairGeometry(**tensors)

    def _generator(self, pair: int) -> torch.Generator:
        """Of the draws of one pair of this step: the same whenever the step is taken."""
        seed = np.random.SeedSequence([self.options.seed, self.progress.step, pair]).generate_state(1, np.uint64)[0]
        return torch.Generator(self.device).manual_seed(int(seed) >> 1)


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
