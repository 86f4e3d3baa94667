"""A small known catalog on both back-ends."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from geocorrect.catalog import Catalog
from support.lent_databases import CatalogDatabases
from support.postgis_fixture import Cluster, execute, with_database

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)


@pytest.fixture(scope="session")
def empty_geopackage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty catalog, made once; tests get copies, because the migrations are slower than a copy."""
    path = tmp_path_factory.mktemp("template") / "empty.gpkg"
    Catalog.open(str(path), create=True).close()
    return path


@pytest.fixture(scope="session")
def empty_postgis(postgis_server_url: str, postgis_cluster: Cluster | None) -> Iterator[str]:
    """Name of a database with an empty catalog, to be used as a template."""
    server, template = postgis_server_url.split("#")
    name = f"geocorrect_test_empty_{uuid.uuid4().hex[:8]}"
    execute(server, f"create database {name} template {template}")
    try:
        Catalog.open(with_database(server, name), create=True).close()
        yield name
    finally:
        if postgis_cluster is None:
            execute(server, f"drop database if exists {name} with (force)")


@pytest.fixture(scope="session")
def postgis_catalogs(
    postgis_server_url: str, empty_postgis: str, postgis_cluster: Cluster | None
) -> Iterator[CatalogDatabases]:
    databases = CatalogDatabases(postgis_server_url.split("#")[0], empty_postgis)
    yield databases
    if postgis_cluster is None:
        databases.close()


@pytest.fixture
def postgis_url(postgis_catalogs: CatalogDatabases) -> Iterator[str]:
    """Address of an empty catalog in a PostGIS database of its own."""
    with postgis_catalogs.lent() as url:
        yield url


@pytest.fixture(params=["geopackage", pytest.param("postgis", marks=pytest.mark.postgis)])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty catalog on each back-end."""
    if request.param == "geopackage":
        return str(shutil.copy(request.getfixturevalue("empty_geopackage"), tmp_path / "catalog.gpkg"))
    return str(request.getfixturevalue("postgis_url"))


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """An empty catalog on each back-end, with a clock that stands still."""
    with Catalog.open(catalog_url, clock=lambda: NOW) as opened:
        yield opened
