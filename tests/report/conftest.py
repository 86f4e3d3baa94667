"""Fixtures of this room; its helpers lie beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.report_world import fill_catalog, true_places

from geocorrect.catalog import Catalog
from geocorrect.report.contents import Contents, read_contents
from geocorrect.report.truth import Truth


@pytest.fixture(scope="session")
def catalog_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "scene.gpkg"
    fill_catalog(path)
    return path


@pytest.fixture
def catalog(catalog_path: Path) -> Iterator[Catalog]:
    with Catalog.open(str(catalog_path)) as opened:
        yield opened


@pytest.fixture
def truth() -> Truth:
    return true_places()


@pytest.fixture
def contents(catalog: Catalog) -> Contents:
    return read_contents(catalog)


@pytest.fixture
def with_truth(catalog: Catalog, truth: Truth) -> Contents:
    return read_contents(catalog, truth)
