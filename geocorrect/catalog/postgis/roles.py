"""Least privilege on a server: a role that computes and a role that reads; rights outlive an upgrade."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from geocorrect.catalog.connect import describe, translated_errors
from geocorrect.catalog.literal_sql import run_sql
from geocorrect.catalog.schema import POSTGRES_SCHEMA, VERSION_TABLE
from geocorrect.catalog.views.views import views_of
from geocorrect.errors import DatabaseError

WRITER, READER = "geocorrect_writer", "geocorrect_reader"
# What a run needs beyond reading; nothing may change the schema, and results may only be added.
_INSERT = (
    "frame, alignment, anchor, image, image_history, run, correction, correction_shape, pair, retraction, review, "
    "run_basis, sequence_finding"
)
_UPDATE = "anchor, image, run"
_DELETE = "frame"
# QGIS looks for it in this schema and nowhere else.
STYLES = "public.layer_styles"


def grant_roles(engine: Engine, writer: str = WRITER, reader: str = READER) -> None:
    """Make the two group roles where missing and give them exactly their rights; users are then made members."""
    if engine.dialect.name != "postgresql":
        raise DatabaseError(f"{describe(engine)}: roles belong to a PostGIS catalog; protect the file instead")
    quote = engine.dialect.identifier_preparer.quote_identifier
    with translated_errors(engine), engine.begin() as connection:
        for role in (writer, reader):
            known = connection.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role}).scalar()
            if not known:
                _require_createrole(engine, connection, (writer, reader))
                run_sql(connection, f"create role {quote(role)} nologin")
            run_sql(connection, f"revoke all on all tables in schema {POSTGRES_SCHEMA} from {quote(role)}")
            _grant(connection, quote(role), writes=role == writer)


def _require_createrole(engine: Engine, connection: Connection, roles: tuple[str, ...]) -> None:
    """DatabaseError with what a DBA is to run, unless we may make roles ourselves."""
    query = text("select rolcreaterole or rolsuper from pg_roles where rolname = current_user")
    if not connection.execute(query).scalar():
        quote = engine.dialect.identifier_preparer.quote_identifier
        made = " ".join(f"create role {quote(role)} nologin;" for role in roles)
        raise DatabaseError(
            f"{describe(engine)}: this user may not make roles (CREATEROLE); let a DBA run `{made}` where they are "
            "missing, then run this again"
        )


def _grant(connection: Connection, role: str, *, writes: bool) -> None:
    """Give a role, quoted, its rights on all present tables and views, our styles included."""
    run_sql(connection, f"grant usage on schema {POSTGRES_SCHEMA} to {role}")
    run_sql(connection, f"grant select on all tables in schema {POSTGRES_SCHEMA} to {role}")
    if _owns(connection, STYLES):
        run_sql(connection, f"grant select on {STYLES} to {role}")
    if writes:
        for right, tables in (("insert", _INSERT), ("update", _UPDATE), ("delete", _DELETE)):
            run_sql(connection, f"grant {right} on {tables} to {role}")
        run_sql(connection, f"grant usage on all sequences in schema {POSTGRES_SCHEMA} to {role}")
        run_sql(connection, f"revoke insert, update, delete on {VERSION_TABLE} from {role}")


# --- rights across an upgrade ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Rights:
    """What others than the owner may do in a catalog; roles and names are quoted for SQL."""

    roles: dict[str, bool]
    """Those that may read everything, and whether they store results too."""
    of_views: tuple[str, ...]
    """GRANT statements."""


def owns_catalog(connection: Connection) -> bool:
    """Whether we may change the schema of the catalog that is there."""
    if connection.dialect.name == "sqlite":
        return True
    return _owns(connection, VERSION_TABLE)


def _owns(connection: Connection, table: str) -> bool:
    query = text("select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass(:name)")
    return bool(connection.execute(query, {"name": table}).scalar())


def present_rights(connection: Connection) -> Rights:
    """The rights before the views are dropped, and their rights with them."""
    query = text(
        "select c.relname, c.relkind::text, a.privilege_type, a.is_grantable, "
        "coalesce(quote_ident(r.rolname), 'public') as role, quote_ident(c.relname) as quoted "
        "from pg_class c cross join lateral aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee "
        "where c.relnamespace = to_regnamespace(:schema) and c.relkind in ('r', 'v') and a.grantee <> c.relowner"
    )
    rows = connection.execute(query, {"schema": POSTGRES_SCHEMA}).all()
    # Only the roles of `grant_roles` may read the version.
    readers = [row.role for row in rows if row.relname == VERSION_TABLE and row.privilege_type == "SELECT"]
    writers = {row.role for row in rows if row.relname == "correction" and row.privilege_type == "INSERT"}
    ours = {view.name for view in views_of("postgresql")}
    of_views = [
        f"grant {row.privilege_type} on {row.quoted} to {row.role}" + " with grant option" * row.is_grantable
        for row in rows
        if row.relkind == "v" and row.relname in ours
    ]
    return Rights({role: role in writers for role in readers}, tuple(of_views))


def grant_again(connection: Connection, rights: Rights) -> None:
    """Give earlier rights on the present tables and views."""
    for statement in rights.of_views:
        run_sql(connection, statement)
    for role, writes in rights.roles.items():
        _grant(connection, role, writes=writes)
