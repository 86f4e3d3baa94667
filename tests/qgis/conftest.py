"""QGIS, and what it is to open: the demo's output, and a catalog of known counts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import make_url
from support import catalog_world as world
from support import postgis_fixture
from support.demo_output import demo_output
from support.qgis_scene import SYSTEM_PYTHON, Scene

from geocorrect.catalog import Catalog
from geocorrect.catalog.postgis.roles import grant_roles
from geocorrect.export.qgis import LAYERS

INSTALL = "apt-get install --no-install-recommends qgis python3-qgis qgis-providers"
WORLD = {"current_correction": 20, "review_queue": 4, "rejected": 6, "displacement": 20, "error_ellipse": 20,
         "coverage": 20, "image": 30, "anchor": 31, "sequence_bias": 3}  # fmt: skip


@pytest.fixture(scope="session")
def _qgis() -> None:
    probe = subprocess.run([SYSTEM_PYTHON, "-c", "import qgis.core"], capture_output=True, check=False)
    if probe.returncode:
        message = f"QGIS is not installed: {INSTALL}"
        if os.environ.get("GEOCORRECT_REQUIRE_QGIS") == "1":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def demo_scene(tmp_path_factory: pytest.TempPathFactory, _qgis: None) -> Scene:
    """What the demo leaves."""
    copy = demo_output(tmp_path_factory.mktemp("qgis")) / "corrections.gpkg"
    with sqlite3.connect(copy) as read:
        counts = {layer.name: read.execute(f'select count(*) from "{layer.name}"').fetchone()[0] for layer in LAYERS}
    assert counts["current_correction"] > 0
    return Scene("demo", copy, counts)


@pytest.fixture(scope="session")
def world_scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    path = tmp_path_factory.mktemp("qgis") / "catalog.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        world.fill(catalog, 30)
    return Scene("world", path, WORLD)


@pytest.fixture(params=["demo", "world"])
def scene(request: pytest.FixtureRequest) -> Scene:
    found: Scene = request.getfixturevalue(f"{request.param}_scene")
    return found


@pytest.fixture
def as_reader(postgis_url: str) -> Iterator[str]:
    """Address of a fresh catalog in PostGIS for a person who may only look: a member of geocorrect_reader."""
    with Catalog.open(postgis_url, create=True) as catalog:
        grant_roles(catalog.engine)
    name = f"eye_{uuid4().hex[:8]}"
    postgis_fixture.execute(postgis_url, f"create role {name} login password 'looks' in role geocorrect_reader")
    try:
        url = make_url(postgis_url).set(username=name, password="looks")
        yield url.render_as_string(hide_password=False)
    finally:
        postgis_fixture.execute(postgis_url, f"drop role {name}")
