"""A small catalog with known numbers, one photo of which is named by somebody who means harm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geocorrect.catalog import Catalog
from geocorrect.records import Attribution
from geocorrect.report.truth import TruePlace, Truth
from support import catalog_world as world

COUNT = 20
HOSTILE = "1003"
CREATOR = "<script>document.title='owned'</script> 😀 \"O'Neil\" & sons"
SEQUENCE = "seq</script><img src=x onerror=document.title='owned'>"
DEVICE = "<b onclick=alert(1)>Cam</b>"


def fill_catalog(path: Path) -> None:
    with Catalog.open(str(path), create=True, clock=lambda: world.START) as catalog:
        world.fill(catalog, COUNT)
        hostile = replace(
            world.image(3),
            sequence_id=SEQUENCE,
            device_make=None,
            device_model=DEVICE,
            attribution=Attribution(CREATOR, "javascript:document.title='owned'", "CC <0>"),
        )
        catalog.upsert_images([hostile, world.image(COUNT)])
        catalog.record("run-a", [world.correction(3)])
        catalog.finish_run("run-a", duration_s=0.5)


def true_places(offset_east_m: float = 0.1) -> Truth:
    """The corrected places of catalog_world, shifted east: every true error is the offset."""
    places = {}
    for i in range(COUNT):
        lon, lat, height = world.ROME.wgs84_from_enu([5.0 * i + offset_east_m, -2.0, 1.8])
        places[f"{1000 + i}"] = TruePlace(float(lon), float(lat), float(height), 91.0, localisable=True)
    ring = [world.ROME.wgs84_from_enu([x, y, 0.0])[:2] for x, y in ((0, 5), (40, 5), (40, 15), (0, 15))]
    return Truth(places, (tuple((float(lon), float(lat)) for lon, lat in ring),))
