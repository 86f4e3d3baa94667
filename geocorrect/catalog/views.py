"""The views for people: read from the `views*.sql` files, made anew at every upgrade, registered as GIS layers.

In the files a line `-- view: NAME [GEOMETRY [Z]] | description` starts a view; its SELECT follows. `views.sql` holds what both
back-ends understand, `views_postgresql.sql` and `views_sqlite.sql` the rest. Later views may use earlier ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Connection

from geocorrect.catalog.geopackage import SpatialColumn, register_layer, unregister_layer
from geocorrect.catalog.literal_sql import run_sql

_FOLDER = Path(__file__).resolve().parent
_HEADER = re.compile(
    r"^-- view: (?P<name>\w+)(?: (?P<kind>POINT|LINESTRING|POLYGON))?(?P<z> Z)? \| (?P<text>.+)$", re.MULTILINE
)


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
    files = ("views.sql", f"views_{dialect_name}.sql")
    return tuple(view for name in files for view in _parse((_FOLDER / name).read_text(encoding="utf-8")))


def replace_views(connection: Connection, *, only_drop: bool = False) -> None:
    """Drop our views and make them again from the files."""
    dialect = connection.dialect.name
    views = views_of(dialect)
    for view in reversed(views):
        run_sql(connection, f"drop view if exists {view.name}")
    if dialect == "postgresql":
        run_sql(connection, "drop function if exists run_diff(text, text)")
    if only_drop:
        return
    for view in views:
        run_sql(connection, f"create view {view.name} as\n{view.select}")
        if dialect == "sqlite":
            unregister_layer(connection, view.name)
            register_layer(connection, view.name, view.spatial, view.description)
        else:
            quoted = view.description.replace("'", "''")
            run_sql(connection, f"comment on view {view.name} is '{quoted}'")
    if dialect == "postgresql":
        run_sql(connection, (_FOLDER / "functions_postgresql.sql").read_text(encoding="utf-8"))


def _parse(script: str) -> list[View]:
    headers = list(_HEADER.finditer(script))
    ends = [*[header.start() for header in headers[1:]], len(script)][: len(headers)]
    views = []
    for header, end in zip(headers, ends, strict=True):
        spatial = SpatialColumn(header["kind"], bool(header["z"])) if header["kind"] else None
        views.append(View(header["name"], script[header.end() : end].strip().rstrip(";"), header["text"], spatial))
    return views
