"""Fine-tune MASt3R's point head on the scans of one scene, and choose the epoch on another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from geocorrect.api.anchor_cache import read_anchor
from geocorrect.api.scene import AnchorSource
from geocorrect.config import Settings
from geocorrect.depth.lidar import LidarDepth
from geocorrect.errors import ConfigError, InputError, UsageError
from geocorrect.networks.runtime import require_libraries
from geocorrect.records import Anchor, AnchorView
from geocorrect.retrieve.neighbours import NeighbourFinder, NeighbourOptions
from geocorrect.retrieve.spatial import AnchorPositions

if TYPE_CHECKING:
    from geocorrect.networks.mast3r.train.options import FinetuneOptions
    from geocorrect.networks.mast3r.train.samples import MeasuredPair
    from geocorrect.networks.mast3r.train.trainer import EpochReport

TOKENS_DISK_MIB = 1 << 20
"""No token is dropped for space: a training looks at all of them in every epoch. 6.8 MB a pair of the released size."""


@dataclass(frozen=True)
class FinetuneJob:
    """What is learnt from what."""

    train: AnchorSource
    validate: AnchorSource
    names: tuple[str, str]
    """Of the two scenes, for messages."""
    folder: Path
    """For the state, the tokens and the head."""
    options: FinetuneOptions
    neighbours: NeighbourOptions = field(default_factory=NeighbourOptions)
    """Which anchors are the second view of one."""


def finetune_mast3r(
    settings: Settings,
    job: FinetuneJob,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[EpochReport], None] = lambda _: None,
) -> Path | None:
    """Train; the path of the best head, None when stopped or when no epoch was better than the base.

    Raises:
        InputError: a scene without scans, without pairs, or without a measured point that the network sees.
        ModelError: weights are missing or not licensed, the training's base has changed, a loss is not finite.
        UsageError: the two scenes are one, or the folder holds another training.
    """
    if set(filter(None, job.train.index.content_hashes)) & set(job.validate.index.content_hashes):
        raise UsageError(f"{job.names[1]}: shares anchors with {job.names[0]}; validate on another scene")
    require_libraries()
    from geocorrect.networks.mast3r.loading import base_sha256, load_engine
    from geocorrect.networks.mast3r.train.files import HEAD_FILE
    from geocorrect.networks.mast3r.train.samples import HeadSamples, require_points
    from geocorrect.networks.mast3r.train.trainer import HeadTrainer

    sources = [
        ScenePairs(scene, name, job.neighbours)
        for scene, name in zip((job.train, job.validate), job.names, strict=True)
    ]
    options = settings.with_shared_checkpoints().depth.mast3r
    if options.head != "base":
        raise ConfigError('[depth.mast3r] head = "file": fine-tuning begins with the base head; leave head out')
    runtime = settings.models
    if runtime.cache_folder is None:
        runtime = replace(runtime, cache_folder=job.folder / "tokens", cache_disk_mib=TOKENS_DISK_MIB)
    base = base_sha256(runtime, options.checkpoint)
    engine = load_engine(runtime, options.long_side_px, options.checkpoint)
    train, validation = (HeadSamples(source, engine) for source in sources)
    for samples, name in zip((train, validation), job.names, strict=True):
        require_points(samples, name)
    trainer = HeadTrainer(engine.model, base, train, validation, job.options, job.folder)
    if not trainer.run(stop, report) or not (job.folder / HEAD_FILE).is_file():
        return None
    return job.folder / HEAD_FILE


class ScenePairs:
    """`PairSource` of a scene: each anchor that has a scan, beside each of its neighbours."""

    def __init__(self, scene: AnchorSource, name: str, options: NeighbourOptions) -> None:
        """InputError when no anchor of the scene has a scan."""
        index = scene.index
        positions = AnchorPositions(index.ids, index.enu_m, index.heading_deg)
        finder = NeighbourFinder(positions, index.alignment_ids, options)
        self._anchors = {anchor.id: anchor for chunk in scene.chunks() for anchor in chunk}
        scanned = [anchor_id for anchor_id in index.ids if self._anchors[anchor_id].lidar is not None]
        if not scanned:
            raise InputError(f"{name}: none of its {len(index.ids)} anchors has a laser scan to learn from")
        self._pairs = [(anchor_id, other) for anchor_id in scanned for other in finder.of(anchor_id)]
        content = "\n".join([*index.content_hashes, repr(options), LidarDepth().fingerprint])
        self.fingerprint = f"scene-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        self._view = lru_cache(maxsize=8)(self._read)

    def __len__(self) -> int:
        return len(self._pairs)

    def load(self, index: int) -> MeasuredPair:
        """See `networks.mast3r.train.samples.PairSource`."""
        from geocorrect.networks.mast3r.train.samples import MeasuredPair

        first, second = (self._view(name) for name in self._pairs[index])
        scan = LidarDepth().depth(first.anchor, first.pixels)
        px, points_m = scan.points(first.anchor.camera)
        name = f"{first.anchor.id} beside {second.anchor.id}"
        return MeasuredPair(name, first.pixels, second.pixels, px, points_m)

    def _read(self, name: str) -> AnchorView:
        anchor: Anchor = self._anchors[name]
        return read_anchor(anchor)
