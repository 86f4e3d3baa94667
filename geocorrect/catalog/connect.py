"""From a catalog's address to an engine: PostGIS URL, gpkg:// URL, or a path that ends in .gpkg."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from geocorrect.catalog.geopackage.database import geopackage_engine, refuse_foreign_file
from geocorrect.catalog.geopackage.planted import refuse_planted
from geocorrect.catalog.schema import POSTGRES_SCHEMA, VERSION_TABLE
from geocorrect.errors import DatabaseError
from geocorrect.redaction import ServerAddress, is_server_address, masked, redact

CONNECT_TIMEOUT_S = 10
RETRY_S = 60.0
"""How long a server that went away is waited for, counted from when it was first missed."""
LIVENESS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A server that vanished silently (power cut, broken network) is noticed within a minute; libpq's own defaults wait for
hours. Values in the catalog's address override these."""
SESSION = {"timezone": "UTC", "jit": "off", "extra_float_digits": "1"}
"""Compiling a query takes a third of a second, more than most of ours run; with seventeen digits a number read back is
the number written."""
POOLED = "pooled"
"""Key of a pooled connection's settings, which every transaction makes anew."""
REFUSED = (
    "authentication",
    "password",
    "pg_hba.conf",
    "does not exist",
    "not permitted to log in",
    "permission denied",
    "is not currently accepting connections",
    "certificate",
    "does not support ssl",
    "invalid connection option",
)
"""Words of errors that waiting does not fix. All others may pass: a server that restarts, a name that does not resolve
while its container is replaced, a route, a timeout, too many clients."""
T = TypeVar("T")


def catalog_path(url: str) -> Path | None:
    """The file of a GeoPackage address, None when the address is a PostgreSQL URL; DatabaseError for anything else."""
    if url.startswith("gpkg://"):
        # gpkg:///abs.gpkg is absolute, gpkg://rel.gpkg is relative.
        return Path(url.removeprefix("gpkg://"))
    if is_server_address(url):
        return None
    if "://" not in url and url.lower().endswith(".gpkg"):
        return Path(url)
    raise DatabaseError(
        f"{masked(url)!r} is not a catalog address; use a path that ends in .gpkg, gpkg:///path.gpkg, or "
        "postgresql://user@host/database"
    )


def engine_for(url: str, *, create: bool) -> Engine:
    """An engine for the address. A missing GeoPackage is an error unless `create`; PostGIS databases must exist."""
    path = catalog_path(url)
    if path is None:
        return _postgres_engine(url)
    if path.exists():
        refuse_foreign_file(path, VERSION_TABLE)
        if path.stat().st_size == 0 and not create:
            raise DatabaseError(f"{path} is empty; create the catalog with `geocorrect init`")
    elif not create:
        raise DatabaseError(f"{path} does not exist; create the catalog with `geocorrect init`")
    elif not path.parent.is_dir():
        raise DatabaseError(f"{path}: the folder {path.parent} does not exist; make it first")
    engine = geopackage_engine(path)
    event.listen(engine, "connect", lambda driver, _: refuse_planted(driver, str(path), repairs=create), insert=True)
    return engine


def _postgres_engine(url: str) -> Engine:
    try:
        parsed: URL = make_url(ServerAddress.parse(url).url()).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        raise DatabaseError(f"{masked(url)!r} is not a PostgreSQL URL ({redact(str(error))})") from None
    arguments = {"application_name": "geocorrect", **LIVENESS}
    defaults = {name: value for name, value in arguments.items() if name not in parsed.query}
    engine = create_engine(parsed, pool_pre_ping=True, connect_args=defaults)
    event.listen(engine, "connect", _require_utf8, insert=True)
    event.listen(engine, "connect", _set_up_session)
    event.listen(engine, "begin", _set_up_transaction)
    return engine


def _require_utf8(connection: Any, _record: object) -> None:
    """Before any query: in other encodings names are lost, or come back as bytes."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        name = connection.info.dbname
        connection.close()
        raise DatabaseError(
            f"database {name} has the encoding {encoding}, and names of photos and people need UTF8; make another one: "
            f"createdb --encoding=UTF8 --template=template0 {name}_utf8"
        )


def _set_up_session(connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        # PostGIS may be in any schema; unless that is on the path, the type `geometry` is unknown.
        cursor.execute(
            "select pg_backend_pid(), (select n.nspname from pg_extension e join pg_namespace n "
            "on n.oid = e.extnamespace where e.extname = 'postgis')"
        )
        process, postgis = cursor.fetchone()
        schemas = f"{POSTGRES_SCHEMA}, public" + (f', "{postgis}"' if postgis else "")
        settings = {**SESSION, "search_path": schemas}
        if process == connection.info.backend_pid:
            _configure(cursor, settings, local=False)
        else:
            # A pooler such as PgBouncer: every transaction may have another session of the server, shared with others.
            connection.prepare_threshold = None
            record.info[POOLED] = settings
    connection.commit()


def _set_up_transaction(connection: Connection) -> None:
    settings = connection.connection.info.get(POOLED)
    if settings:
        with closing(connection.connection.cursor()) as cursor:
            _configure(cursor, settings, local=True)


def _configure(cursor: Any, settings: Mapping[str, str], *, local: bool) -> None:
    for name, value in settings.items():
        cursor.execute("select set_config(%s, %s, %s)", (name, value, local))


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler is between us and the server, so that nothing but a transaction keeps its session."""
    return POOLED in connection.connection.info


def make_postgis(engine: Engine) -> None:
    """Make schema and extension where missing; DatabaseError names who can do it when we may not."""
    with translated_errors(engine), engine.begin() as connection:
        present = connection.execute(text("select 1 from pg_extension where extname = 'postgis'")).scalar()
        if not present:
            try:
                connection.execute(text("create extension postgis"))
            except DBAPIError as error:
                raise DatabaseError(
                    f"{describe(engine)}: PostGIS is not enabled ({_first_line(error)}); let a superuser run "
                    "`create extension postgis` in this database"
                ) from None
        known = text("select 1 from pg_namespace where nspname = :name")
        if not connection.execute(known, {"name": POSTGRES_SCHEMA}).scalar():
            connection.execute(text(f"create schema if not exists {POSTGRES_SCHEMA}"))
    engine.dispose()


def describe(engine: Engine) -> str:
    """The address without its password."""
    if engine.dialect.name == "sqlite":
        return str(engine.url.database)
    return masked(engine.url.set(drivername="postgresql").render_as_string(hide_password=False))


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Turn what the driver raises into a DatabaseError that names the catalog and the remedy."""
    try:
        yield
    except SQLAlchemyError as error:
        remedy = f"; {_remedy(error)}" if isinstance(error, OperationalError) else ""
        raise DatabaseError(f"{describe(engine)}: {_first_line(error)}{remedy}") from None


def with_retries(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run work on a fresh connection; again, for up to RETRY_S seconds, when the server is or goes away meanwhile."""

    def attempt() -> T:
        with _connect(engine) as connection:
            return work(connection)

    # Another writer stored the same rows between our read and our write; every write leaves out what is already there.
    again_after_collision = Retrying(
        retry=retry_if_exception(lambda e: isinstance(e, IntegrityError) and "unique" in str(e).lower()),
        stop=stop_after_attempt(2),
        reraise=True,
    )
    with translated_errors(engine):
        return _waiting_for_server(engine)(lambda: again_after_collision(attempt))


def write_with_retries(engine: Engine, work: Callable[[Connection], T]) -> T:
    """`with_retries` in one transaction that writes."""

    def transaction(connection: Connection) -> T:
        writing = connection.execution_options(writes=True)
        with writing.begin():
            return work(writing)

    return with_retries(engine, transaction)


def connected(engine: Engine) -> Connection:
    """A connection to a catalog that was open before, so that a server that is away is waited for.

    Raises:
        DatabaseError: the server is not back in time, or refuses us.
    """
    with translated_errors(engine):
        return _waiting_for_server(engine)(lambda: _connect(engine))


def _connect(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except OperationalError as error:
        # Unless it was refused for good, a connection that cannot be made counts like one that was lost.
        error.connection_invalidated = not any(word in str(error.orig).lower() for word in REFUSED)
        raise


def _waiting_for_server(engine: Engine) -> Retrying:
    """Repeats what fails because a server is away, until RETRY_S seconds after it was first missed."""
    deadline_s = math.inf

    def is_too_late(state: RetryCallState) -> bool:
        nonlocal deadline_s
        now_s = time.monotonic()
        deadline_s = min(deadline_s, now_s + RETRY_S)
        return now_s + state.upcoming_sleep > deadline_s

    def is_away(error: BaseException) -> bool:
        return engine.dialect.name != "sqlite" and isinstance(error, OperationalError) and error.connection_invalidated

    return Retrying(
        retry=retry_if_exception(is_away),
        wait=wait_exponential(multiplier=0.25, max=4.0),
        stop=is_too_late,
        reraise=True,
    )


def _first_line(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    lines = redact(str(original)).strip().splitlines()
    return lines[0] if lines else type(original).__name__


def _remedy(error: Exception) -> str:
    message = str(error).lower()
    hints = {
        "readonly": "the file or its folder is not writable",
        "unable to open": "check that the folder exists and is readable",
        "lock timeout": "somebody has the catalog open in a transaction (QGIS, an export, a run); let them finish",
        "locked": "another program has the file open; close it and try again",
        "password": "check user and password (PGPASSWORD or ~/.pgpass keep it out of the command line)",
        "role ": "log in as another user, or let a DBA make this one (create role … login)",
        "does not exist": "create the database first (createdb)",
        "no space left": "make room on the disk of the database server and run again",
        "too many clients": "the server has no connection left: end others or raise max_connections",
        "full": "make room on the disk",
        "disk i/o error": "the disk is full, over a quota or failing: make room on the disk and run again",
    }
    return next(
        (hint for word, hint in hints.items() if word in message), "check that the database runs and is reachable"
    )
