"""Map tiles of the catalog: PostGIS makes them itself (ST_AsMVT); of a GeoPackage, places and values to be encoded.

A tile costs what it shows. Where there is more than PHOTOS_PER_TILE, one of so many is shown (`thinning`), found by the
index of that share; `stands_for` says how many each stands for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mercantile
import numpy as np
from sqlalchemy import Connection

from geocorrect.catalog.connect import with_retries
from geocorrect.catalog.postgis.kept_connections import KeptConnections
from geocorrect.catalog.served.filter import MapFilter, statement
from geocorrect.catalog.served.thinning import SHARES, is_one_of
from geocorrect.catalog.store import Catalog
from geocorrect.errors import UsageError
from geocorrect.geometry.web_mercator import EXTENT, world_from_wgs84

PHOTOS_PER_TILE = 1024
FILTERED_PER_TILE = 4096
"""How many are looked at for a filter, of which fewer are shown."""
WHOLE_FROM = 17
"""Zoom from which a server is asked for the whole tile first: a city has seldom too much for one."""
MAX_ZOOM = 22
_ENOUGH = 32
"""From so many on, a count of a share says the whole to a fifth."""
_COUNTED = {0: (4096, 256, 16, 1), 11: (256, 16, 1), 14: (16, 1), 16: (1,)}
"""By the least zoom, shares that are counted on a server until there is enough: each costs little when the one before
found little, and the first because no city has so many photos in so small a tile."""
Places = Iterator[tuple[int, Sequence[tuple[int, int]], Sequence[Any]]]
"""Integer key, corners in 0…EXTENT (y down), values by property."""
Encoder = Callable[[str, Sequence[str], bool, Places], bytes]
"""(layer, properties, whether lines, places) → tile."""


@dataclass(frozen=True)
class TileAddress:
    """Zoom, column and row of a tile in Web Mercator; UsageError when there is no such tile."""

    z: int
    x: int
    y: int

    def __post_init__(self) -> None:
        if not (0 <= self.z <= MAX_ZOOM and 0 <= self.x < 1 << self.z and 0 <= self.y < 1 << self.z):
            raise UsageError(f"there is no tile {self.z}/{self.x}/{self.y}; zooms are 0 to {MAX_ZOOM}")

    def box(self, margin_deg: float = 0.0) -> dict[str, float]:
        """West, south, east, north in degrees, wider by a margin."""
        west, south, east, north = mercantile.bounds(self.x, self.y, self.z)
        return {
            "west": west - margin_deg, "south": south - margin_deg,
            "east": east + margin_deg, "north": north + margin_deg,
        }  # fmt: skip


@dataclass(frozen=True)
class TileLayer:
    """What a layer's tiles hold."""

    table: str
    """Whose places decide which tile a feature is in, and its name in `select`."""
    alias: str
    properties: tuple[str, ...]
    select: str
    """fid, the properties, lon, lat and for lines to_lon, to_lat; {results}, {inside} and {filters} are filled in."""
    is_line: bool = False
    margin_deg: float = 0.0
    """How far beyond the tile a feature's place may be."""


_RESULT = "c.fid, c.image_id, c.status, cast(c.expected_error_m as real) as expected_error_m"
LAYERS: Mapping[str, TileLayer] = {
    "corrected": TileLayer(
        "correction",
        "c",
        ("image_id", "status", "expected_error_m", "heading_deg"),
        f"select {_RESULT}, cast(round(c.heading_deg) as integer) as heading_deg, c.lon_deg as lon, c.lat_deg as lat "
        "from {results} c{photo} where {inside} and c.status <> 'rejected'{filters}",
    ),
    "rejected": TileLayer(
        "image",
        "i",
        ("image_id", "reason"),
        "select c.fid, c.image_id, c.reason, i.lon_deg as lon, i.lat_deg as lat from image i "
        "join {results} c on c.image_id = i.image_id "
        "where {inside} and c.status = 'rejected'{filters}",
    ),
    "displacement": TileLayer(
        "correction",
        "c",
        ("image_id", "status", "expected_error_m", "displacement_m"),
        f"select {_RESULT}, cast(c.displacement_m as real) as displacement_m, "
        "i.lon_deg as lon, i.lat_deg as lat, c.lon_deg as to_lon, c.lat_deg as to_lat "
        "from {results} c join image i on i.image_id = c.image_id where {inside} "
        "and c.status <> 'rejected' and abs(c.lon_deg - i.lon_deg) < 180{filters}",
        is_line=True,
        margin_deg=0.0005,
    ),
    "anchors": TileLayer(
        "anchor",
        "a",
        ("anchor_id", "dataset", "heading_deg"),
        "select a.fid, a.anchor_id, a.dataset, cast(round(a.heading_deg) as integer) as heading_deg, "
        "a.lon_deg as lon, a.lat_deg as lat from anchor a where {inside}",
    ),
}


class TileReader:
    """Tiles of LAYERS of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._engine = catalog.engine
        self._kept = KeptConnections(catalog.engine) if catalog.engine.dialect.name == "postgresql" else None

    def read(self, layer: str, tile: TileAddress, wanted: MapFilter, encode: Encoder) -> bytes:
        """A tile, empty when nothing is there.

        Args:
            layer: its name.
            tile: where.
            wanted: which results; anchors have none.
            encode: for the tiles of a GeoPackage.
        """
        budget = FILTERED_PER_TILE if wanted.is_selective and layer != "anchors" else PHOTOS_PER_TILE
        if self._kept is not None and tile.z >= WHOLE_FROM:
            whole = self._whole(self._kept, layer, tile, wanted, budget)
            if whole is not None:
                return whole
        return with_retries(self._engine, lambda connection: _sample(connection, layer, tile, wanted, budget, encode))

    def _whole(
        self, kept: KeptConnections, layer: str, tile: TileAddress, wanted: MapFilter, budget: int
    ) -> bytes | None:
        """All of a small tile by one statement that stays prepared, None where there is more than the budget.

        Such a tile takes the server 3 ms, as much as a transaction and two more statements around it would.
        """
        parameters = wanted.parameters() | tile.box(LAYERS[layer].margin_deg) | vars(tile)
        sql = _whole_sql(layer, MapFilter(**dict.fromkeys(wanted.parameters(), True)), budget)  # type: ignore[arg-type]
        row = kept.row(sql, parameters)
        if row is not None:
            content = row[0]
        else:
            content = with_retries(self._engine, lambda c: c.exec_driver_sql(sql, parameters).scalar_one())
        return None if content is None else bytes(content)


def _sample(
    connection: Connection, layer: str, tile: TileAddress, wanted: MapFilter, budget: int, encode: Encoder
) -> bytes:
    """A tile of the share of rows that fits into it."""
    share = share_shown(connection, LAYERS[layer].table, tile, budget)
    sql, parameters = tile_query(connection.dialect.name, layer, tile, wanted, share, budget)
    found = connection.execute(statement(sql, parameters))
    if connection.dialect.name == "postgresql":
        return bytes(found.scalar_one())
    rows = found.all()
    return encode(layer, properties_of(layer), LAYERS[layer].is_line, _placed(rows, tile)) if rows else b""


@lru_cache(256)
def _whole_sql(layer: str, given: MapFilter, budget: int) -> str:
    """The statement of a whole tile, with the driver's parameters; of the filter only counts what is given."""
    sql, _ = tile_query("postgresql", layer, TileAddress(0, 0, 0), given, 1, budget, all_or_nothing=True)
    return re.sub(r":(\w+)", r"%(\1)s", sql.replace("%", "%%"))


def properties_of(layer: str) -> tuple[str, ...]:
    """Names of the values of a layer's features."""
    return (*LAYERS[layer].properties, "stands_for")


def share_shown(connection: Connection, table: str, tile: TileAddress, budget: int) -> int:
    """One of how many rows of a table is shown in a tile: the least for which about `budget` are left."""
    n_rows, dialect = 0, connection.dialect.name
    if dialect == "postgresql" and tile.z < 14:
        # What a share finds is far less than the planner thinks, which would start other processes to read it.
        connection.exec_driver_sql("set local max_parallel_workers_per_gather = 0")
    counted_shares = next(shares for zoom, shares in reversed(_COUNTED.items()) if tile.z >= zoom)
    for share in counted_shares if dialect == "postgresql" else (1,):
        inside = _inside(dialect, table, share)
        counted = int(connection.execute(statement(f"select count(*) from {inside}", tile.box())).scalar_one())
        n_rows = counted * share
        if counted >= _ENOUGH:
            break
    return next((share for share in SHARES if n_rows <= budget * share), SHARES[-1])


def tile_query(
    dialect: str,
    layer: str,
    tile: TileAddress,
    wanted: MapFilter,
    share: int,
    budget: int,
    *,
    all_or_nothing: bool = False,
) -> tuple[str, dict[str, Any]]:
    """The SQL of a tile and its parameters: one value, the tile, on PostgreSQL; rows of a GeoPackage.

    all_or_nothing: NULL in place of a tile of more than `budget` features.
    """
    kind = LAYERS[layer]
    steps, inside = tile_sample(dialect, kind.table, kind.alias, share, budget)
    conditions = [] if layer == "anchors" else wanted.conditions()
    select = kind.select.format(
        results=wanted.results(),
        inside=inside,
        photo=" join image i on i.image_id = c.image_id" if any("i." in part for part in conditions) else "",
        filters="".join(f" and {condition}" for condition in conditions),
    )
    parameters = wanted.parameters() | tile.box(kind.margin_deg)
    if dialect == "sqlite":
        return f"select *, {share} as stands_for from ({select})", parameters
    place = "st_makepoint(lon, lat)"
    shape = f"st_makeline({place}, st_makepoint(to_lon, to_lat))" if kind.is_line else place
    margin = EXTENT // 16 if kind.is_line else 0
    found = f"found as materialized ({select} limit {budget + 1})" if all_or_nothing else f"found as ({select})"
    made = f"st_asmvt(tile.*, '{layer}', {EXTENT}, 'geom', 'fid')"
    if all_or_nothing:
        made = f"case when (select count(*) from found) <= {budget} then (select {made} from tile) end"
    sql = (
        f"with {', '.join([*steps, found])}, tile as ("
        f"select fid, {', '.join(kind.properties)}, {share} as stands_for, st_asmvtgeom(st_transform("
        f"st_setsrid({shape}, 4326), 3857), st_tileenvelope(:z, :x, :y), {EXTENT}, {margin}, {kind.is_line}) as geom "
        f"from found) select {made}{'' if all_or_nothing else ' from tile'}"
    )
    return sql, parameters | vars(tile)


def tile_sample(dialect: str, table: str, alias: str, share: int, budget: int) -> tuple[list[str], str]:
    """The rows that a tile shows of those in the box :west … :north: steps for WITH, and the condition on them.

    Args:
        dialect: of the back-end.
        table: whose places decide.
        alias: its name in the query.
        share: one of how many is shown.
        budget: for about how many rows.
    """
    within = _inside(dialect, table, share)
    if dialect == "sqlite":
        return [], f"{alias}.fid in (select id from {within} limit {2 * budget})"
    if share == 1:
        return [], f"{alias}.geom && {_BOX}"
    # In two steps: the planner knows nothing of the share, so with the limit it would take reading the table until
    # there is enough for quick, and without it, looking up the rest one by one for slow.
    steps = [
        f"inside as materialized (select fid from {within})",
        f"sample as materialized (select fid from inside limit {2 * budget})",
    ]
    return steps, f"{alias}.fid in (select fid from sample)"


_BOX = "st_makeenvelope(:west, :south, :east, :north, 4326)"


def _inside(dialect: str, table: str, share: int) -> str:
    """What stands after FROM: the rows of a share of a table in the box :west … :north, by the spatial index."""
    if dialect == "postgresql":
        return f"{table} where geom && {_BOX} and {is_one_of(share)}"
    return (
        f"rtree_{table}_geom where maxx >= :west and minx <= :east and maxy >= :south and miny <= :north "
        f"and {is_one_of(share, 'id')}"
    )


def _placed(rows: Sequence[Any], tile: TileAddress) -> Places:
    """Rows (fid, properties, lon, lat, more lon, lat, share) as places in the tile."""
    n_values = next(k for k, name in enumerate(rows[0]._fields) if name == "lon")
    numbers = np.array([row[n_values:-1] for row in rows], dtype=np.float64)
    corners = in_tile(numbers[:, 0::2], numbers[:, 1::2], tile).tolist()
    for row, path in zip(rows, corners, strict=True):
        yield row[0], path, (*row[1:n_values], row[-1])


def in_tile(lon_deg: Any, lat_deg: Any, tile: TileAddress) -> Any:
    """(…, 2) whole units of a tile (column, row; y down), 0…EXTENT inside it."""
    world = world_from_wgs84(lon_deg, lat_deg) * (1 << tile.z)
    return np.round((world - [tile.x, tile.y]) * EXTENT).astype(np.int64)
