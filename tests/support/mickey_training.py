"""Image pairs whose pixels carry their own geometry, and a network of two numbers that reads it, but for the scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from geocorrect.networks.mickey.model import Keypoints
from geocorrect.networks.mickey.train.options import TrainingPair
from support.mickey_world import random_photo

CELL_PX = 14
INTRINSICS = np.array([[590.0, 0.0, 269.5], [0.0, 590.0, 359.5], [0.0, 0.0, 1.0]])


def true_motion(seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(rng.normal(size=3) * 0.1).as_matrix()
    motion[:3, 3] = rng.normal(size=3) * 0.6
    return motion


class SyntheticPairs:
    """PairSource. In each cell of 14 × 14 px twelve bytes say x, y (px) and depth (m) of the cell's keypoint."""

    def __init__(self, n_pairs: int, n_cells: int = 8, seed: int = 0) -> None:
        self.n_pairs, self.n_cells, self.seed = n_pairs, n_cells, seed

    @property
    def fingerprint(self) -> str:
        return f"synthetic/{self.n_pairs}/{self.n_cells}/{self.seed}"

    def epoch(self, number: int) -> Sequence[int]:
        return [int(i) for i in np.random.default_rng([self.seed, number]).permutation(self.n_pairs)]

    def load(self, item: int) -> TrainingPair:
        motion = true_motion(item)
        rng = np.random.default_rng([item, 2])
        depth = rng.uniform(2.0, 6.0, self.n_cells**2)
        points0 = np.c_[rng.uniform(-0.4, 0.4, (len(depth), 2)) * depth[:, None], depth]
        points1 = points0 @ motion[:3, :3].T + motion[:3, 3]
        images = [self._image(points) for points in (points0, points1)]
        return TrainingPair(*images, INTRINSICS, INTRINSICS, INTRINSICS, INTRINSICS, motion)

    def _image(self, points: np.ndarray) -> np.ndarray:
        px = points @ INTRINSICS.T
        values = np.c_[px[:, :2] / px[:, 2:], points[:, 2]].astype(np.float32)
        size = self.n_cells * CELL_PX
        cells = np.zeros((self.n_cells, self.n_cells, CELL_PX, CELL_PX, 3), np.uint8)
        cells[:, :, 0, :4, :] = values.view(np.uint8).reshape(self.n_cells, self.n_cells, 4, 3)
        return np.ascontiguousarray(cells.swapaxes(1, 2)).reshape(size, size, 3)


class PhotoPairs:
    """PairSource of random photos with some geometry: something to take steps on."""

    def __init__(self, n_pairs: int, width: int = 140, height: int = 126) -> None:
        self.n_pairs, self.size = n_pairs, (width, height)

    @property
    def fingerprint(self) -> str:
        return f"photos/{self.n_pairs}/{self.size}"

    def epoch(self, number: int) -> Sequence[int]:
        return [int(i) for i in np.random.default_rng(number).permutation(self.n_pairs)]

    def load(self, item: int) -> TrainingPair:
        images = [random_photo(*self.size, seed=2 * item + side) for side in (0, 1)]
        intrinsics = np.array([[120.0, 0.0, 69.5], [0.0, 120.0, 62.5], [0.0, 0.0, 1.0]])
        return TrainingPair(*images, intrinsics, intrinsics, intrinsics, intrinsics, true_motion(item))


class ScaleNetwork(nn.Module):
    """Reads positions and depths out of the pixels; what it has to learn is the scale of the depths."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(np.log(scale), dtype=torch.float32))
        self.sharpness = nn.Parameter(torch.tensor(4.0))

    def predict(self, images0: Tensor, images1: Tensor) -> tuple[Keypoints, Keypoints, Tensor]:
        found = [self._keypoints(images) for images in (images0, images1)]
        # The same cell of both images is the same point; the others are mistaken for it now and then.
        count = found[0].px.shape[-1]
        weight = (torch.eye(count) * self.sharpness).flatten().softmax(dim=0).view(count, count)
        return found[0], found[1], weight.expand(len(images0), -1, -1)

    def _keypoints(self, images: Tensor) -> Keypoints:
        n_cells = images.shape[-1] // CELL_PX
        cells = (images * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
        cells = cells.unflatten(1, (n_cells, CELL_PX)).unflatten(3, (n_cells, CELL_PX))[:, :, 0, :, :4]
        values = cells.contiguous().flatten(3).view(torch.float32).flatten(1, 2)
        depth = values[..., 2] * self.log_scale.exp()
        return Keypoints(values[..., :2].mT, depth, torch.ones_like(depth) / depth.shape[1], values.mT)

    def trained_state(self) -> dict[str, Tensor]:
        return dict(self.state_dict())

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        self.load_state_dict(dict(state))
