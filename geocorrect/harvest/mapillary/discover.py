"""Area → sequences: coverage tiles first, search boxes where a tile cannot be had, holes where nothing answers.

A search box returns a *sample* without saying so; it is good enough to learn which sequences pass, never for more
(docs/mapillary_api.md, "Search boxes").
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import mercantile

from geocorrect.harvest.area import Area, Box
from geocorrect.harvest.journal import Journal
from geocorrect.harvest.mapillary.client import MapillaryClient
from geocorrect.harvest.mapillary.responses import ErrorKind, RequestError
from geocorrect.harvest.mapillary.tiles import LAYERS, Coverage, read_tile
from geocorrect.harvest.report import Hole

SEARCH_LIMIT = 2000
_ASK_FOR_LESS = frozenset({ErrorKind.TOO_MUCH_DATA, ErrorKind.QUERY_TIMEOUT})
_log = logging.getLogger(__name__)


class Discovery:
    """One pass over the tiles of an area; `holes` lists what nobody answered for."""

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
            for cell in self._area.cells_in(tile, self._client.options.cell_deg):
                coverage.add(self._search(cell, 0))
        if len(self.holes) == n_holes:
            self._journal.tile_read(name, coverage)
        return coverage

    def _layer(self, layer: str, tile: mercantile.Tile) -> Coverage:
        """One layer of a tile; a corrupt answer is asked for once more."""
        data = self._client.tile(layer, tile.z, tile.x, tile.y)
        try:
            return read_tile(data, tile, self._area)
        except RequestError:
            return read_tile(self._client.tile(layer, tile.z, tile.x, tile.y), tile, self._area)

    def _note_tile_failure(self, name: str, failure: RequestError) -> None:
        """A spent tile quota, or tiles closed to this token, concern every tile; other failures only this one."""
        if failure.kind in (ErrorKind.RATE_LIMITED, ErrorKind.FORBIDDEN) and self._tiles_work.is_set():
            self._tiles_work.clear()
            _log.warning("no more coverage tiles in this run (%s); searching in boxes instead", failure)
        elif self._tiles_work.is_set():
            _log.warning("tile %s: %s; searching in boxes instead", name, failure)

    def _search(self, cell: Box, depth: int) -> Coverage:
        """What a search box shows; quartered when it holds too much."""
        coverage, fields = Coverage(), ("id", "sequence")
        missing: str | None = None
        try:
            # An empty answer is asked for once more before it is believed.
            found = self._client.images_in_box(cell, fields, SEARCH_LIMIT)
            found = found or self._client.images_in_box(cell, fields, SEARCH_LIMIT)
        except RequestError as failure:
            missing, divisible = str(failure), failure.kind in _ASK_FOR_LESS
        else:
            coverage.n_points = len(found)
            for entry in found:
                coverage.note(entry.get("sequence"), entry.get("id"))
            if len(found) >= SEARCH_LIMIT:
                missing, divisible = "full at the smallest size", True
        if missing is None:
            return coverage
        if divisible and depth < self._client.options.max_cell_depth:
            for quarter in _quarters(cell):
                coverage.add(self._search(quarter, depth + 1))
        else:
            self.holes.append(Hole("cell", ",".join(f"{value:.6f}" for value in cell), missing))
        return coverage


def _quarters(cell: Box) -> list[Box]:
    west, south, east, north = cell
    lon, lat = (west + east) / 2, (south + north) / 2
    return [(west, south, lon, lat), (lon, south, east, lat), (west, lat, lon, north), (lon, lat, east, north)]
