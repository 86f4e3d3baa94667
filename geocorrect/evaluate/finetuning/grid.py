"""The ablation that explains why confidence collapses: every loss with every learning rate, on the same pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.jobs.anchors.finetune import TOKENS_DISK_MIB, FinetuneJob, finetune_mast3r
from geocorrect.networks.runtime import require_libraries

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.train.options import FinetuneOptions
    from geocorrect.networks.mast3r.train.trainer import EpochReport


@dataclass(frozen=True)
class AblationPlan:
    """What is learnt from what, how often."""

    train: AnchorSource
    validate: AnchorSource
    names: tuple[str, str]
    """Of the two scenes, for messages."""
    out: Path
    """Each training has a folder in it."""
    options: FinetuneOptions
    """Of all trainings, but for what the grid varies."""
    learning_rates: tuple[float, ...]
    """At the start; the last one of a training is in the same proportion as the options'."""


def train_grid(
    settings: Settings,
    plan: AblationPlan,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str, EpochReport], None] = lambda name, done: None,
) -> list[Path] | None:
    """Train what is not trained yet; folders of all trainings, None when stopped. Errors as `finetune_mast3r`."""
    require_libraries()
    from geocorrect.networks.mast3r.train.options import ConfidenceLoss

    models = settings.models
    if models.cache_folder is None:  # the frozen network sees each pair once for the whole grid
        models = replace(models, cache_folder=plan.out / "tokens", cache_disk_mib=TOKENS_DISK_MIB)
    settings = settings.model_copy(update={"models": models})
    folders = []
    for confidence in ConfidenceLoss:
        for rate in plan.learning_rates:
            lowest = rate * plan.options.min_learning_rate / plan.options.learning_rate
            options = replace(plan.options, confidence=confidence, learning_rate=rate, min_learning_rate=lowest)
            name = f"{confidence}_{rate:g}"
            job = FinetuneJob(plan.train, plan.validate, plan.names, plan.out / name, options)
            finetune_mast3r(settings, job, stop, lambda done, name=name: report(name, done))  # type: ignore[misc]
            if stop():
                return None
            folders.append(job.folder)
    return folders
