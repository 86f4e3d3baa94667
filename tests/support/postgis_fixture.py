"""A real PostGIS for the tests: a given server, or a throw-away cluster that works as root and as a normal user.

`bare_postgis_url` is the address of a fresh, empty database with PostGIS; it is dropped after the test. `postgis_url`
(catalog_fixtures) is that of one with an empty catalog. Where the server comes from:

1. GEOCORRECT_TEST_DATABASE_URL, an address whose user may create databases;
2. a cluster in a temporary folder (this machine only, fsync off), started once per session;
3. neither: the test is skipped with the line that would run it, or fails when GEOCORRECT_REQUIRE_POSTGIS=1.
"""

from __future__ import annotations

import glob
import os
import random
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

INSTALL = "apt-get install -y --no-install-recommends postgresql-postgis"
TEMPLATE = "geocorrect_test_template"
UNUSED = "srid not in (3857, 4326)"
"""Half of an empty database are coordinate systems; every copy pays for them."""

_RUNUSER = (
    shutil.which("runuser", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])) or "runuser"
)
"""Outside the PATH of a login without sbin."""


class Cluster:
    """A PostgreSQL cluster in a temporary folder, listening on a unix socket there, and on a port of this machine."""

    def __init__(self, programs: Path) -> None:
        # Short path: a unix socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="gcpg", dir="/tmp"))
        self.as_user = [_RUNUSER, "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.programs = programs
        self.port = _free_port()
        self.data = self.folder / "data"
        if self.as_user:
            shutil.chown(self.folder, "postgres")

    def start(self) -> None:
        self.initialise()
        self.resume()

    def initialise(self) -> None:
        """The files of an empty cluster."""
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--locale=C.UTF-8",
        )

    def resume(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off -c max_connections=40"
        options += " -c full_page_writes=off"
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-w", "-o", options, "start")

    def suspend(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def upgrade_from(self, old: Cluster) -> None:
        """Take over the databases of a cluster by pg_upgrade; both have been shut down in order."""
        programs, user = ("-b", str(old.programs), "-B", str(self.programs)), ("-U", "postgres")
        self._run(
            "pg_upgrade", *programs, *user, "-d", str(old.data), "-D", str(self.data), "-s", str(self.folder),
            "-p", str(old.port), "-P", str(self.port), folder=self.folder,
        )  # fmt: skip

    def remove(self) -> None:
        try:
            self.suspend()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str) -> str:
        """The same over TCP, where a server that is away looks different."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str, folder: Path = Path("/")) -> None:
        command = [*self.as_user, str(self.programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=240, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout[-3000:]}{done.stderr}")


def _free_port() -> int:
    """Below the ports that the system hands out by itself, so that it stays free while the server is away."""
    for port in random.Random(os.getpid()).sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def installed_programs() -> Path | None:
    """The folder of the newest installed server that has PostGIS."""
    servers = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda p: int(p.split("/")[4]), reverse=True)
    with_postgis = [
        p for p in servers if Path(f"/usr/share/postgresql/{p.split('/')[4]}/extension/postgis.control").exists()
    ]
    return Path(with_postgis[0]).parent if with_postgis else None


def skip_or_fail(message: str) -> None:
    """A failure where the database is required, as in CI."""
    if os.environ.get("GEOCORRECT_REQUIRE_POSTGIS"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgis_cluster() -> Iterator[Cluster | None]:
    """The throw-away cluster of this session; None when a server was given by its URL."""
    if os.environ.get("GEOCORRECT_TEST_DATABASE_URL"):
        yield None
        return
    programs = installed_programs()
    if programs is None:
        skip_or_fail(f"no PostGIS: not installed; run `{INSTALL}` or set GEOCORRECT_TEST_DATABASE_URL")
        return
    cluster = Cluster(programs)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def postgis_server_url(postgis_cluster: Cluster | None) -> Iterator[str]:
    """Address of the server's maintenance database, with a template database that has PostGIS."""
    url = os.environ.get("GEOCORRECT_TEST_DATABASE_URL") or (postgis_cluster and postgis_cluster.url("postgres"))
    assert url
    template = f"{TEMPLATE}_{uuid.uuid4().hex[:8]}"
    execute(url, f"create database {template} encoding 'UTF8' template template0")
    try:
        for statement in ("create extension postgis", f"delete from spatial_ref_sys where {UNUSED}", "vacuum full"):
            execute(with_database(url, template), statement)
        yield f"{url}#{template}"
    finally:
        if postgis_cluster is None:  # a cluster of our own goes as a whole, sooner than its databases one by one
            execute(url, f"drop database if exists {template} with (force)")


@pytest.fixture
def bare_postgis_url(postgis_server_url: str) -> Iterator[str]:
    """Address of a fresh database with PostGIS, dropped after the test."""
    with database_from(postgis_server_url, postgis_server_url.split("#")[1]) as url:
        yield url


@contextmanager
def database_from(server_url: str, template: str) -> Iterator[str]:
    """Address of a copy of a database to which nobody is connected, dropped afterwards; much quicker than migrations.

    Args:
        server_url: as `postgis_server_url` gives it.
        template: name of the database.
    """
    server = server_url.split("#")[0]
    name = f"geocorrect_test_{uuid.uuid4().hex[:12]}"
    execute(server, f"create database {name} template {template}")
    try:
        yield with_database(server, name)
    finally:
        execute(server, f"drop database if exists {name} with (force)")


def with_database(url: str, name: str) -> str:
    """The address of another database on the same server."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def execute(url: str, statement: str) -> None:
    """Run one statement outside any transaction."""
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement)
