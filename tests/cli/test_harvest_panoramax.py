"""`geocorrect harvest` from Panoramax, and around anchors, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import catalog_world as world
from support.harvest_support import jpeg
from support.panoramax_server import SOUTH, WEST, FakePanoramax, item, picture_id

from geocorrect.__main__ import run
from geocorrect.catalog.store import Catalog
from geocorrect.geometry.frame import Frame


@pytest.mark.long
def test_from_panoramax_around_the_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary) -> None:  # type: ignore[no-untyped-def]
    """Two anchors 5 m apart; a picture every 17 m: those within 50 m of an anchor, by harvest and job."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MAPILLARY_TOKEN", raising=False)
    with FakePanoramax([item(index) for index in range(40)], jpeg(64, 48)) as service:
        (tmp_path / "geocorrect.toml").write_text(
            f'[harvest]\nsource = "panoramax"\npanoramax_url = "{service.url}"\nrequests_per_s = 1000.0\n'
            "private_image_hosts = true\n"
            "[area]\naround_anchors_m = 50.0\n"
        )
        assert run(["harvest"]) == 5  # there is no catalog
        with Catalog.open(str(tmp_path / "corrections.gpkg"), create=True) as catalog:
            assert run(["harvest"]) == 3
            assert b"no anchors to harvest around; add some first" in capfdbinary.readouterr().err
            frame = Frame("street", WEST, SOUTH, 0.0)
            catalog.set_frame(frame)
            catalog.add_alignment(world.alignment())
            catalog.upsert_anchors(world.anchor(index, frame) for index in range(2))
        assert run(["harvest", "--json"]) == 0
        assert json.loads(capfdbinary.readouterr().out)["n_new"] == 4
        with Catalog.open(str(tmp_path / "corrections.gpkg")) as catalog:
            assert list(catalog.images()) == [picture_id(index) for index in range(4)]  # 0, 17, 33, 50 m
            assert catalog.images()[picture_id(1)].attribution.licence == "etalab-2.0"
            catalog.upsert_anchors([world.anchor(20, frame)])
        assert run(["run", "--json"]) == 3  # harvested, but these anchors have no pictures
        harvested = json.loads(capfdbinary.readouterr().out)["harvest"]
        assert (harvested["n_new"], harvested["n_unchanged"]) == (6, 4)  # new ones from 66 to 149 m
        assert run(["harvest", "--clusters"]) == 2
        assert run(["doctor", "--online"]) in (0, 4)
        said = capfdbinary.readouterr()
        assert f"{service.url} answers".encode() in said.out + said.err
