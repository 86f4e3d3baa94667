"""The training loop of a point head: deterministic, resumable to the bit, the best epoch on another scene kept."""

from __future__ import annotations

import io
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geocorrect.errors import InputError, ModelError, OutputError, UsageError
from geocorrect.io.atomic_file import atomic_file, write_atomically
from geocorrect.networks.dinov2 import Grid
from geocorrect.networks.exact import full_float32
from geocorrect.networks.mast3r.dpt import DptHead, points_from_raw
from geocorrect.networks.mast3r.head_file import copy_of, save_head
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.train.files import HEAD_FILE, HISTORY_FILE, STATE_FILE, VIEWS_FOLDER
from geocorrect.networks.mast3r.train.losses import absolute_relative_error, pixel_losses, point_distances
from geocorrect.networks.mast3r.train.options import FinetuneOptions
from geocorrect.networks.mast3r.train.samples import HeadSample, HeadSamples
from geocorrect.networks.state_dict import load_pickled_tensors


@dataclass(frozen=True)
class EpochReport:
    """Figures after an epoch; epoch 0 is the head as it came."""

    epoch: int
    train_loss: float
    """Mean over the epoch's pixels, while the head moved; nan for epoch 0."""
    validation_m: float
    """Mean distance of the validation pixels' points from the measured ones."""
    validation_abs_rel: float
    """Mean over the validation pairs of the mean relative distance."""
    confidence: float
    """Median of the validation pixels' confidence, of pairs the mean."""
    learning_rate: float


@dataclass
class Progress:
    """Counts since the beginning. The order of the pairs follows from the seed and the epoch."""

    epoch: int = 0
    """Epochs that are done."""
    step: int = 0
    """Steps of the optimizer in all."""
    step_of_epoch: int = 0
    loss_sum: float = 0.0
    """Over the pixels of the present epoch."""
    pixels: int = 0
    best_validation_m: float = math.inf
    history: list[dict[str, Any]] = field(default_factory=list)


class HeadTrainer:
    """Moves a copy of a network's first point head. The folder holds state, history and the best head."""

    def __init__(
        self,
        model: Mast3r,
        base_sha256: str,
        train: HeadSamples,
        validation: HeadSamples,
        options: FinetuneOptions,
        folder: Path,
    ) -> None:
        """Continues where the folder's state stopped.

        Args:
            model: stays as it is.
            base_sha256: of the checkpoint that the model came from.
            train: pairs that are learnt from.
            validation: pairs that choose the epoch.
            options: numbers of the training.
            folder: made when missing.

        Raises:
            ModelError: the state is damaged.
            UsageError: it belongs to another checkpoint, scene or other options; names what differs.
        """
        self.train, self.validation, self.options, self.folder = train, validation, options, folder
        self.base_sha256 = base_sha256
        self.head: DptHead = copy_of(model.downstream_head1.dpt)
        self.device = next(self.head.parameters()).device
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.progress = Progress()
        flat = {key: str(value) for key, value in asdict(options).items() if key != "save_every_steps"}
        self.identity = flat | {
            "base checkpoint": base_sha256, "training": train.fingerprint, "validation": validation.fingerprint
        }  # fmt: skip
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be created ({error.strerror})") from None
        if (folder / STATE_FILE).is_file():
            self._restore(folder / STATE_FILE)

    def run(
        self,
        stop: Callable[[], bool] = lambda: False,
        report: Callable[[EpochReport], None] = lambda _: None,
    ) -> bool:
        """Train to the last epoch; False where `stop` said so, after a step and with the state saved.

        Raises:
            ModelError: a loss is not finite; the state of the last save stays.
        """
        if not self.progress.history:
            report(self._judge(math.nan))
        while self.progress.epoch < self.options.epochs:
            steps = self._steps_of_epoch(self.progress.epoch)
            for batches in steps[self.progress.step_of_epoch :]:
                self._step(batches, len(steps))
                if stop():
                    self._save()
                    return False
                if self.progress.step % self.options.save_every_steps == 0:
                    self._save()
            mean = self.progress.loss_sum / max(self.progress.pixels, 1)
            self.progress.epoch += 1
            self.progress.step_of_epoch, self.progress.loss_sum, self.progress.pixels = 0, 0.0, 0
            report(self._judge(mean))
        return True

    def _steps_of_epoch(self, epoch: int) -> list[list[list[int]]]:
        """Pairs by step and batch: every pair once, in an order of the epoch's own."""
        order = np.random.default_rng([self.options.seed, epoch]).permutation(len(self.train)).tolist()
        batches = list(_cut(order, self.options.batch_size))
        return list(_cut(batches, self.options.accumulation))

    @full_float32()
    def _step(self, batches: Sequence[Sequence[int]], steps_per_epoch: int) -> None:
        """One step of the optimizer: the gradient of the mean over all measured pixels of its batches."""
        rate = self.learning_rate(self.progress.epoch + self.progress.step_of_epoch / steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = sum(self.train.prepare(index) for batch in batches for index in batch)
        for batch in batches:
            losses = []
            for sample, found, confidence in self.predict([self.train[index] for index in batch]):
                losses.append(pixel_losses(found, sample.points_m, confidence, self.options).sum())
                self._require_finite(losses[-1], f"pair {sample.name}: the loss")
            if losses:
                whole = torch.stack(losses).sum()
                (whole / total).backward()
                self.progress.loss_sum += whole.item()
        for parameter in self.head.parameters():
            if parameter.grad is not None:
                self._require_finite(parameter.grad, "the gradient")
        self.optimizer.step()
        self.progress.pixels += total
        self.progress.step += 1
        self.progress.step_of_epoch += 1

    def _require_finite(self, values: Tensor, what: str) -> None:
        if not torch.isfinite(values).all():
            raise ModelError(
                f"{what} is not finite at step {self.progress.step + 1}; look at the scans or lower the learning rate. "
                "The last saved state is kept: the same command continues there"
            )

    def learning_rate(self, epoch: float) -> float:
        """After so many epochs, fractions included."""
        low, high = self.options.min_learning_rate, self.options.learning_rate
        return low + (high - low) * 0.5 * (1.0 + math.cos(math.pi * epoch / self.options.epochs))

    def predict(self, samples: Sequence[HeadSample]) -> Iterator[tuple[HeadSample, Tensor, Tensor]]:
        """Each sample that has measured pixels with the head's points (M, 3) and confidences (M,) there."""
        by_grid: dict[Grid, list[HeadSample]] = defaultdict(list)
        for sample in samples:
            if len(sample.pixels):
                by_grid[sample.grid].append(sample)
        for grid, group in by_grid.items():
            tokens = [torch.stack(parts) for parts in zip(*(sample.tokens for sample in group), strict=True)]
            points_m, confidence = points_from_raw(self.head(tokens, grid))
            for row, sample in enumerate(group):
                yield sample, points_m[row].reshape(-1, 3)[sample.pixels], confidence[row].flatten()[sample.pixels]

    @torch.no_grad()
    @full_float32()
    def _judge(self, train_loss: float) -> EpochReport:
        """Figures on the validation pairs; keeps the head where it is the best so far, then the state."""
        distance_sum, pixels, relative, confidences = 0.0, 0, [], []
        for index in range(len(self.validation)):
            for sample, found, confidence in self.predict([self.validation[index]]):
                distance_sum += float(point_distances(found, sample.points_m, self.options.loss).sum())
                pixels += len(found)
                relative.append(absolute_relative_error(found, sample.points_m))
                confidences.append(float(confidence.median()))
        if not pixels:
            raise InputError("validation: no measured point")
        if not math.isfinite(distance_sum):
            raise ModelError(f"the validation loss is not finite after epoch {self.progress.epoch}")
        epoch = self.progress.epoch
        report = EpochReport(
            epoch, train_loss, distance_sum / pixels, float(np.mean(relative)), float(np.mean(confidences)),
            self.learning_rate(epoch),
        )  # fmt: skip
        self.progress.history.append(asdict(report))
        if report.validation_m < self.progress.best_validation_m:
            self.progress.best_validation_m = report.validation_m
            if epoch > 0:
                save_head(self.folder / HEAD_FILE, self.head, self.base_sha256, self.identity | asdict(report))
        rows = [
            {key: None if math.isnan(value) else value for key, value in row.items()} for row in self.progress.history
        ]
        self._keep_view(epoch)
        write_atomically(self.folder / HISTORY_FILE, json.dumps(rows, indent=2) + "\n")
        self._save()
        return report

    def _keep_view(self, epoch: int) -> None:
        """Depth and confidence of the first validation picture with measured points, for figures."""
        sample = next(sample for sample in map(self.validation.__getitem__, range(len(self.validation)))
                      if len(sample.pixels))  # fmt: skip
        points_m, confidence = points_from_raw(self.head([part[None] for part in sample.tokens], sample.grid))
        width = points_m.shape[2]
        measured_px = torch.stack([sample.pixels % width, sample.pixels // width], dim=1).float()
        content = io.BytesIO()
        np.savez_compressed(
            content, z_m=points_m[0, ..., 2].cpu().numpy(), confidence=confidence[0].cpu().numpy(),
            measured_px=measured_px.cpu().numpy(), measured_z_m=sample.points_m[:, 2].cpu().numpy(),
        )  # fmt: skip
        folder = self.folder / VIEWS_FOLDER
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"{epoch:03d}.npz", content.getvalue())

    def _save(self) -> None:
        content = {
            "head": {key: tensor.detach().cpu() for key, tensor in self.head.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "identity": self.identity,
        }
        with atomic_file(self.folder / STATE_FILE) as file:
            torch.save(content, file)

    def _restore(self, path: Path) -> None:
        try:
            content = load_pickled_tensors(path)
            found, progress = dict(content["identity"]), Progress(**content["progress"])
        except (ModelError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: {error}; begin in another folder, or restore the file") from None
        different = [key for key, value in self.identity.items() if found.get(key) != value]
        if different:
            then_now = "; ".join(f"{key}: {found.get(key)} then, {self.identity[key]} now" for key in different)
            raise UsageError(f"{path}: belongs to another training ({then_now}); begin in another folder")
        self.head.load_state_dict(content["head"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.progress = progress


def _cut(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
