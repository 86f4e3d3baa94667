"""Least privilege on a server: a role that computes and a role that looks."""

from __future__ import annotations

from sqlalchemy import Engine, text

from geocorrect.catalog.connect import describe, translated_errors
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.schema import POSTGRES_SCHEMA, VERSION_TABLE
from geocorrect.errors import DatabaseError

WRITER, READER = "geocorrect_writer", "geocorrect_reader"
# What a run needs beyond reading; nothing may change the schema, and results may only be added.
_INSERT = (
    "frame, alignment, anchor, image, image_history, run, correction, pair, retraction, run_basis, sequence_finding"
)
_UPDATE = "anchor, image, run"
_DELETE = "frame"


def grant_roles(engine: Engine, writer: str = WRITER, reader: str = READER) -> None:
    """Make the two group roles where missing and give them exactly their rights; people are then made members."""
    if engine.dialect.name != "postgresql":
        raise DatabaseError(f"{describe(engine)}: roles belong to a PostGIS catalog; protect the file instead")
    quote = engine.dialect.identifier_preparer.quote_identifier
    with translated_errors(engine), engine.begin() as connection:
        for role in (writer, reader):
            known = connection.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role}).scalar()
            if not known:
                run_sql(connection, f"create role {quote(role)} nologin")
            run_sql(connection, f"revoke all on all tables in schema {POSTGRES_SCHEMA} from {quote(role)}")
            run_sql(connection, f"grant usage on schema {POSTGRES_SCHEMA} to {quote(role)}")
            run_sql(connection, f"grant select on all tables in schema {POSTGRES_SCHEMA} to {quote(role)}")
        for right, tables in (("insert", _INSERT), ("update", _UPDATE), ("delete", _DELETE)):
            run_sql(connection, f"grant {right} on {tables} to {quote(writer)}")
        run_sql(connection, f"grant usage on all sequences in schema {POSTGRES_SCHEMA} to {quote(writer)}")
        run_sql(connection, f"revoke insert, update, delete on {VERSION_TABLE} from {quote(writer)}")
