"""A small known catalog on both back-ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from geocorrect.catalog import Catalog

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)


@pytest.fixture(params=["geopackage", pytest.param("postgis", marks=pytest.mark.postgis)])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a catalog to be made, on each back-end."""
    if request.param == "geopackage":
        return str(tmp_path / "catalog.gpkg")
    return str(request.getfixturevalue("postgis_url"))


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """An empty catalog on each back-end, with a clock that stands still."""
    with Catalog.open(catalog_url, create=True, clock=lambda: NOW) as opened:
        yield opened
