"""The small known catalog, served, on both back-ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import catalog_world as world
from support.served import TOKEN, Served, served

from geocorrect.catalog import Catalog
from geocorrect.serve.state import ServeSettings

N = 30
"""Photos: 20 accepted, 4 for review, 6 rejected; 31 anchors."""


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    world.fill(catalog, N)
    return catalog


@pytest.fixture
def server(filled: Catalog) -> Iterator[Served]:
    with served(ServeSettings(filled, TOKEN)) as running:
        yield running


@pytest.fixture(scope="module", params=["geopackage", pytest.param("postgis", marks=pytest.mark.postgis)])
def kept_catalog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The same for tests that only read."""
    if request.param == "geopackage":
        path = tmp_path_factory.mktemp("city") / "catalog.gpkg"
        with Catalog.open(str(shutil.copy(request.getfixturevalue("empty_geopackage"), Path(path)))) as catalog:
            world.fill(catalog, N)
            yield catalog
        return
    with request.getfixturevalue("postgis_catalogs").lent() as url, Catalog.open(url) as catalog:
        world.fill(catalog, N)
        yield catalog


@pytest.fixture(scope="module")
def kept(kept_catalog: Catalog) -> Iterator[Served]:
    """A server of `kept_catalog`."""
    with served(ServeSettings(kept_catalog, TOKEN)) as running:
        yield running
