"""Options of a batch run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class BatchOptions:
    """How much is done at once, and when a run counts as failed.

    workers: processes; 1 computes in this process. images_per_transaction: results are written in groups
    of this size, as they come. cached_anchors: pixels and depth of that many anchors stay in a worker's memory
    (three bytes a pixel, and the depth). seed: makes every random choice of a run repeatable. max_rejected_share: above
    it the run ends with exit code 7 (0…1; most photos of a whole area are out of the anchors' sight, so the
    default never complains). metrics_file: a Prometheus text file, kept up to date while a run works.
    """

    engine: Literal["local"] = "local"
    workers: int = 1
    images_per_transaction: int = 20
    cached_anchors: int = 64
    seed: int = 0
    max_rejected_share: float = 1.0
    metrics_file: Path | None = None

    def __post_init__(self) -> None:
        if min(self.workers, self.images_per_transaction, self.cached_anchors) < 1:
            raise ValueError("batch: workers, images_per_transaction and cached_anchors must be at least 1")
        if not 0.0 <= self.max_rejected_share <= 1.0:
            raise ValueError("batch: max_rejected_share must be between 0 and 1")
