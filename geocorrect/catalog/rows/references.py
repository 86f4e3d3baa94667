"""Reading and writing what results refer to: frame, alignments, anchors, images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from shapely import Point
from sqlalchemy import Column, Connection, Table, bindparam, case, delete, func, insert, select, union_all, update

from geocorrect.catalog import schema
from geocorrect.catalog.bulk import among, insert_rows, reserve_fids
from geocorrect.catalog.rows.codec import (
    Row,
    alignment_from,
    alignment_row,
    anchor_content_hash,
    anchor_from,
    anchor_rows,
    image_from,
    image_row,
    noise_json,
    number,
)
from geocorrect.catalog.rows.column_types import instant_text, json_text
from geocorrect.catalog.rows.result_columns import ImageFacts
from geocorrect.errors import DatabaseError
from geocorrect.geometry.frame import Frame
from geocorrect.records import AlignmentRecord, Anchor, AnchorIndex, AnchorNoise, Image


def read_frame(connection: Connection) -> Frame | None:
    """The scene's frame, None before it is set."""
    row = connection.execute(select(schema.frame)).mappings().first()
    return None if row is None else Frame(row["name"], row["lon_deg"], row["lat_deg"], row["height_m"])


def write_frame(connection: Connection, frame: Frame) -> None:
    """Set the scene's frame; DatabaseError when another one is in use."""
    present = read_frame(connection)
    if present == frame:
        return
    if present is not None:
        used = connection.execute(select(func.count()).select_from(schema.anchor)).scalar_one()
        if used:
            raise DatabaseError(
                f"this catalog is computed in frame {present.name!r} ({present.lon_deg}, {present.lat_deg}) with "
                f"{used} anchors; frame {frame.name!r} needs a catalog of its own"
            )
        connection.execute(delete(schema.frame))
    connection.execute(insert(schema.frame).values(**asdict(frame), fid=1, geom=Point(frame.lon_deg, frame.lat_deg)))


def require_frame(connection: Connection) -> Frame:
    """The scene's frame; DatabaseError when none is set."""
    frame = read_frame(connection)
    if frame is None:
        raise DatabaseError("the catalog has no frame yet; add anchors first (`geocorrect anchors add`)")
    return frame


def write_alignment(connection: Connection, alignment: AlignmentRecord) -> str:
    """Store a version of a georeference; storing the same id again changes nothing."""
    table = schema.alignment
    known = connection.execute(select(table.c.fid).where(table.c.alignment_id == alignment.id)).scalar()
    if known is None:
        connection.execute(insert(table).values(**alignment_row(alignment)))
    return alignment.id


def read_alignments(connection: Connection) -> list[AlignmentRecord]:
    """All versions, oldest first."""
    rows = connection.execute(select(schema.alignment).order_by(schema.alignment.c.fid)).mappings()
    return [alignment_from(dict(row)) for row in rows]


def write_anchors(connection: Connection, anchors: Iterable[Anchor]) -> int:
    """Insert or replace anchors; returns how many are new or different."""
    frame = require_frame(connection)
    rows = anchor_rows(list({anchor.id: anchor for anchor in anchors}.values()), frame)
    known = {
        row["anchor_id"]: row for row in _rows(connection, schema.anchor, "anchor_id", [r["anchor_id"] for r in rows])
    }
    rows = [_with_known_noise(row, known.get(row["anchor_id"])) for row in rows]
    _require_known(connection, schema.alignment.c.alignment_id, {row["alignment_id"] for row in rows}, "alignment")
    return len(_upsert(connection, schema.anchor, "anchor_id", rows))


def _with_known_noise(row: Row, known: Mapping[str, Any] | None) -> Row:
    """The row with what was found of the same anchor, if it is the same in all else that a result takes from it."""
    if known is None or row["noise"] is not None or known["noise"] is None:
        return row
    checked = row | {"noise": known["noise"]}
    checked["content_hash"] = anchor_content_hash(checked)
    return checked if checked["content_hash"] == known["content_hash"] else row


def write_anchor_noise(connection: Connection, noise: Mapping[str, AnchorNoise]) -> int:
    """Store what was found of anchors, and nothing of all others; returns how many changed."""
    changed = []
    for known in _rows(connection, schema.anchor, "anchor_id", None):
        row = dict(known) | {"noise": noise_json(noise.get(known["anchor_id"]))}
        if row["noise"] != known["noise"]:
            changed.append({"key": row["fid"], "found": row["noise"], "content": anchor_content_hash(row)})
    if changed:
        of_key = update(schema.anchor).where(schema.anchor.c.fid == bindparam("key"))
        connection.execute(of_key.values(noise=bindparam("found"), content_hash=bindparam("content")), changed)
    return len(changed)


def read_anchors(connection: Connection, ids: Sequence[str] | None) -> dict[str, Anchor]:
    """Anchors by id; all of them when ids is None."""
    return {row["anchor_id"]: anchor_from(row) for row in _rows(connection, schema.anchor, "anchor_id", ids)}


def read_anchor_index(connection: Connection) -> AnchorIndex:
    """Positions of all anchors, sorted by id."""
    c = schema.anchor.c
    columns = (c.anchor_id, c.enu_x_m, c.enu_y_m, c.enu_z_m, c.heading_deg, c.alignment_id, c.content_hash)
    rows = connection.execute(select(*columns).order_by(c.anchor_id)).all()
    enu = np.array([[r.enu_x_m, r.enu_y_m, r.enu_z_m] for r in rows], dtype=np.float64).reshape(-1, 3)
    heading = np.array([number(r.heading_deg) for r in rows], dtype=np.float64)
    for array in (enu, heading):
        array.setflags(write=False)
    names = (tuple(r.anchor_id for r in rows), enu, heading, tuple(r.alignment_id for r in rows))
    return AnchorIndex(*names, tuple(r.content_hash or "" for r in rows))


def write_images(connection: Connection, images: Iterable[Image], now: datetime) -> int:
    """Insert or replace images, keeping earlier values of their provider; returns how many are new or different."""
    rows = list({image.id: image_row(image) for image in images}.values())
    replaced = _upsert(connection, schema.image, "image_id", rows)
    history = []
    for new, old in replaced:
        if old is not None and any(new[name] != old[name] for name in schema.REPORTED_NAMES):
            said = {name: old[name] for name in schema.REPORTED_NAMES}
            history.append({"image_id": old["image_id"], "replaced_at": now, **said})
    if history:
        connection.execute(insert(schema.image_history), history)
    return len(replaced)


def read_images(connection: Connection, ids: Sequence[str] | None) -> dict[str, Image]:
    """Images by id; all of them when ids is None."""
    return {row["image_id"]: image_from(row) for row in _rows(connection, schema.image, "image_id", ids)}


def read_image_facts(connection: Connection, ids: Sequence[str]) -> ImageFacts:
    """What storing results needs to know of their photos, in the order of ids; DatabaseError when one is missing."""
    c = schema.image.c
    columns = (c.image_id, c.content_hash, c.lon_deg, c.lat_deg, c.heading_deg, c.horizontal_fov_deg)
    rows = connection.execute(select(*columns).where(among(connection.dialect.name, c.image_id, ids))).all()
    found = {row[0]: row for row in rows}
    missing = sorted(set(ids) - found.keys())
    if missing:
        raise DatabaseError(f"{len(missing)} images are not in the catalog, first {missing[0]!r}; harvest them first")
    _, hashes, *numbers = zip(*(found[name] for name in ids), strict=True)
    return ImageFacts(hashes, *(np.array(values, dtype=np.float64) for values in numbers))


def _rows(connection: Connection, table: Table, key: str, ids: Sequence[str] | None) -> Iterator[Any]:
    column = table.c[key]
    query = select(table).order_by(column)
    if ids is None:
        yield from connection.execute(query).mappings()
    elif ids:
        yield from connection.execute(query.where(among(connection.dialect.name, column, sorted(set(ids))))).mappings()


def read_extent(connection: Connection) -> tuple[float, float, float, float] | None:
    """(west, south, east, north) in degrees around all photos and anchors; None when there are none. East is beyond 180
    where the smaller box crosses the antimeridian.
    """
    places = union_all(
        *(select(table.c.lon_deg, table.c.lat_deg) for table in (schema.image, schema.anchor))
    ).subquery()
    lon, lat = places.c.lon_deg, places.c.lat_deg
    eastward = lon + case((lon < 0.0, 360.0), else_=0.0)
    limits = (func.min(lon), func.max(lon), func.min(eastward), func.max(eastward), func.min(lat), func.max(lat))
    west, east, west_of_180, east_of_180, south, north = connection.execute(select(*limits)).one()
    if west is None:
        return None
    if east_of_180 - west_of_180 < east - west:
        west, east = west_of_180, east_of_180
    return west, south, east, north


def _upsert(connection: Connection, table: Table, key: str, rows: Sequence[Row]) -> list[tuple[Row, Row | None]]:
    """Insert what is new, update what differs; (new row, old row) of everything that was written."""
    present = {row[key]: dict(row) for row in _rows(connection, table, key, [row[key] for row in rows])}
    fresh = [row for row in rows if row[key] not in present]
    changed = [row for row in rows if row[key] in present and _fingerprint(row) != _fingerprint(present[row[key]])]
    if fresh:
        fids = reserve_fids(connection, table, len(fresh))
        insert_rows(connection, table, [{"fid": fid} | row for fid, row in zip(fids, fresh, strict=True)])
    for row in changed:
        connection.execute(update(table).where(table.c[key] == row[key]).values(**row))
    return [(row, None) for row in fresh] + [(row, present[row[key]]) for row in changed]


def _fingerprint(row: Row) -> str:
    plain = {k: instant_text(v) if isinstance(v, datetime) else v for k, v in row.items() if k not in ("fid", "geom")}
    return json_text(plain)


def _require_known(connection: Connection, column: Column[str], ids: set[str], what: str) -> None:
    missing = ids - set(connection.execute(select(column)).scalars())
    if missing:
        raise DatabaseError(f"{what} {min(missing)!r} is not in the catalog; add it before what refers to it")
