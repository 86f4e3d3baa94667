"""The ablation that explains why confidence collapses: every loss with every learning rate, on the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from geocorrect.config import Settings
from geocorrect.jobs.anchors.finetune import TOKENS_DISK_MIB, FinetuneJob, finetune_mast3r
from geocorrect.networks.runtime import require_libraries

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.train.trainer import EpochReport


def train_grid(
    settings: Settings,
    job: FinetuneJob,
    learning_rates: Sequence[float],
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str, EpochReport], None] = lambda name, done: None,
) -> list[Path] | None:
    """Train what is not trained yet; folders of all trainings, None when stopped. Errors as `finetune_mast3r`.

    Args:
        settings: The configuration.
        job: Each training has a folder in its folder, and its options but for what the grid varies.
        learning_rates: At the start; the last one of a training is in the same proportion as the options'.
        stop: Asked after every step.
        report: Called after every epoch with the name of the training.
    """
    require_libraries()
    from geocorrect.networks.mast3r.train.options import ConfidenceLoss

    models = settings.models
    if models.cache_folder is None:  # the frozen network sees each pair once for the whole grid
        models = replace(models, cache_folder=job.folder / "tokens", cache_disk_mib=TOKENS_DISK_MIB)
    settings = settings.model_copy(update={"models": models})
    folders = []
    for confidence in ConfidenceLoss:
        for rate in learning_rates:
            lowest = rate * job.options.min_learning_rate / job.options.learning_rate
            options = replace(job.options, confidence=confidence, learning_rate=rate, min_learning_rate=lowest)
            name = f"{confidence}_{rate:g}"
            one = replace(job, folder=job.folder / name, options=options)
            finetune_mast3r(settings, one, stop, lambda done, name=name: report(name, done))  # type: ignore[misc]
            if stop():
                return None
            folders.append(one.folder)
    return folders
