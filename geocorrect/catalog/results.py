"""Reading results and runs, and retracting results; `rows.write_results` stores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import (
    Connection,
    FromClause,
    Select,
    Text,
    and_,
    cast,
    column,
    exists,
    func,
    insert,
    or_,
    select,
    table,
    union_all,
)
from sqlalchemy import column as sql_column

from geocorrect.catalog import schema
from geocorrect.catalog.bulk import among
from geocorrect.catalog.rows.codec import Row
from geocorrect.catalog.rows.geometry_type import WGS84_SRID
from geocorrect.catalog.rows.result_rows import result_from
from geocorrect.catalog.run import NUMBERS, Box, ResultFilter, StoredResult, StoredRun
from geocorrect.errors import DatabaseError, Reason, Status
from geocorrect.records import NAN, Attribution, Result

# The view of this name has the columns of `correction`, and run_key.
_ACTIVE = table(
    "current_result", *[sql_column(c.name, c.type) for c in schema.correction.c], sql_column("run_key", schema.ID)
)
_EVERYTHING = (
    select(schema.correction, schema.run.c.run_key)
    .join(schema.run, schema.run.c.fid == schema.correction.c.run_id)
    .subquery("every_result")
)
ACTIVE_RUN = table("run_in_force", sql_column("fid"), sql_column("run_key"))
_NOT_WITHDRAWN = (
    select(schema.correction, ACTIVE_RUN.c.run_key)
    .join(ACTIVE_RUN, ACTIVE_RUN.c.fid == schema.correction.c.run_id)
    .where(~exists(select(1).where(schema.retraction.c.correction_id == schema.correction.c.fid)))
    .subquery("not_withdrawn")
)


def run_fid(connection: Connection, run_key: str) -> int:
    """The integer key of a run; DatabaseError when it was never begun."""
    fid = connection.execute(select(schema.run.c.fid).where(schema.run.c.run_key == run_key)).scalar()
    if fid is None:
        raise DatabaseError(f"run {run_key!r} is not in the catalog; `geocorrect status` lists the runs")
    return int(fid)


def require_active_run(connection: Connection, run_key: str) -> None:
    """DatabaseError, with the remedy, when a run or one that it depends on was rolled back."""
    fid, run = run_fid(connection, run_key), schema.run.c
    if connection.execute(select(ACTIVE_RUN.c.fid).where(ACTIVE_RUN.c.fid == fid)).first():
        return
    instant, because = connection.execute(
        select(run.rolled_back_at, run.rolled_back_because).where(run.fid == fid)
    ).one()
    if instant is None:
        raise DatabaseError(
            f"run {run_key[:12]} depends on a run that was rolled back; `geocorrect db runs` shows which"
        )
    raise DatabaseError(
        f"run {run_key[:12]} was rolled back ({because or 'no reason given'}); bring it back with "
        f"`geocorrect db restore {run_key[:12]}`"
    )


def add_bases(connection: Connection, run_id: int, basis_ids: Iterable[int]) -> None:
    """Store which runs a run depends on, and with them those that they depend on: a roll back reaches it from any."""
    b = schema.run_basis.c
    given = set(basis_ids)
    wanted = given | set(connection.execute(select(b.basis_id).where(b.run_id.in_(given))).scalars())
    present = set(connection.execute(select(b.basis_id).where(b.run_id == run_id)).scalars())
    rows = [{"run_id": run_id, "basis_id": fid} for fid in sorted(wanted - present - {run_id})]
    if rows:
        connection.execute(insert(schema.run_basis), rows)


def read_runs(connection: Connection) -> list[StoredRun]:
    """All runs, oldest first."""
    query = select(*_run_columns()).order_by(schema.run.c.fid)
    return [StoredRun(**row) for row in connection.execute(query).mappings()]


def _run_columns() -> list[Any]:
    """The attributes of StoredRun, as columns of `run`."""
    run, basis, b = schema.run, schema.run.alias("basis"), schema.run_basis.c
    withdrawn = (
        select(func.min(basis.c.run_key))
        .join_from(schema.run_basis, basis, basis.c.fid == b.basis_id)
        .where(b.run_id == run.c.fid, basis.c.rolled_back_at.is_not(None))
        .scalar_subquery()
        .correlate(run)
        .label("depends_on_rolled_back")
    )
    return [*[run.c[name] for name in StoredRun.__dataclass_fields__ if name in run.c], withdrawn]


def newest_run(connection: Connection, config_key: str) -> tuple[int, StoredRun] | None:
    """The newest generation of a configuration with its integer key, None when it never ran."""
    run = schema.run.c
    columns = _run_columns()
    query = select(run.fid, *columns).where(run.config_key == config_key).order_by(run.fid.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return (
        None if row is None else (row["fid"], StoredRun(**{name: row[name] for name in StoredRun.__dataclass_fields__}))
    )


def read_results(connection: Connection, wanted: ResultFilter) -> Iterator[StoredResult]:
    """Stored results, sorted by image id, then by age."""
    polygon = wanted.area if isinstance(wanted.area, BaseGeometry) else None
    if polygon is not None:
        shapely.prepare(polygon)
    if connection.dialect.name == "postgresql":
        # A cursor is planned for its first tenth by default, which costs minutes when everything is read.
        connection.exec_driver_sql("set local cursor_tuple_fraction = 1.0")
    streaming = connection.execution_options(stream_results=True, yield_per=2000)
    for row in streaming.execute(result_query(wanted, connection.dialect.name)).mappings():
        if polygon is None or shapely.intersects_xy(polygon, row["place_lon_deg"], row["place_lat_deg"]):
            yield _stored(dict(row))


def result_query(wanted: ResultFilter, dialect_name: str) -> Select[Any]:
    """The query of `read_results`; a polygon only contributes its bounding box."""
    c, i = source_of(wanted).c, schema.image.c
    place_lon = func.coalesce(c.lon_deg, i.lon_deg).label("place_lon_deg")
    place_lat = func.coalesce(c.lat_deg, i.lat_deg).label("place_lat_deg")
    image_columns = [
        i.sequence_id, i.captured_at, i.creator, i.page_url, i.licence, i.device_make, i.device_model,
        i.lon_deg.label("reported_lon_deg"), i.lat_deg.label("reported_lat_deg"),
        i.heading_deg.label("reported_heading_deg"), i.computed_lon_deg, i.computed_lat_deg, i.computed_heading_deg,
    ]  # fmt: skip
    # As text: parsed only when the complete record is needed.
    evidence = cast(c.evidence, Text).label("evidence")
    columns = [x for x in c if x.name not in ("geom", "evidence")]
    return filtered([*columns, evidence, *image_columns, place_lon, place_lat], wanted, dialect_name)


def source_of(wanted: ResultFilter) -> FromClause:
    """Where wanted results are: columns of `correction` and run_key."""
    if wanted.active:
        return _ACTIVE
    return _EVERYTHING if wanted.withdrawn else _NOT_WITHDRAWN


def filtered(columns: Sequence[Any], wanted: ResultFilter, dialect_name: str) -> Select[Any]:
    """Columns of `source_of` and `image` of the wanted results, sorted by image id, then by age."""
    source, i = source_of(wanted), schema.image.c
    c = source.c
    query = select(*columns).select_from(source.join(schema.image, i.image_id == c.image_id))
    conditions = [
        None if wanted.run_key is None else c.run_key == wanted.run_key,
        c.status.in_([s.value for s in wanted.status]) if wanted.status else None,
        None if wanted.since is None else c.recorded_at >= wanted.since,
        None if wanted.max_expected_error_m is None else c.expected_error_m <= wanted.max_expected_error_m,
        None if wanted.image_ids is None else c.image_id.in_(list(wanted.image_ids)),
        None if wanted.sequence_id is None else i.sequence_id == wanted.sequence_id,
        None if wanted.area is None else results_within(c, wanted.area, dialect_name),
    ]
    return query.where(*[x for x in conditions if x is not None]).order_by(c.image_id, c.fid)


def read_sequence_lags(connection: Connection) -> dict[str, float]:
    """Time lag by sequence: what the sequence as a whole found, else what the offsets of its photos show."""
    lags: dict[str, float] = {}
    for view in ("sequence_bias", "current_sequence_finding"):
        c = table(view, sql_column("sequence_id"), sql_column("lag_s")).c
        rows = connection.execute(select(c.sequence_id, c.lag_s).where(c.lag_s.is_not(None)))
        lags |= {str(name): float(lag_s) for name, lag_s in rows}
    return lags


def read_licences(connection: Connection, wanted: ResultFilter) -> list[str]:
    """The licences of the photos of results, sorted."""
    query = filtered([schema.image.c.licence], wanted, connection.dialect.name).order_by(None).distinct()
    return sorted(connection.execute(query).scalars())


_PLAIN = (
    "fid", "run_key", "recorded_at", "image_id", "detail", "sequence_id", "captured_at", "matcher", "depth",
    "depth_is_oracle", "scale_source", "n_anchors", "n_inliers", "input_hash",
)  # fmt: skip
_STATUSES = {status.value: status for status in Status}
_REASONS = {reason.value: reason for reason in Reason}


def _stored(row: Row) -> StoredResult:
    values: Row = {name: row[name] for name in _PLAIN}
    values |= {name: NAN if row[name] is None else row[name] for name in NUMBERS}
    return StoredResult(
        **values,
        status=_STATUSES[row["status"]],
        reason=_REASONS.get(row["reason"]),
        attribution=Attribution(row["creator"], row["page_url"], row["licence"]),
        make_result=partial(_complete, row),
    )


def _complete(row: Row) -> Result:
    evidence = row["evidence"]
    return result_from(row | {"evidence": orjson.loads(evidence) if isinstance(evidence, str) else evidence})


def count_by(connection: Connection, name: str, run_key: str | None) -> dict[str, int]:
    """Number of results by a column (status, reason): of one run, or of all active results."""
    c = schema.correction.c
    column = c[name]
    query = select(column, func.count()).where(column.is_not(None)).group_by(column).order_by(column)
    if run_key is None:
        query = query.join(_ACTIVE, _ACTIVE.c.fid == c.fid)
    else:
        query = query.join(schema.run, schema.run.c.fid == c.run_id).where(schema.run.c.run_key == run_key)
    return {str(value): int(count) for value, count in connection.execute(query)}


def retract_results(
    connection: Connection, image_ids: Sequence[str], because: str, now: datetime, run_key: str | None
) -> int:
    """Retract the active results of some images (or their results of one run); returns how many."""
    if not image_ids:
        return 0
    c = schema.correction.c
    query = select(c.fid).where(c.fid.not_in(select(schema.retraction.c.correction_id)))
    if run_key is None:
        query = query.join(_ACTIVE, _ACTIVE.c.fid == c.fid)
    else:
        query = query.where(c.run_id == run_fid(connection, run_key))
    fids = connection.execute(query.where(among(connection.dialect.name, c.image_id, sorted(set(image_ids))))).scalars()
    rows = [{"correction_id": fid, "retracted_at": now, "because": because} for fid in fids]
    if rows:
        connection.execute(insert(schema.retraction), rows)
    return len(rows)


def results_within(c: Any, area: Box | BaseGeometry, dialect_name: str) -> Any:
    """The condition that a result is in an area: corrections by corrected, rejections by reported position.

    Args:
        c: columns of `correction`, joined with `image`.
        area: (west, south, east, north) in degrees, west > east across the antimeridian; of a polygon the bounding box.
        dialect_name: "postgresql" or "sqlite".
    """
    west, south, east, north = area.bounds if isinstance(area, BaseGeometry) else area
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    boxes = [(low, south, high, north) for low, high in spans]
    i = schema.image.c
    lon, lat = func.coalesce(c.lon_deg, i.lon_deg), func.coalesce(c.lat_deg, i.lat_deg)
    # The index finds candidates: that of a GeoPackage has single precision.
    exact = or_(*[and_(lon.between(w, e), lat.between(s, n)) for w, s, e, n in boxes])
    near = [keys for box in boxes for keys in _keys_near(box, dialect_name)]
    return and_(c.fid.in_(union_all(*near)), exact)


def _keys_near(box: Box, dialect_name: str) -> tuple[Select[Any], Select[Any]]:
    """Keys of corrections and of rejections by the spatial index of either table."""
    corrected, photo = schema.correction.alias("corrected"), schema.image.alias("photo")
    rejected = schema.correction.alias("rejected_result")
    pairs = photo.join(rejected, rejected.c.image_id == photo.c.image_id)
    return (
        select(corrected.c.fid).where(_touches(corrected, schema.correction.name, box, dialect_name)),
        select(rejected.c.fid)
        .select_from(pairs)
        .where(rejected.c.geom.is_(None), _touches(photo, schema.image.name, box, dialect_name)),
    )


def _touches(layer: FromClause, table_name: str, box: Box, dialect_name: str) -> Any:
    west, south, east, north = box
    if dialect_name == "postgresql":
        return layer.c.geom.op("&&")(func.ST_MakeEnvelope(west, south, east, north, WGS84_SRID))
    names: list[Any] = [column(name) for name in ("id", "minx", "maxx", "miny", "maxy")]
    tree = table(f"rtree_{table_name}_geom", *names).c
    hits = select(tree.id).where(tree.minx <= east, tree.maxx >= west, tree.miny <= north, tree.maxy >= south)
    return layer.c.fid.in_(hits)
