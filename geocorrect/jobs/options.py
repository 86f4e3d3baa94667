"""Options of a batch run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class BatchOptions:
    """How much is done at once, and when a run counts as failed.

    workers: processes or actors. images_per_transaction: results are written in groups of this size, as they come.
    cached_anchors_mib: of the anchors that a worker used last, pixels (three bytes each) and depth (up to eight) stay
    in its memory, up to so many MiB. seed: makes every random choice of a run repeatable. max_rejected_share: above it
    the run ends with exit code 7 (0…1; most photos of a whole area are out of the anchors' sight, so the default never
    complains). metrics_file: a Prometheus text file, kept up to date while a run works.

    image_time_limit_s: an image that takes longer is rejected (inf: none). worker_memory_limit_mb: a worker whose
    resident memory is above it is killed and its image rejected (inf: none).

    engine: "local": worker processes, which an image can kill without ending the run (a script that starts them guards
    its own start with `if __name__ == "__main__"`). "in-process": one after the other in this process, for notebooks
    and debuggers; it notices the time limit only between two calls into compiled code, and no memory limit. "ray"
    (extra `ray`): `workers` actors, each with cpus_per_worker and gpus_per_worker of the cluster at ray_address
    ("auto", host:port; None: a cluster of this machine alone, for the length of the run).
    """

    engine: Literal["local", "in-process", "ray"] = "local"
    workers: int = 1
    images_per_transaction: int = 20
    cached_anchors_mib: int = 1024
    seed: int = 0
    max_rejected_share: float = 1.0
    metrics_file: Path | None = None
    image_time_limit_s: float = 900.0
    worker_memory_limit_mb: float = math.inf
    ray_address: str | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if min(self.workers, self.images_per_transaction, self.cached_anchors_mib) < 1:
            raise ValueError("batch: workers, images_per_transaction and cached_anchors_mib must be at least 1")
        if self.engine == "in-process" and (self.workers > 1 or math.isfinite(self.worker_memory_limit_mb)):
            raise ValueError('batch: engine = "in-process" is one worker without a memory limit')
        if not 0.0 <= self.max_rejected_share <= 1.0:
            raise ValueError("batch: max_rejected_share must be between 0 and 1")
        if not (self.image_time_limit_s > 0 and self.worker_memory_limit_mb > 0):
            raise ValueError("batch: image_time_limit_s and worker_memory_limit_mb must be positive (inf: no limit)")
        if not (self.cpus_per_worker > 0 and self.gpus_per_worker >= 0):
            raise ValueError("batch: cpus_per_worker must be positive and gpus_per_worker not negative")
