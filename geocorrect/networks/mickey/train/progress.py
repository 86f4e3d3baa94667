"""How far a training is, on disk: everything that the next step depends on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geocorrect.errors import ModelError, UsageError
from geocorrect.io.atomic_file import atomic_file
from geocorrect.networks.mickey.train.options import TrainOptions
from geocorrect.networks.state_dict import load_pickled_tensors

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
