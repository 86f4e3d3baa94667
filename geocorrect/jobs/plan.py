"""What is due, and in which order: found from columns alone, once per job. Whole photos are read later, by tile.

Planning reads every photo once, a few columns in pieces, and remembers about fifty bytes of each that is due: its keys
and its candidate anchors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect import __version__
from geocorrect.catalog.image_positions import ImagePositions
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.depth.registry import declare_depth
from geocorrect.jobs.scene import AnchorSource, Scene
from geocorrect.match.registry import matcher_card
from geocorrect.networks.cards import CARDS, Licence
from geocorrect.workers.backends import Backends

Float = NDArray[np.float64]
Integers = NDArray[np.int64]
TILE_M = 200.0
CELLS_PER_TILE = 16
"""Within a tile photos are taken cell by cell (12.5 m), so that neighbours in place are neighbours in time."""
NOWHERE = np.iinfo(np.int64).max
GOLDEN_RATIO = 0.6180339887
"""Multiples of it, modulo 1, come to lie far from all former ones."""


def config_key(settings: Settings, fingerprints: tuple[str, ...]) -> str:
    """Hex sha256 of all that changes a result whatever photo and anchors are.

    Args:
        settings: the configuration.
        fingerprints: of matcher, depth source and further networks, weights included.
    """
    return hashlib.sha256(json.dumps([settings.fingerprint(), __version__, *fingerprints]).encode()).hexdigest()


def run_key(config: str, generation: int) -> str:
    """Hex sha256 that names one generation of the results of a configuration."""
    return hashlib.sha256(f"{config}/{generation}".encode()).hexdigest()


def newest_run_key(config: str, catalog: Catalog) -> str:
    """The key under which the newest results of a configuration are stored, or would be."""
    newest = catalog.newest_run(config)
    return run_key(config, 1) if newest is None else newest[1].run_key


def run_record(settings: Settings) -> dict[str, Any]:
    """What is stored with a run: its settings, and the licences that its results are bound by."""
    return settings.as_json() | {"weights": weights_used(settings)}


def weights_used(settings: Settings) -> list[dict[str, Any]]:
    """Networks behind the results, with the licences that bind them; empty when none is used. Plain JSON values."""
    card, declared = matcher_card(settings.match), declare_depth(settings.depth)
    used = [] if card is None else [_use("matching", card.name, card.licence)]
    used += [] if declared.licence is None else [_use("depth", declared.weights, declared.licence)]
    further = {"pose": settings.localize.estimator, "focal length": settings.camera.focal}
    networks = {"mapanything": settings.depth.mapanything.weights, "mickey": "mickey"}
    return used + [_use(what, networks[n], CARDS[networks[n]].licence) for what, n in further.items() if n in networks]


def _use(purpose: str, name: str, licence: Licence) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "name": name,
        "licence": licence.name,
        "url": licence.url,
        "commercial": licence.commercial,
    }


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
