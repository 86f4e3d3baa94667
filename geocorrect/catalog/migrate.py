"""Brings a catalog's schema up to date: Alembic for the tables, then the views, in one transaction.

The migrations lie inside the package in an installed wheel and at the top of a checkout.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, bindparam, insert, select, text, update

from geocorrect.catalog.codec import anchor_content_hash
from geocorrect.catalog.connect import catalog_path, describe, engine_for, translated_errors
from geocorrect.catalog.geopackage import settle
from geocorrect.catalog.schema import REVISION, VERSION_TABLE, anchor, reason
from geocorrect.catalog.styles import write_styles
from geocorrect.catalog.views import replace_views
from geocorrect.errors import REASON_TEXT, DatabaseError


def migrations_folder() -> Path:
    """The folder of the Alembic environment; DatabaseError when the installation lacks it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise DatabaseError(
        f"this installation has no migrations (looked in {package} and beside it); install geocorrect again"
    )


def current_revision(connection: Connection) -> str | None:
    """The schema revision of a database, None when it holds no catalog."""
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
        known = set(connection.execute(select(reason.c.reason)).scalars()) if found == REVISION else set()
    if found is None:
        raise DatabaseError(f"{describe(engine)} is not a geocorrect catalog; create one with `geocorrect init`")
    if found != REVISION:
        _refuse_revision(engine, found)
    # A result with a reason that the database does not know would only be refused in the middle of a run.
    if unknown := sorted({code.value for code in REASON_TEXT} - known):
        raise DatabaseError(
            f"{describe(engine)} does not know the reason {', '.join(unknown)} yet; run `geocorrect db upgrade`"
        )


def upgrade(engine: Engine) -> None:
    """Bring the catalog to the schema of this version: tables, views, list of reasons. All or nothing."""
    with translated_errors(engine), engine.connect() as connection:
        connection = connection.execution_options(writes=True)
        with connection.begin():
            found = current_revision(connection)
            if found is not None and found > REVISION:
                _refuse_revision(engine, found)
            replace_views(connection, only_drop=True)
            if found != REVISION:
                _run_alembic(connection)
            replace_views(connection)
            write_styles(connection)
            _synchronise_reasons(connection)
            _fill_anchor_hashes(connection)
        if engine.dialect.name == "sqlite":
            settle(connection)


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISION)


def _synchronise_reasons(connection: Connection) -> None:
    known = {row.reason: row.meaning for row in connection.execute(select(reason.c.reason, reason.c.meaning))}
    for code, meaning in REASON_TEXT.items():
        if code.value not in known:
            connection.execute(insert(reason).values(reason=code.value, meaning=meaning))
        elif known[code.value] != meaning:
            connection.execute(update(reason).where(reason.c.reason == code.value).values(meaning=meaning))


def _fill_anchor_hashes(connection: Connection) -> None:
    """Anchors stored before schema 0002 have no hash of their content yet."""
    rows = connection.execute(select(anchor).where(anchor.c.content_hash.is_(None))).mappings().all()
    if rows:
        values = [{"key": row["fid"], "found": anchor_content_hash(dict(row))} for row in rows]
        change = update(anchor).where(anchor.c.fid == bindparam("key")).values(content_hash=bindparam("found"))
        connection.execute(change, values)


def _refuse_revision(engine: Engine, found: str) -> None:
    if found > REVISION:
        raise DatabaseError(
            f"{describe(engine)} has schema {found}, newer than this geocorrect ({REVISION}); "
            "install a newer geocorrect"
        )
    raise DatabaseError(
        f"{describe(engine)} has schema {found}, this geocorrect needs {REVISION}; run `geocorrect db upgrade`"
    )
