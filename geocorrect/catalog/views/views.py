"""The views: read from the `views*.sql` files, made anew when an upgrade changes them, registered as layers.

In the files a line `-- view: NAME [GEOMETRY [Z]] | description` starts a view; its SELECT follows. Later views may use
earlier ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from geocorrect.catalog.geopackage.database import SpatialColumn, register_layer, unregister_layer
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.errors import DatabaseError

# What `epoch_seconds(` and `json_number(column, 'path')` of the files become: all in which the two SQL dialects differ.
_EPOCH_SECONDS = {"postgresql": "extract(epoch from ", "sqlite": "86400.0 * julianday("}
_JSON_NUMBER = re.compile(r"json_number\(([\w.]+), '([\w.]+)'\)")
FUNCTIONS = ("run_diff(text, text)",)
"""Of `functions_postgresql.sql`."""
_FOLDER = Path(__file__).resolve().parent
_HEADER = re.compile(
    r"^-- view: (?P<name>\w+)(?: (?P<kind>POINT|LINESTRING|POLYGON))?(?P<z> Z)? \| (?P<text>.+)$", re.MULTILINE
)

_TYPED = re.compile(
    r"select \w+ as \w+(?:, \w+ as \w+)* from correction where 0\n"
    r"union all\nselect (?:\w+|cast\(\w+ as \w+\) as \w+)(?:, (?:\w+|cast\(\w+ as \w+\) as \w+))* from \(\n"
    r"(?P<select>.*)\n\)",
    re.DOTALL,
)
"""What `typed_select` writes."""


@dataclass(frozen=True)
class View:
    """A named SELECT; spatial is None for views without a column `geom`."""

    name: str
    select: str
    description: str
    spatial: SpatialColumn | None


@cache
def views_of(dialect_name: str) -> tuple[View, ...]:
    """The views of a back-end ("postgresql" or "sqlite") in the order in which they can be made."""
    views = [view for name in ("views.sql", "views_shapes.sql") for view in _parse(_sql(name))]
    seconds = _EPOCH_SECONDS[dialect_name]

    def in_dialect(select: str) -> str:
        return _JSON_NUMBER.sub(lambda found: _json_number(dialect_name, *found.groups()), select).replace(
            "epoch_seconds(", seconds
        )

    return tuple(replace(view, select=in_dialect(view.select)) for view in views)


def _json_number(dialect_name: str, column: str, path: str) -> str:
    """A number in a JSON column by its path, null where there is none."""
    if dialect_name == "sqlite":
        return f"json_extract({column}, '$.{path}')"
    return f"cast({column} #>> '{{{path.replace('.', ',')}}}' as double precision)"


def views_text(dialect_name: str) -> str:
    """All that the views of a back-end are made from, to be compared."""
    functions = _sql("functions_postgresql.sql") if dialect_name == "postgresql" else ""
    return repr((views_of(dialect_name), functions))


def missing_views(connection: Connection) -> list[str]:
    """Our views, and on a server our functions, that a database lacks: "view NAME" or "function NAME(…)"."""
    present = set(inspect(connection).get_view_names())
    missing = [f"view {view.name}" for view in views_of(connection.dialect.name) if view.name not in present]
    if connection.dialect.name == "postgresql":
        known = text("select to_regprocedure(:function) is not null")
        missing += [f"function {f}" for f in FUNCTIONS if not connection.execute(known, {"function": f}).scalar()]
    return missing


def changed_views(connection: Connection) -> list[str]:
    """Names of our views in a GeoPackage whose text is another than ours: of another release, or of a stranger."""
    found = connection.exec_driver_sql("select name, sql from sqlite_master where type = 'view'")
    present = {name.lower(): sql for name, sql in found}
    return [view.name for view in views_of("sqlite") if view.name in present and not _is_ours(view, present[view.name])]


def _is_ours(view: View, sql: str) -> bool:
    """Whether it is the text that `replace_views` writes; what `typed_select` puts around it names only columns."""
    start = f"CREATE VIEW {view.name} as\n"
    return sql.startswith(start) and (
        sql == start + view.select
        or ((typed := _TYPED.fullmatch(sql, len(start))) is not None and typed["select"] == view.select)
    )


def replace_views(connection: Connection, *, only_drop: bool = False) -> None:
    """Drop our views and make them again from the files; DatabaseError when views of others use them."""
    dialect = connection.dialect.name
    views = views_of(dialect)
    if dialect == "postgresql" and (dependent := _views_of_others(connection, views)):
        names = ", ".join(dependent)
        raise DatabaseError(
            f"views of others depend on those of the catalog, which an upgrade makes anew: {names}; save their text "
            f"(select pg_get_viewdef('{dependent[0]}')), drop them, upgrade, and make them again"
        )
    for view in reversed(views):
        run_sql(connection, f"drop view if exists {view.name}")
    if dialect == "postgresql":
        for function in FUNCTIONS:
            run_sql(connection, f"drop function if exists {function}")
    if only_drop:
        return
    for view in views:
        select = typed_select(connection, view.select) if dialect == "sqlite" else view.select
        run_sql(connection, f"create view {view.name} as\n{select}")
        if dialect == "sqlite":
            unregister_layer(connection, view.name)
            register_layer(connection, view.name, view.spatial, view.description)
        else:
            quoted = view.description.replace("'", "''")
            run_sql(connection, f"comment on view {view.name} is '{quoted}'")
    if dialect == "postgresql":
        run_sql(connection, _sql("functions_postgresql.sql"))


def _views_of_others(connection: Connection, views: tuple[View, ...]) -> list[str]:
    """Names of views and materialized views that use ours and are not ours."""
    query = text(
        "with ours as (select to_regclass(name)::oid as oid from unnest(cast(:names as text[])) as name) "
        "select distinct format('%I.%I', n.nspname, theirs.relname) from pg_depend d "
        "join pg_rewrite r on r.oid = d.objid join pg_class theirs on theirs.oid = r.ev_class "
        "join pg_namespace n on n.oid = theirs.relnamespace "
        "where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass "
        "and d.refobjid in (select oid from ours where oid is not null) "
        "and theirs.oid not in (select oid from ours where oid is not null) "
        "order by 1"
    )
    return list(connection.execute(query, {"names": [view.name for view in views]}).scalars())


# A column of `correction` for every type that a GeoPackage may declare.
_SAMPLES = {
    "TEXT": "image_id", "DOUBLE": "lon_deg", "INTEGER": "fid", "BOOLEAN": "depth_is_oracle",
    "DATETIME": "recorded_at", "POINT": "geom",
}  # fmt: skip


def typed_select(connection: Connection, select: str) -> str:
    """The same SELECT, with declared types for computed columns.

    SQLite declares none for an expression, and GDAL then shows numbers as text. A compound SELECT takes its types from
    its first part, which here selects nothing, from columns of the right types.
    """
    run_sql(connection, f"create temp view geocorrect_untyped as\n{select}")
    columns = connection.exec_driver_sql("pragma temp.table_info(geocorrect_untyped)").all()
    run_sql(connection, "drop view temp.geocorrect_untyped")
    named = {row[1]: row[2] for row in columns}
    if all(kind in (*_SAMPLES, "LINESTRING", "POLYGON") for kind in named.values()):
        return select
    samples, values = [], []
    for name, declared in named.items():
        guessed = _guessed_type(name)
        samples.append(f"{_SAMPLES.get(declared, _SAMPLES[guessed])} as {name}")
        # The cast gives both parts the same affinity, without which newer SQLite forgets the declared type.
        keeps = declared in _SAMPLES or guessed == "POINT"
        values.append(name if keeps else f"cast({name} as {guessed}) as {name}")
    return (
        f"select {', '.join(samples)} from correction where 0\n"
        f"union all\nselect {', '.join(values)} from (\n{select}\n)"
    )


def _guessed_type(column: str) -> str:
    """Our names show the type: counts begin with n_, measures end with their unit."""
    if column == "geom":
        return "POINT"
    if column == "fid" or column.startswith("n_"):
        return "INTEGER"
    measures = ("_m", "_deg", "_s", "_px", "_sigma", "_sigmas", "_spread", "_ratio", "bend")
    return "DOUBLE" if column.endswith(measures) else "TEXT"


def _sql(file_name: str) -> str:
    return (_FOLDER / file_name).read_text(encoding="utf-8")


def _parse(script: str) -> list[View]:
    headers = list(_HEADER.finditer(script))
    ends = [*[header.start() for header in headers[1:]], len(script)][: len(headers)]
    views = []
    for header, end in zip(headers, ends, strict=True):
        spatial = SpatialColumn(header["kind"], bool(header["z"])) if header["kind"] else None
        views.append(View(header["name"], script[header.end() : end].strip().rstrip(";"), header["text"], spatial))
    return views
