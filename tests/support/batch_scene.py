"""A street of anchors and photos without any pixels: planning and storing need none (every photo is "missing")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from geocorrect.catalog import Catalog
from geocorrect.config import Settings
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.geometry.pose import Pose
from geocorrect.jobs.plan import plan_run
from geocorrect.jobs.run import run_batch
from geocorrect.records import Anchor, Image, Position
from geocorrect.workers.stop import StopRequest
from support import catalog_world as world


def anchor(name: str, east_m: float, north_m: float = 0.0, alignment: str = "known-1") -> Anchor:
    """An anchor that looks east."""
    pose = Pose(rotation_from_heading(90.0), np.array([east_m, north_m, 1.6]), np.diag([1e-4] * 3 + [1e-6] * 3))
    return replace(world.anchor(0), id=name, world_from_cam=pose, alignment_id=alignment, path=Path(f"{name}.png"))


def photo(name: str, east_m: float, north_m: float = 0.0) -> Image:
    """A photo that reports to look east; its file does not exist."""
    lon, lat, _ = world.ROME.wgs84_from_enu([east_m, north_m, 1.6])
    path, reported = Path(f"/nowhere/{name}.jpg"), Position(float(lon), float(lat))
    return replace(world.image(0), id=name, reported=reported, path=path, sha256=None, sequence_id=None)


def street(catalog: Catalog, n_photos: int, n_anchors: int, step_m: float = 5.0) -> None:
    """Photos every `step_m` along the east axis, anchors too; those of the far half rest on a second alignment."""
    catalog.set_frame(world.ROME)
    for name in ("near-1", "far-1"):
        catalog.add_alignment(world.alignment(name))
    names = ["near-1" if i < n_anchors // 2 else "far-1" for i in range(n_anchors)]
    catalog.upsert_anchors(anchor(f"a{i:05}", i * step_m, 0.0, names[i]) for i in range(n_anchors))
    catalog.upsert_images(photo(f"p{i:06}", i * step_m, 2.0) for i in range(n_photos))


def due(catalog: Catalog, settings: Settings) -> set[str]:
    """Ids of the photos that are due."""
    fids = plan_run(settings, catalog).due.fid.tolist()
    return {found.image.id for found in catalog.stored_images(fids).values()}


def correct_all(catalog: Catalog, settings: Settings) -> str:
    """Run until nothing is due; the key of the run."""
    return run_batch(plan_run(in_process(settings), catalog), catalog, StopRequest()).run_key


def in_process(settings: Settings) -> Settings:
    """The same without a worker process, which takes seconds to start; results and what is due are the same."""
    return settings.model_copy(update={"batch": replace(settings.batch, engine="in-process")})


def ids_between(photos: Iterable[int]) -> set[str]:
    """Photo ids by number."""
    return {f"p{i:06}" for i in photos}
