"""Styles in the catalog: ours are found by QGIS, and a person's own choice stays."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from geocorrect.catalog import Catalog
from geocorrect.catalog.views.qml import STYLED


def of_layer(connection: Connection, layer: str) -> dict[str, bool]:
    """Name of each style of a layer, and whether it is the default."""
    rows = connection.execute(
        text("select stylename, useasdefault from layer_styles where f_table_name = :layer"), {"layer": layer}
    )
    return {name: bool(default) for name, default in rows}


def make_due(connection: Connection) -> None:
    connection.execute(text("update geocorrect_version set made_from = 'other styles'"))


def test_ours_is_the_default_where_nobody_has_chosen(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        assert {layer: of_layer(connection, layer) for layer in STYLED} == {key: {"geocorrect": True} for key in STYLED}


@pytest.mark.parametrize("qgis_took_ours_off", [True, False])
def test_a_users_default_stays_across_an_upgrade(catalog: Catalog, catalog_url: str, qgis_took_ours_off: bool) -> None:
    with catalog.engine.begin() as connection:
        columns = "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleqml, useasdefault"
        connection.execute(
            text(
                f"insert into layer_styles ({columns}, stylename) select {columns}, 'mine' from layer_styles "
                "where f_table_name = 'rejected'"
            )
        )
        if qgis_took_ours_off:
            connection.execute(
                text(
                    "update layer_styles set useasdefault = :no where f_table_name = 'rejected' and stylename <> 'mine'"
                ),
                {"no": False},
            )
        # One who wants no style at all has said so too.
        connection.execute(
            text("update layer_styles set useasdefault = :no where f_table_name = 'image'"), {"no": False}
        )
        connection.execute(text("delete from layer_styles where f_table_name = 'anchor'"))
        make_due(connection)
    catalog.close()
    with Catalog.open(catalog_url, create=True) as again, again.engine.connect() as connection:
        assert of_layer(connection, "rejected") == {"mine": True, "geocorrect": False}
        assert of_layer(connection, "image") == {"geocorrect": False}
        assert of_layer(connection, "anchor") == {"geocorrect": True}
        assert of_layer(connection, "coverage") == {"geocorrect": True}


def test_an_upgrade_brings_our_new_look(catalog: Catalog, catalog_url: str) -> None:
    with catalog.engine.begin() as connection:
        connection.execute(text("update layer_styles set styleqml = '<qgis/>'"))
        make_due(connection)
    catalog.close()
    with Catalog.open(catalog_url, create=True) as again, again.engine.connect() as connection:
        written = connection.execute(text("select styleqml from layer_styles")).scalars().all()
        assert len(written) == len(STYLED)
        assert all("renderer" in str(document) for document in written)
