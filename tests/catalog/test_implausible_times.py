"""A catalog that holds times that no photo has can be read, and `db check --fix` makes them unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from support import catalog_world as world

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.catalog.check import faults_of, forget_implausible_times

YEAR_111 = datetime(111, 10, 4, 9, 22, tzinfo=UTC)


def test_times_that_no_photo_has_are_found_and_forgotten(catalog: Catalog) -> None:
    """On both back-ends; photos and anchors with sound times stay as they are."""
    world.fill(catalog, 5)
    sound, anchors = catalog.images(), catalog.anchors()
    bad = {"1000": YEAR_111, "1001": datetime(1970, 1, 1, tzinfo=UTC), "1002": datetime(2080, 1, 1, tzinfo=UTC)}
    catalog.upsert_images([replace(sound[name], captured_at=moment) for name, moment in bad.items()])
    catalog.upsert_anchors([replace(anchors["anchor-01"], captured_at=YEAR_111)])
    assert {name: catalog.images()[name].captured_at for name in bad} == bad
    assert [fault.split(" have")[0] for fault in faults_of(catalog.engine)] == ["3 images", "1 anchors"]
    assert forget_implausible_times(catalog) == 4
    assert faults_of(catalog.engine) == []
    found = catalog.images()
    assert {name for name, image in found.items() if image.captured_at is None} == set(bad)
    assert all(found[name].captured_at == sound[name].captured_at for name in sound.keys() - bad.keys())
    assert catalog.anchors()["anchor-01"].captured_at is None
    assert catalog.anchors()["anchor-02"].captured_at == anchors["anchor-02"].captured_at
    assert forget_implausible_times(catalog) == 0


@pytest.mark.parametrize("stored", ["111-10-04T09:22:00.000Z", "9-01-01T00:00:00.000Z", "nonsense"])
def test_a_file_of_an_earlier_version_is_read_and_repaired(tmp_path: Path, stored: str) -> None:
    """Years below 1000 were written without their zeros; no reader understood them again."""
    path = tmp_path / "old.gpkg"
    with Catalog.open(str(path), create=True) as catalog:
        world.fill(catalog, 3)
        catalog.record("run-a", world.results(3))
        sound = catalog.images()["1001"]
        with catalog.engine.begin() as connection:
            connection.execute(text("update image set captured_at = :at where image_id = '1000'"), {"at": stored})
    with Catalog.open(str(path)) as catalog:
        assert catalog.images()["1000"].captured_at is None
        assert len(list(catalog.current())) == 3
        assert list(catalog.tables())
    assert run(["db", "check", "--catalog", str(path)]) == 5
    assert run(["db", "check", "--fix", "--catalog", str(path)]) == 0
    with Catalog.open(str(path)) as catalog:
        assert catalog.images()["1000"].captured_at is None
        assert catalog.images()["1001"] == sound
