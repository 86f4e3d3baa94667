"""What is due, and in which order: found from columns alone, tile by tile afterwards.

Planning reads every photo once, a few columns in pieces, and remembers sixteen bytes of each that is due. Whole photos
and anchors are read later, tile by tile (`tiles`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.image_positions import ImagePositions
from geocorrect.catalog.store import Catalog
from geocorrect.config import Settings
from geocorrect.errors import InputError
from geocorrect.geometry.frame import Frame
from geocorrect.jobs.result_inputs import AnchorContents, input_hash
from geocorrect.jobs.scene_search import SceneSearch
from geocorrect.records import AnchorIndex
from geocorrect.retrieve.spatial import AnchorPositions, SpatialRetriever

Float = NDArray[np.float64]
Integers = NDArray[np.int64]
TILE_M = 200.0
CELLS_PER_TILE = 16
"""Within a tile photos are taken cell by cell (12.5 m), so that neighbours in place are neighbours in time."""
NOWHERE = np.iinfo(np.int64).max
GOLDEN_RATIO = 0.6180339887
"""Multiples of it, modulo 1, come to lie far from all former ones."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What planning and reading tiles need to know of the anchors; read once per run.

    frame: the scene's; index, retriever: all anchors; contents: what results take from each; search: all anchors as
    candidates of photos without a position, where that is configured.
    """

    frame: Frame
    index: AnchorIndex
    retriever: SpatialRetriever
    contents: AnchorContents
    search: SceneSearch

    @classmethod
    def of(cls, settings: Settings, catalog: Catalog) -> Scene:
        """The scene of a catalog; InputError when it holds no anchors."""
        frame = catalog.frame()
        if frame is None:
            raise InputError("the catalog holds no anchors yet; add some with `geocorrect anchors add`")
        index = catalog.anchor_index()
        sites = AnchorPositions(index.ids, index.enu_m, index.heading_deg)
        retriever = SpatialRetriever(sites, settings.retrieve.by_place)
        search = SceneSearch(settings, index, catalog.anchors)
        return cls(frame, index, retriever, AnchorContents(settings, index), search)

    def reported_enu_m(self, lon_deg: Float, lat_deg: Float) -> Float:
        """(N, 3) reported positions, nan when unknown. Heights are not used: their reference is unknown."""
        enu_m = self.frame.enu_from_wgs84(lon_deg, lat_deg, np.full(len(lon_deg), self.frame.height_m))
        enu_m[:, 2] = np.nan
        return enu_m

    def input_hash(self, image_content: str, rows: NDArray[np.intp], enu_m: Float) -> str:
        """What a result rests on: content of the photo, and candidates as a row of `candidate_rows`.

        enu_m: (3,) reported position, nan when unknown.
        """
        if not np.isfinite(enu_m[:2]).all():
            return input_hash(image_content, self.search.input)
        ids = self.index.ids
        return input_hash(image_content, (self.contents[ids[row]] for row in rows.tolist() if row >= 0))


@dataclass(frozen=True, eq=False)
class Plan:
    """Photos that are due, in the order of the work.

    fid: (N,) integer keys; tile: (N,) number of the tile of each, photos of one tile follow each other. run_fid: (N,)
    the run of each photo's newest result, -1 when it has none.
    """

    fid: Integers
    tile: Integers
    run_fid: Integers

    def __len__(self) -> int:
        return len(self.fid)

    def first(self, count: int | None) -> Plan:
        """The first photos of the plan; all when count is None."""
        return Plan(self.fid[:count], self.tile[:count], self.run_fid[:count])

    def for_start(self, number: int) -> Plan:
        """The same photos, begun at another place at every start of a run (1, 2, …).

        A photo with which the whole run dies, or its machine, then never stands in the way of the same others.
        """
        begin = int(len(self) * ((number - 1) * GOLDEN_RATIO % 1.0))
        return Plan(*(np.roll(column, -begin) for column in (self.fid, self.tile, self.run_fid)))


def plan_due(catalog: Catalog, scene: Scene, config_key: str) -> Plan:
    """The photos whose newest result under this configuration does not rest on their present input."""
    parts: list[tuple[Integers, Integers, Integers]] = []
    after = 0
    while len(sites := catalog.image_positions(config_key, after)):
        after = int(sites.fid[-1])
        enu_m = scene.reported_enu_m(sites.lon_deg, sites.lat_deg)
        due = _due(sites, scene, enu_m)
        parts.append((sites.fid[due], _cell_numbers(enu_m[due]), sites.run_fid[due]))
    if not parts:
        return Plan(*(np.zeros(0, np.int64) for _ in range(3)))
    fid, cell, run_fid = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((fid, cell))
    tile = np.where(cell == NOWHERE, NOWHERE, cell // CELLS_PER_TILE**2)
    return Plan(fid[order], tile[order], run_fid[order])


def _due(sites: ImagePositions, scene: Scene, enu_m: Float) -> NDArray[np.intp]:
    candidates = scene.retriever.candidate_rows(enu_m, sites.heading_deg)
    return np.array(
        [
            number
            for number, (content, present) in enumerate(zip(sites.content_hash, sites.input_hash, strict=True))
            if present is None or scene.input_hash(content, candidates[number], enu_m[number]) != present
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
