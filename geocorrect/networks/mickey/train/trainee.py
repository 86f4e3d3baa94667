"""The network while it learns: the backbone rests, the heads and the dustbin move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from geocorrect.errors import ModelError
from geocorrect.networks.mickey.loading import PREFIX, read_backbone
from geocorrect.networks.mickey.model import Keypoints, Mickey
from geocorrect.networks.mickey.sizes import BACKBONE, RELEASED, MickeySizes


class KeypointNetwork(Protocol):
    """What the trainer moves: a torch module that predicts keypoints of image pairs."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """All weights; those that require no gradient rest."""
        ...

    def train(self, mode: bool = True) -> object:
        """Learn, or rest."""
        ...

    def predict(self, images0: Tensor, images1: Tensor) -> tuple[Keypoints, Keypoints, Tensor]:
        """Images (B, 3, H, W) in [0, 1] → keypoints of both and the weights (B, N, M) of their pairs."""
        ...

    def trained_state(self) -> dict[str, Tensor]:
        """Everything that training changes."""
        ...

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """What `trained_state` gave; ModelError naming keys and shapes that do not fit."""
        ...


class MickeyTrainee(nn.Module):
    """MicKey with a frozen backbone."""

    def __init__(self, mickey: Mickey) -> None:
        super().__init__()
        self.mickey = mickey.requires_grad_(True)
        self.mickey.extractor.dinov2_vitl14.requires_grad_(False)

    def train(self, mode: bool = True) -> MickeyTrainee:
        """Batch norms of the heads learn; the backbone stays as it is."""
        super().train(mode)
        self.mickey.extractor.dinov2_vitl14.eval()
        return self

    def predict(self, images0: Tensor, images1: Tensor) -> tuple[Keypoints, Keypoints, Tensor]:
        """See `KeypointNetwork`."""
        found = []
        for images in (images0, images1):
            with torch.no_grad():
                features = self.mickey.extractor.features(images.to(self.mickey.device))
            found.append(self.mickey.extractor(features))
        return found[0], found[1], self.mickey.pair(found[0], found[1]).weight

    def trained_state(self) -> dict[str, Tensor]:
        """Heads and dustbin under the names of the authors' files, which `load_mickey` reads."""
        return {
            f"{PREFIX}{key}": tensor
            for key, tensor in self.mickey.state_dict().items()
            if not key.startswith(f"{BACKBONE}.")
        }

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """See `KeypointNetwork`."""
        backbone = {key: tensor for key, tensor in self.mickey.state_dict().items() if key.startswith(f"{BACKBONE}.")}
        heads = {key.removeprefix(PREFIX): tensor for key, tensor in state.items()}
        try:
            self.mickey.load_state_dict(heads | backbone)
        except RuntimeError as error:
            raise ModelError(f"not a state of this training: {str(error).splitlines()[-1].strip()}") from None


def new_trainee(backbone: Path, seed: int, sizes: MickeySizes = RELEASED) -> MickeyTrainee:
    """Heads with fresh weights (seeded, torch's own initialisation) on the pre-trained backbone of a file.

    ModelError naming the file when it is missing, damaged or of another size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mickey = Mickey(sizes)
    tensors = {key.removeprefix(f"{BACKBONE}."): tensor for key, tensor in read_backbone(backbone).items()}
    try:
        mickey.extractor.dinov2_vitl14.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{backbone}: not this backbone: {str(error).splitlines()[-1].strip()}") from None
    return MickeyTrainee(mickey)
