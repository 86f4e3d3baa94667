"""Area → sequences: coverage tiles first, search boxes where a tile cannot be had, holes where nothing answers.

A search box returns a *sample* without saying so; it is good enough to learn which sequences pass, never for more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import mercantile

from geocorrect.harvest.area import Area, Box
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.client import Json, MapillaryClient
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError
from geocorrect.harvest.mapillary.tiles import IMAGE_ID, LAYERS, SEQUENCE_KEY, Coverage, read_tile
from geocorrect.harvest.report import Hole

SEARCH_LIMIT = 2000
_ASK_FOR_LESS = frozenset({ErrorKind.TOO_MUCH_DATA, ErrorKind.QUERY_TIMEOUT})
_log = logging.getLogger(__name__)


class Discovery:
    """One pass over the tiles of an area; `holes` lists what nobody answered."""

    def __init__(self, client: MapillaryClient, area: Area, journal: Journal) -> None:
        self.holes: list[Hole] = []
        self._client = client
        self._area = area.widened(client.options.margin_m)
        self._journal = journal
        self._tiles_work = threading.Event()
        self._tiles_work.set()

    def tiles(self) -> list[mercantile.Tile]:
        """The tiles to read, the area's margin included."""
        return self._area.tiles(self._client.options.max_tiles)

    def run(self) -> Coverage:
        """All that the tiles, or boxes in their place, show of the area; tiles read before are not asked again."""
        total = Coverage()
        with ThreadPoolExecutor(self._client.options.graph_workers, "tiles") as pool:
            try:
                for coverage in pool.map(self._one_tile, self.tiles()):
                    total.add(coverage)
            except BaseException:
                self._client.limiter.stop("the harvest was interrupted")
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return total

    def _one_tile(self, tile: mercantile.Tile) -> Coverage:
        name = f"{tile.z}/{tile.x}/{tile.y}"
        if name in self._journal.coverage:
            return self._journal.coverage[name]
        coverage, n_holes = Coverage(), len(self.holes)
        try:
            if not self._tiles_work.is_set():
                raise RequestError(ErrorKind.RATE_LIMITED, "tiles were given up for this run")
            layers = [self._layer(layer, tile) for layer in LAYERS]
            for layer in layers:
                coverage.add(layer)
            # Nearly every image lies in both layers: the larger one is the better count.
            coverage.n_points = max(layer.n_points for layer in layers)
        except RequestError as failure:
            self._note_tile_failure(name, failure)
            coverage.add(self._search_instead(tile))
        if len(self.holes) == n_holes:
            self._journal.tile_read(name, coverage)
        return coverage

    def _layer(self, layer: str, tile: mercantile.Tile) -> Coverage:
        data = self._client.tile(layer, tile.z, tile.x, tile.y)
        try:
            return read_tile(data, tile, self._area)
        except RequestError:
            return read_tile(self._client.tile(layer, tile.z, tile.x, tile.y), tile, self._area)

    def _note_tile_failure(self, name: str, failure: RequestError) -> None:
        """A spent tile quota, or tiles closed to this token, concern every tile; other trouble only this one."""
        if failure.kind in (ErrorKind.RATE_LIMITED, ErrorKind.FORBIDDEN) and self._tiles_work.is_set():
            self._tiles_work.clear()
            _log.warning("no more coverage tiles in this run (%s); searching in boxes instead", failure)
        elif self._tiles_work.is_set():
            _log.warning("tile %s: %s; searching in boxes instead", name, failure)

    def _search_instead(self, tile: mercantile.Tile) -> Coverage:
        coverage = Coverage()
        for cell in self._area.cells_in(tile, self._client.options.cell_deg):
            coverage.add(self._search(cell, 0))
        return coverage

    def _search(self, cell: Box, depth: int) -> Coverage:
        """What a search box shows; quartered when it holds too much."""
        try:
            found = self._ask(cell)
        except RequestError as failure:
            if failure.kind in _ASK_FOR_LESS and depth < self._client.options.max_cell_depth:
                return self._quarters(cell, depth)
            self.holes.append(Hole("cell", ",".join(f"{value:.6f}" for value in cell), str(failure)))
            return Coverage()
        coverage = _from_entries(found)
        if len(found) >= SEARCH_LIMIT:
            if depth < self._client.options.max_cell_depth:
                coverage.add(self._quarters(cell, depth))
            else:
                self.holes.append(Hole("cell", ",".join(f"{value:.6f}" for value in cell), "full at the smallest size"))
        return coverage

    def _ask(self, cell: Box) -> list[Json]:
        """A box's answer; an empty one is asked for once more before it is believed."""
        fields = ("id", "sequence")
        found = self._client.images_in_box(cell, fields, SEARCH_LIMIT)
        return found or self._client.images_in_box(cell, fields, SEARCH_LIMIT)

    def _quarters(self, cell: Box, depth: int) -> Coverage:
        west, south, east, north = cell
        lon, lat = (west + east) / 2, (south + north) / 2
        coverage = Coverage()
        for quarter in (
            (west, south, lon, lat),
            (lon, south, east, lat),
            (west, lat, lon, north),
            (lon, lat, east, north),
        ):
            coverage.add(self._search(quarter, depth + 1))
        return coverage


def _from_entries(entries: Sequence[Json]) -> Coverage:
    coverage = Coverage(n_points=len(entries))
    for entry in entries:
        sequence, image_id = str(entry.get("sequence") or ""), str(entry.get("id", ""))
        if SEQUENCE_KEY.fullmatch(sequence):
            coverage.sequences.add(sequence)
        elif IMAGE_ID.fullmatch(image_id):
            coverage.loose_ids.add(image_id)
    return coverage
