"""Real QGIS reads a running server: OGC API – Features by its address, without any secret, and vector tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import catalog_world as world
from support.qgis_scene import in_qgis
from support.served import TOKEN, served

from geocorrect.catalog import Catalog
from geocorrect.serve.city.ogc import COLLECTIONS
from geocorrect.serve.state import ServeSettings

pytestmark = [pytest.mark.qgis, pytest.mark.usefixtures("_qgis")]
COUNTS = {"corrections": 20, "review": 4, "rejected": 6, "anchors": 31}


def test_collections_load_by_their_address(tmp_path: Path) -> None:
    with Catalog.open(str(tmp_path / "catalog.gpkg"), create=True) as catalog:
        world.fill(catalog, 30)
        with served(ServeSettings(catalog, TOKEN)) as running:
            # Seven features a page: QGIS has to follow the links.
            source = f"url='{running.origin}/ogc' typename='{{}}' pageSize='7' maxNumFeatures='1000'"
            layers = [("OAPIF", source.format(name), name) for name in COLLECTIONS]
            found = {layer["name"]: layer for layer in in_qgis(tmp_path, layers, None)["layers"]}
    assert found.keys() == COUNTS.keys()
    for name, layer in found.items():
        assert layer["valid"], layer
        assert layer["count"] == COUNTS[name]
        assert layer["crs"] in ("OGC:CRS84", "EPSG:4326")  # QGIS 3.22 has one name for both
        assert set(COLLECTIONS[name].properties) <= set(layer["fields"])
        assert Path(layer["picture"]).stat().st_size > 0
