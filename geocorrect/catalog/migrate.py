"""Brings a catalog's schema up to date: Alembic for the tables, then the views, in one transaction.

The migrations are inside the package in an installed wheel and at the top of a checkout. A catalog that is up to date
is only read: views that are made anew lose their rights for a moment, and their readers must wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Table, bindparam, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from geocorrect.catalog.bulk import insert_chunks
from geocorrect.catalog.connect import catalog_path, describe, engine_for, make_postgis, translated_errors
from geocorrect.catalog.geopackage.database import broken_rtrees, repair_rtrees, settle
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.postgis.roles import grant_again, owns_catalog, present_rights
from geocorrect.catalog.rows.codec import anchor_content_hash
from geocorrect.catalog.rows.geometry_type import Geometry, Outlines
from geocorrect.catalog.rows.result_columns import ImageFacts
from geocorrect.catalog.schema import (
    REVISION,
    TABLES,
    VERSION_TABLE,
    anchor,
    correction,
    correction_shape,
    image,
    reason,
)
from geocorrect.catalog.served.thinning import index_statements
from geocorrect.catalog.views.qml import STYLED, qml
from geocorrect.catalog.views.shapes import NEEDED, shape_columns
from geocorrect.catalog.views.styles import write_styles
from geocorrect.catalog.views.views import changed_views, missing_views, replace_views, views_text
from geocorrect.errors import DatabaseError, Reason

LOCK_TIMEOUT_MS = 5000
_UPGRADE_KEY = 0x67656F636F727575
"""The bytes of "geocoruu": the advisory lock of an upgrade, so that two of them follow one another."""


def migrations_folder() -> Path:
    """The folder of the Alembic environment; DatabaseError when it is not installed."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise DatabaseError(
        f"this installation has no migrations (looked in {package} and beside it); install geocorrect again"
    )


def current_revision(connection: Connection) -> str | None:
    """The schema revision of a database, None when there is no catalog in it."""
    if connection.dialect.name == "sqlite":
        known = text("select 1 from sqlite_master where name = :name")
    else:
        known = text("select 1 where to_regclass(:name) is not null")
    if not connection.execute(known, {"name": VERSION_TABLE}).scalar():
        return None
    return connection.execute(text(f"select version_num from {VERSION_TABLE}")).scalar()


def revision_at(url: str) -> str | None:
    """The schema revision at an address, None when there is no catalog yet."""
    path = catalog_path(url)
    if path is not None and not (path.exists() and path.stat().st_size):
        return None
    engine = engine_for(url, create=False)
    try:
        with translated_errors(engine), engine.connect() as connection:
            return current_revision(connection)
    finally:
        engine.dispose()


def require_current(engine: Engine) -> None:
    """Raise DatabaseError, with the remedy, unless the catalog has exactly the schema of this version."""
    with translated_errors(engine), engine.connect() as connection:
        found = current_revision(connection)
        unknown = _unknown_reasons(connection) if found == REVISION else []
        changed = _changed_views(connection) if found == REVISION else []
    if found is None:
        raise DatabaseError(f"{describe(engine)} is not a geocorrect catalog; create one with `geocorrect init`")
    if found != REVISION:
        _refuse_revision(engine, found)
    # A stranger's view may never end, or show anything; the next upgrade makes ours again without running it.
    if changed:
        raise DatabaseError(
            f"{describe(engine)}: the view {', '.join(changed)} is not that of this geocorrect; run "
            "`geocorrect db upgrade`"
        )
    # Otherwise a result with a new reason would be refused in the middle of a run.
    if unknown:
        raise DatabaseError(
            f"{describe(engine)} does not know the reason {', '.join(unknown)} yet; run `geocorrect db upgrade`"
        )


def _unknown_reasons(connection: Connection) -> list[str]:
    known = set(connection.execute(select(reason.c.reason)).scalars())
    return sorted({code.value for code in Reason} - known)


def _changed_views(connection: Connection) -> list[str]:
    """Only a file comes from strangers; on a server, views belong to who may make them."""
    return changed_views(connection) if connection.dialect.name == "sqlite" else []


def upgrade(engine: Engine) -> None:
    """Bring all of the catalog to this version, or nothing: tables, comments, views, styles, reasons, rights.

    One that has them all is only read, so that everybody who may work with it may call this.
    """
    if not upgrade_is_due(engine):
        return
    if engine.dialect.name == "postgresql":
        make_postgis(engine)
    with translated_errors(engine), engine.connect() as connection:
        connection = connection.execution_options(writes=True)
        with connection.begin():
            _make_all(engine, connection)
        if engine.dialect.name == "sqlite":
            settle(connection)


@cache
def made_from(dialect_name: str) -> str:
    """Hash of everything that an upgrade makes anew."""
    comments = comment_statements() if dialect_name == "postgresql" else []
    styles = [(layer, qml(layer)) for layer in STYLED]
    reasons = [(code.value, code.text) for code in Reason]
    return hashlib.sha256(repr((views_text(dialect_name), comments, styles, reasons)).encode()).hexdigest()


def upgrade_is_due(engine: Engine) -> bool:
    """Whether `upgrade` would change anything; DatabaseError when it must and we may not."""
    with translated_errors(engine), engine.connect() as connection:
        found = current_revision(connection)
        if found is None:
            return True
        if found > REVISION or (found < REVISION and not owns_catalog(connection)):
            _refuse_revision(engine, found, owned=False)
        if found < REVISION:
            return True
        # Only the owner of the views can make them anew.
        return owns_catalog(connection) and (
            connection.execute(text(f"select made_from from {VERSION_TABLE}")).scalar()
            != made_from(connection.dialect.name)
            or bool(missing_views(connection))
            or bool(_changed_views(connection))
            or bool(_unknown_reasons(connection))
            or (connection.dialect.name == "sqlite" and bool(broken_rtrees(connection)))
        )


def _make_all(engine: Engine, connection: Connection) -> None:
    on_server = connection.dialect.name == "postgresql"
    if on_server:
        # Others who want a table meanwhile queue behind this transaction, so it must not wait for long itself.
        run_sql(connection, f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
        run_sql(connection, f"select pg_advisory_xact_lock({_UPGRADE_KEY})")
    found = current_revision(connection)
    if found is not None and found > REVISION:
        _refuse_revision(engine, found)
    rights = present_rights(connection) if on_server else None
    if not on_server and found is not None:
        # First of all: a trigger that was changed would run in what follows.
        repair_rtrees(connection)
    replace_views(connection, only_drop=True)
    if found != REVISION:
        _run_alembic(connection)
    for statement in comment_statements() if on_server else ():
        run_sql(connection, statement)
    replace_views(connection)
    if not on_server:
        repair_rtrees(connection)
    write_styles(connection)
    _synchronise_reasons(connection)
    fill_anchor_hashes(connection)
    fill_shapes(connection)
    mark = text(f"update {VERSION_TABLE} set made_from = :made_from")
    connection.execute(mark, {"made_from": made_from(connection.dialect.name)})
    if rights is not None:
        grant_again(connection, rights)


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISION)


def _synchronise_reasons(connection: Connection) -> None:
    known = {row.reason: row.meaning for row in connection.execute(select(reason.c.reason, reason.c.meaning))}
    for code in Reason:
        if code.value not in known:
            connection.execute(insert(reason).values(reason=code.value, meaning=code.text))
        elif known[code.value] != code.text:
            connection.execute(update(reason).where(reason.c.reason == code.value).values(meaning=code.text))


def _refuse_revision(engine: Engine, found: str, *, owned: bool = True) -> None:
    if found > REVISION:
        raise DatabaseError(
            f"{describe(engine)} has schema {found}, newer than this geocorrect ({REVISION}); "
            "install a newer geocorrect"
        )
    who = "run" if owned else "let its owner run"
    raise DatabaseError(
        f"{describe(engine)} has schema {found}, this geocorrect needs {REVISION}; {who} `geocorrect db upgrade`"
    )


CHUNK = 20_000


def fill_anchor_hashes(connection: Connection) -> None:
    """Anchors stored before schema 0002 have no hash of their content yet."""
    rows = connection.execute(select(anchor).where(anchor.c.content_hash.is_(None))).mappings().all()
    if rows:
        values = [{"key": row["fid"], "found": anchor_content_hash(dict(row))} for row in rows]
        change = update(anchor).where(anchor.c.fid == bindparam("key")).values(content_hash=bindparam("found"))
        connection.execute(change, values)


def fill_shapes(connection: Connection) -> None:
    """Results stored on a server before schema 0004 have no shapes yet."""
    c, i, shape = correction.c, image.c, correction_shape.c
    facts = (i.content_hash, i.lon_deg, i.lat_deg, i.heading_deg, i.horizontal_fov_deg)
    query = (
        select(*[c[name] for name in NEEDED], *[column.label(f"image_{column.name}") for column in facts])
        .join(image, i.image_id == c.image_id)
        .outerjoin(correction_shape, shape.fid == c.fid)
        .where(c.lon_deg.is_not(None), shape.fid.is_(None), c.fid > bindparam("after"))
        .order_by(c.fid)
        .limit(CHUNK)
    )
    after = 0
    while rows := connection.execute(query, {"after": after}).all():
        names = [*NEEDED, *(column.name for column in facts)]
        found: dict[int, Any] = dict(enumerate(zip(*rows, strict=True)))
        columns = {name: np.array(found[k], dtype=np.float64) for k, name in enumerate(NEEDED)}
        hashes, *numbers = (found[k] for k in range(len(NEEDED), len(names)))
        known = ImageFacts(list(hashes), *(np.array(values, dtype=np.float64) for values in numbers))
        insert_chunks(connection, correction_shape, [shape_columns(columns, known)], len(rows))
        after = int(rows[-1].fid)


def table_statements(dialect_name: str) -> list[str]:
    """CREATE TABLE and CREATE INDEX statements of the present model for "postgresql" or "sqlite"."""
    statements: list[str] = []
    for table in TABLES:
        indices = sorted(table.indexes, key=lambda index: str(index.name))
        statements += _sql([CreateTable(table), *map(CreateIndex, indices)], dialect_name)
        if dialect_name == "postgresql":
            statements += _spatial_indices(table)
    return statements


def comment_statements() -> list[str]:
    """COMMENT statements of the present model; only PostgreSQL keeps comments of tables and columns."""
    comments: list[Any] = []
    for table in TABLES:
        comments += [SetTableComment(table), *[SetColumnComment(c) for c in table.columns if c.comment]]
    return _sql(comments, "postgresql")


def _sql(elements: Sequence[Any], dialect_name: str) -> list[str]:
    dialect: Any = postgresql.dialect(paramstyle="named") if dialect_name == "postgresql" else sqlite.dialect()  # type: ignore[no-untyped-call]
    return [str(element.compile(dialect=dialect)).strip() for element in elements]


def _spatial_indices(table: Table) -> list[str]:
    # Geography: right distances anywhere. Geometry: what map windows query.
    statements = [
        statement
        for column in table.columns
        if isinstance(column.type, Geometry)
        for statement in (
            f"CREATE INDEX ix_{table.name}_{column.name} ON {table.name} USING gist ({column.name})",
            f"CREATE INDEX ix_{table.name}_{column.name}_geography ON {table.name} USING gist "
            f"(({column.name}::geography))",
        )
    ]
    statements += index_statements(table.name)
    # The shapes of a result overlap: one tree finds each of them, for half the work of three.
    outlines = [column.name for column in table.columns if isinstance(column.type, Outlines)]
    if outlines:
        statements.append(f"CREATE INDEX ix_{table.name}_outlines ON {table.name} USING gist ({', '.join(outlines)})")
        # A tenth of the usual sample: the places of shapes in 30000 rows cost the server more than storing them.
        statements += [f"ALTER TABLE {table.name} ALTER COLUMN {c.name} SET STATISTICS 10" for c in table.columns]
    return statements
