"""Whether a catalog is complete and consistent: `geocorrect db check`."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, Select, Table, func, inspect, or_, select, text

from geocorrect.catalog import schema
from geocorrect.catalog.connect import translated_errors
from geocorrect.catalog.geopackage.database import check_file
from geocorrect.catalog.migrate import table_statements
from geocorrect.catalog.schema import POSTGRES_SCHEMA, TABLES
from geocorrect.catalog.views.views import missing_views
from geocorrect.io.capture_time import EARLIEST, latest

if TYPE_CHECKING:
    from geocorrect.catalog.store import Catalog

_RULES = {
    "images have no position but a geometry, or the reverse": (
        "select count(*) from image where (lon_deg is null) <> (geom is null)"
    ),
    "corrections have no covariance": (
        "select count(*) from correction where status <> 'rejected' and covariance is null"
    ),
    "results belong to a run that was never begun": (
        "select count(*) from correction where run_id not in (select fid from run)"
    ),
}

_TIMED = (schema.image, schema.anchor)
_REMEDY = "`geocorrect db check --fix` makes it unknown"


def faults_of(engine: Engine) -> list[str]:
    """Everything that is wrong with the catalog, one line each; empty when nothing is."""
    with translated_errors(engine), engine.connect() as connection:
        faults = _missing_parts(connection)
        if faults:
            return faults
        for what, query in _RULES.items():
            count = connection.execute(text(query)).scalar_one()
            faults += [f"{count} {what}"] if count else []
        for table in _TIMED:
            count = len(connection.execute(_implausible(table)).all())
            faults += [f"{count} {table.name}s have a capture time that no photo has; {_REMEDY}"] if count else []
        faults += check_file(connection) if engine.dialect.name == "sqlite" else _check_server(connection)
        return faults


def forget_implausible_times(catalog: Catalog) -> int:
    """Make capture times unknown that no photo has; returns how many photos and anchors changed."""
    with translated_errors(catalog.engine), catalog.engine.connect() as connection:
        images, anchors = ([str(row[0]) for row in connection.execute(_implausible(table))] for table in _TIMED)
    # Through the records, so that whatever is derived from the time follows.
    catalog.upsert_images([replace(image, captured_at=None) for image in catalog.images(images).values()])
    if anchors:
        catalog.upsert_anchors([replace(anchor, captured_at=None) for anchor in catalog.anchors(anchors).values()])
    return len(images) + len(anchors)


def _implausible(table: Table) -> Select[tuple[str]]:
    moment, key = table.c.captured_at, table.c[f"{table.name}_id"]
    return select(key).where(moment.is_not(None), or_(moment < EARLIEST, moment > latest()))


def server_time(engine: Engine) -> datetime | None:
    """The database server's clock, None for a GeoPackage, which has this machine's."""
    if engine.dialect.name == "sqlite":
        return None
    with translated_errors(engine), engine.connect() as connection:
        moment: datetime = connection.execute(text("select clock_timestamp()")).scalar_one()
    return moment.astimezone(UTC)


def newest_moment(engine: Engine) -> datetime | None:
    """The latest time that a run or a harvest left in the catalog."""
    with translated_errors(engine), engine.connect() as connection:
        columns = (schema.run.c.last_started_at, schema.run.c.finished_at, schema.image.c.harvested_at)
        moments = [connection.execute(select(func.max(column))).scalar() for column in columns]
    return max((moment for moment in moments if moment is not None), default=None)


def _missing_parts(connection: Connection) -> list[str]:
    found = inspect(connection)
    faults = []
    for table in TABLES:
        if not found.has_table(table.name):
            faults.append(f"table {table.name} is missing")
            continue
        present = {column["name"] for column in _columns(connection, table.name)}
        faults += [f"column {table.name}.{c.name} is missing" for c in table.columns if c.name not in present]
    views = missing_views(connection)
    return [*faults, *(f"{what} is missing; run `geocorrect db upgrade`" for what in views)]


def _columns(connection: Connection, table: str) -> list[dict[str, str]]:
    if connection.dialect.name == "sqlite":
        query = text("select name from pragma_table_info(:table)")
    else:
        query = text("select attname as name from pg_attribute where attrelid = to_regclass(:table) and attnum > 0")
    return [dict(row) for row in connection.execute(query, {"table": table}).mappings()]


def _check_server(connection: Connection) -> list[str]:
    query = text(
        "select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid "
        "join pg_namespace n on n.oid = c.relnamespace where n.nspname = :schema"
    )
    present: dict[str, bool] = {name: valid for name, valid in connection.execute(query, {"schema": POSTGRES_SCHEMA})}
    faults = [f"index {name} is not valid; run `reindex index {name}`" for name, valid in present.items() if not valid]
    query = text(
        "select conname from pg_constraint c join pg_namespace n on n.oid = c.connamespace where n.nspname = :schema"
    )
    constraints = set(connection.execute(query, {"schema": POSTGRES_SCHEMA}).scalars())
    for statement in table_statements("postgresql"):
        # A restore that was broken off leaves the rows without them.
        missing = [name for name in re.findall(r"CONSTRAINT (\w+)", statement) if name not in constraints]
        faults += [f"constraint {name} is missing; restore the backup again" for name in missing]
        found = re.match(r"CREATE (?:UNIQUE )?INDEX (\w+)", statement)
        if found and found[1] not in present:
            faults.append(f"index {found[1]} is missing; run `{statement}`")
    return faults
