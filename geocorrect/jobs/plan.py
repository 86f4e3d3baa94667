"""What is due, and in which order: found from columns alone, once per job. Whole photos are read later, by tile.

Planning reads every photo once, a few columns in pieces, and remembers about fifty bytes of each that is due: its keys
and its candidate anchors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.api.backends import Backends
from geocorrect.api.scene import AnchorSource, Scene
from geocorrect.catalog.image_positions import DueHistory, ImagePositions
from geocorrect.catalog.run import StoredRun
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.jobs.run_identity import METHOD_VERSION, config_key, run_record

Float = NDArray[np.float64]
Integers = NDArray[np.int64]
TILE_M = 200.0
CELLS_PER_TILE = 16
"""Within a tile photos are taken cell by cell (12.5 m), so that neighbours in place are neighbours in time."""
NOWHERE = np.iinfo(np.int64).max
GOLDEN_RATIO = 0.6180339887
"""Multiples of it, modulo 1, come to lie far from all former ones."""


@dataclass(frozen=True, eq=False)
class DuePhotos:
    """N photos that are due, in the order of the work."""

    fid: Integers
    """(N,) integer keys."""
    tile: Integers
    """(N,) number of the tile of each; photos of one tile follow each other."""
    run_fid: Integers
    """(N,) the run of each photo's newest result, -1 when it has none."""
    candidates: NDArray[np.int32]
    """(N, K) rows of the scene's anchors, best first, -1 = none."""

    def __len__(self) -> int:
        return len(self.fid)

    def take(self, rows: NDArray[np.intp] | slice) -> DuePhotos:
        """Some of them, in that order."""
        return DuePhotos(self.fid[rows], self.tile[rows], self.run_fid[rows], self.candidates[rows])

    def first(self, count: int | None) -> DuePhotos:
        """The first of them; all when count is None."""
        return self.take(slice(count))

    def for_start(self, number: int) -> DuePhotos:
        """The same photos, begun at another place at every start of a run (1, 2, …).

        A photo with which the whole run dies, or its machine, then never stands in the way of the same others.
        """
        begin = int(len(self) * ((number - 1) * GOLDEN_RATIO % 1.0))
        return self.take(np.roll(np.arange(len(self)), -begin))


@dataclass(frozen=True, eq=False)
class RunPlan:
    """What a run would do, found without computing anything; made once per job."""

    settings: Settings
    backends: Backends
    scene: Scene
    config_key: str
    """Photos with a result under it are due only when their input changes."""
    due: DuePhotos


def plan_run(settings: Settings, catalog: Catalog, backends: Backends | None = None) -> RunPlan:
    """What is due under these settings. Raises InputError when the catalog holds no anchors, ModelError for weights.

    Args:
        settings: the configuration.
        catalog: of the scene; it must stay open while the plan is worked on.
        backends: matcher and depth source, when the caller has built them already.
    """
    scene = Scene(settings, AnchorSource.of_catalog(catalog))
    backends = backends or Backends(settings)
    key = config_key(settings, backends.fingerprints)
    return RunPlan(settings, backends, scene, key, _due_photos(catalog, scene, key))


def _due_photos(catalog: Catalog, scene: Scene, key: str) -> DuePhotos:
    """The photos whose newest result under this configuration does not depend on their present input."""
    width = scene.retriever.options.max_candidates
    none = np.zeros(0, np.int64)
    parts, cells, after = [DuePhotos(none, none, none, np.zeros((0, width), np.int32))], [none], 0
    while len(photos := catalog.image_positions(key, after)):
        after = int(photos.fid[-1])
        enu_m = scene.reported_enu_m(photos.lon_deg, photos.lat_deg)
        candidates = scene.retriever.candidate_rows(enu_m, photos.heading_deg)
        due = _due_rows(photos, scene, enu_m, candidates)
        cells.append(_cell_numbers(enu_m[due]))
        parts.append(DuePhotos(photos.fid[due], none, photos.run_fid[due], candidates[due].astype(np.int32)))
    cell = np.concatenate(cells)
    tile = np.where(cell == NOWHERE, NOWHERE, cell // CELLS_PER_TILE**2)
    fid, run_fid, rows = (np.concatenate([getattr(p, n) for p in parts]) for n in ("fid", "run_fid", "candidates"))
    return DuePhotos(fid, tile, run_fid, rows).take(np.lexsort((fid, cell)))


def _due_rows(photos: ImagePositions, scene: Scene, enu_m: Float, candidates: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.array(
        [
            row
            for row, (content, present) in enumerate(zip(photos.content_hash, photos.input_hash, strict=True))
            if present is None or scene.input_hash(content, candidates[row], enu_m[row]) != present
        ],
        np.intp,
    )


def _cell_numbers(enu_m: Float) -> Integers:
    """Numbers along a curve that fills a tile before it goes on to the next (Z-order); places unknown come last."""
    known = np.isfinite(enu_m[:, :2]).all(axis=1)
    cell = np.floor(enu_m[known, :2] / (TILE_M / CELLS_PER_TILE)).astype(np.int64) + 2**25
    numbers = np.full(len(enu_m), NOWHERE)
    numbers[known] = _spaced(cell[:, 0]) | (_spaced(cell[:, 1]) << 1)
    return numbers


def _spaced(number: Integers) -> Integers:
    """A zero between all bits of numbers below 2**26 (Morton 1966)."""
    for shift, mask in ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F),
                        (2, 0x3333333333333333), (1, 0x5555555555555555)):  # fmt: skip
        number = (number | (number << shift)) & mask
    return number


# --- why photos are due ---------------------------------------------------------------------------------------

FIDS_PER_READ = 20_000
SHOWN = 8
"""Changed settings that are named one by one."""
_UNUSED = ("checkpoint", "backbone", "folder", "licence", "cached_images")
"""Names of settings that say where something lies or how much is kept: no part of the key."""


def explain_due(plan: RunPlan, catalog: Catalog) -> dict[str, int]:
    """Due photos by why they are due, most frequent first."""
    runs: dict[int, str] = {}
    causes: Counter[str] = Counter()
    fids = plan.due.fid.tolist()
    for start in range(0, len(fids), FIDS_PER_READ):
        for history in catalog.due_history(fids[start : start + FIDS_PER_READ]):
            causes[_cause(history, plan, catalog, runs)] += 1
    return dict(causes.most_common())


def _cause(history: DueHistory, plan: RunPlan, catalog: Catalog, known: dict[int, str]) -> str:
    if history.run_fid is None:
        return "no result yet"
    if history.config_key != plan.config_key:
        if history.run_fid not in known:
            run = next(run for run in catalog.runs() if run.run_key == history.run_key)
            known[history.run_fid] = f"configuration: {', '.join(changed_parts(run, plan))}"
        return known[history.run_fid]
    return "the photo changed" if history.photo_changed else "its anchors changed"


def changed_parts(run: StoredRun, plan: RunPlan) -> list[str]:
    """What differs between the configuration of an earlier run and the present one, each with both values."""
    before, now = run.config, run_record(plan.settings)
    matcher, depth, *further = plan.backends.fingerprints
    parts = [
        f"{name} {old} → {new}"
        for name, old, new in (
            ("matcher", run.matcher, "+".join([matcher, *further])),
            ("depth", run.depth, depth),
            ("method version", before.get("method_version", "before 1"), METHOD_VERSION),
        )
        if old != new
    ]
    old_values, new_values = (dict(_relevant(config)) for config in (before, now))
    changed = [
        f"{name} {old_values.get(name)} → {new_values.get(name)}"
        for name in sorted(old_values.keys() | new_values.keys())
        if old_values.get(name) != new_values.get(name)
    ]
    parts += changed[:SHOWN] + ([f"and {len(changed) - SHOWN} more settings"] if len(changed) > SHOWN else [])
    return parts or ["the content of a file that it names"]


def _relevant(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings that are part of the key, by dotted name."""
    for section in ("retrieve", "camera", "match", "depth", "localize"):
        yield from _flat(config.get(section, {}), section)
    yield "batch.seed", config.get("batch", {}).get("seed")


def _flat(values: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        yield name, values
        return
    for key, value in values.items():
        if key not in _UNUSED:
            yield from _flat(value, f"{name}.{key}")
