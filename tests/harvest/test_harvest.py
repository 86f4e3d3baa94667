"""The plain path: an area over real HTTP into files and records, complete, repeatable, resumable."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from support.harvest_support import SiteFactory, jpeg, street_image, town

from geocorrect.catalog import schema
from geocorrect.catalog.store import Catalog
from geocorrect.errors import ConfigError, ExitCode, OutputError, Reason, SceneBusyError
from geocorrect.harvest.area import Area
from geocorrect.harvest.harvest import run_harvest
from geocorrect.io.checksum import sha256_of
from geocorrect.io.file_lock import locked_file
from geocorrect.io.pixels import read_image
from geocorrect.records import MetadataQuality


def test_everything_arrives_with_cameras_of_the_delivered_pixels(site: SiteFactory) -> None:
    here = site()
    report = here.harvest()
    assert set(here.sink.by_id) == here.files() == here.ids
    assert report.exit_code is ExitCode.OK
    assert report.n_new == len(here.ids)
    assert not report.problems
    image = here.sink.by_id["1000000000000003"]
    assert image.path is not None
    assert image.camera is not None
    pixels = read_image(image.path, image.exif_orientation)
    assert pixels.shape == (image.camera.height, image.camera.width, 3)
    assert image.camera.focal_x_px == pytest.approx(0.8 * 640)
    assert image.sha256 == sha256_of(image.path)
    assert image.attribution.creator == "someone"
    assert "pKey=1000000000000003" in image.attribution.page_url
    assert image.attribution.licence == "CC BY-SA 4.0"
    assert image.quality is MetadataQuality.SFM
    assert image.problem is None
    assert here.service.tokens_sent_to_cdn == 0


def test_second_run_asks_only_for_tiles(site: SiteFactory) -> None:
    here = site()
    here.harvest()
    before = dict(here.sink.by_id)
    report = here.harvest()
    assert set(report.requests) == {"check", "tile"}
    assert report.n_stored == 0
    assert report.n_unchanged == len(here.ids)
    assert here.sink.by_id == before


def test_new_sequence_is_found_without_asking_for_the_old_ones(site: SiteFactory) -> None:
    images = town(2)
    here = site(images)
    here.harvest()
    new = [street_image(index, 2) for index in range(5)]
    here.service.data.__init__([*images, *new])  # type: ignore[misc]
    here.service.files.update({image["id"]: jpeg(640, 480) for image in new})
    here.service._tiles.clear()
    report = here.harvest()
    assert report.n_new == 5
    assert report.requests["sequence"] == 1
    assert report.requests["picture"] == 5


def test_late_computed_fields_are_picked_up(site: SiteFactory) -> None:
    images = [street_image(0, computed_geometry=..., computed_rotation=...), street_image(1)]
    here = site(images)
    here.harvest()
    raw = here.sink.by_id[images[0]["id"]]
    assert raw.quality is MetadataQuality.RAW_ONLY
    assert raw.computed is None
    here.service.data.__init__([street_image(0), images[1]])  # type: ignore[misc]
    assert here.harvest().n_stored == 0, "too young to be asked again"
    here.sink.by_id[raw.id] = replace(raw, harvested_at=datetime.now(UTC) - timedelta(days=2))
    report = here.harvest()
    now = here.sink.by_id[raw.id]
    assert report.n_updated == 1
    assert report.requests["picture"] == 0
    assert now.quality is MetadataQuality.SFM
    assert now.computed is not None


def test_what_the_provider_said_before_is_kept_in_the_catalog(site: SiteFactory, tmp_path: Path) -> None:
    here = site([street_image(0, computed_geometry=..., computed_rotation=...)])
    with Catalog.open(str(tmp_path / "history.gpkg"), create=True) as catalog:
        harvest = partial(
            run_harvest, here.options(refresh_after_h=0.0), here.plan(), catalog, token=here.service.token
        )
        harvest()
        here.service.data.__init__([street_image(0)])  # type: ignore[misc]
        harvest()
        moved = {"type": "Point", "coordinates": [12.50001, 41.9]}
        here.service.data.__init__([street_image(0, computed_geometry=moved)])  # type: ignore[misc]
        harvest()
        (image,) = catalog.images().values()
        with catalog.engine.connect() as connection:
            query = select(schema.image_history.c.quality).order_by(schema.image_history.c.fid)
            history = [str(quality) for quality in connection.execute(query).scalars()]
    assert image.quality is MetadataQuality.SFM
    # A reconstructed image is not asked for again: its pose is final for the provider too.
    assert history == ["raw_only"]


def test_lost_or_spoilt_files_are_fetched_again(site: SiteFactory) -> None:
    here = site()
    here.harvest()
    lost = here.sink.by_id["1000000000000003"]
    assert lost.path is not None
    lost.path.unlink()
    report = here.harvest()
    assert report.requests["picture"] == 1
    assert lost.path.is_file()


def test_catalog_lost_files_kept_downloads_nothing(site: SiteFactory) -> None:
    here = site()
    here.harvest()
    before = dict(here.sink.by_id)
    here.sink.by_id.clear()
    report = here.harvest()
    assert report.requests["picture"] == 0
    assert report.n_new == len(here.ids)
    assert {key: image.sha256 for key, image in here.sink.by_id.items()} == {
        key: image.sha256 for key, image in before.items()
    }


def test_spoilt_file_without_record_is_replaced(site: SiteFactory) -> None:
    here = site()
    here.harvest()
    image = here.sink.by_id.pop("1000000000000003")
    assert image.path is not None
    image.path.write_bytes(image.path.read_bytes()[:200])
    assert here.harvest().requests["picture"] == 1
    assert sha256_of(image.path) == image.sha256


@pytest.mark.long
def test_another_picture_size_is_downloaded_and_described(site: SiteFactory) -> None:
    here = site()
    here.harvest()
    report = here.harvest(image_size="256")
    assert report.requests["picture"] == len(here.ids)
    image = here.sink.by_id["1000000000000003"]
    assert image.camera is not None
    assert (image.camera.width, image.camera.height) == (256, 192)
    assert image.camera.focal_x_px == pytest.approx(0.8 * 256)


def test_area_is_a_polygon_and_sequences_reach_beyond_it(site: SiteFactory) -> None:
    here = site()
    triangle = {
        "type": "Polygon",
        "coordinates": [[[12.4999, 41.8999], [12.50105, 41.8999], [12.4999, 41.901], [12.4999, 41.8999]]],
    }
    here.area = Area.from_geojson(triangle)
    report = here.harvest()
    expected = {
        image_id
        for image_id, image in here.service.data.images.items()
        if here.area.contains(*image["geometry"]["coordinates"])
    }
    assert set(here.sink.by_id) == expected
    assert 5 < len(expected) < 40
    assert report.n_outside == report.n_ids - len(expected)


def test_image_inside_by_computed_position_only(site: SiteFactory) -> None:
    far = {"type": "Point", "coordinates": [12.5 - 0.0015, 41.9]}
    here = site([street_image(0, geometry=far), street_image(1, geometry=far, computed_geometry=...)])
    here.harvest()
    assert set(here.sink.by_id) == {"1000000000000000"}


def test_since_and_limit(site: SiteFactory) -> None:
    here = site()
    since = datetime.fromtimestamp(1_600_002_000, UTC)
    report = here.harvest({"since": since, "limit": 7})
    assert report.n_stored == 7
    report = here.harvest({"since": since})
    assert set(here.sink.by_id) == {image_id for image_id in here.ids if image_id.startswith("1000000000002")}
    assert report.n_new == 13


def test_dry_run_counts_and_stores_nothing(site: SiteFactory) -> None:
    here = site()
    report = here.harvest({"dry_run": True})
    assert report.n_sequences == 3
    assert report.n_coverage_points == len(here.ids)
    assert not here.folder.exists()
    assert not here.sink.by_id
    assert set(report.requests) == {"check", "tile"}


def test_runs_of_zero_compass_are_unknown(site: SiteFactory) -> None:
    images = [street_image(index, compass_angle=0 if index > 1 else 90.0) for index in range(6)]
    images += [street_image(index, 1, compass_angle=0.0 if index == 2 else 90.0) for index in range(6)]
    here = site(images)
    here.harvest()
    headings = {image_id: image.heading_deg for image_id, image in here.sink.by_id.items()}
    assert np.isnan([headings[images[index]["id"]] for index in range(2, 6)]).all()
    assert headings[images[0]["id"]] == 90.0
    assert headings[images[8]["id"]] == 0.0


def test_missing_token_names_the_variable(site: SiteFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site()
    monkeypatch.delenv("MAPILLARY_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="MAPILLARY_TOKEN"):
        run_harvest(here.options(), here.plan(), here.sink)
    monkeypatch.setenv("MAPILLARY_TOKEN", here.service.token)
    assert run_harvest(here.options(), here.plan(), here.sink).n_new == len(here.ids)


def test_unwritable_folder_is_an_output_error(site: SiteFactory) -> None:
    here = site()
    here.folder.parent.joinpath("images").write_text("a file, not a folder")
    with pytest.raises(OutputError, match="images"):
        here.harvest()


@pytest.mark.long
def test_two_harvests_into_one_folder_do_not_meet(site: SiteFactory) -> None:
    here = site()
    lock = here.plan().lock_path
    lock.parent.mkdir(parents=True)
    with locked_file(lock, str(os.getpid())), pytest.raises(SceneBusyError, match=str(os.getpid())):
        here.harvest()
    assert here.harvest().n_new == len(here.ids)


def test_position_missing_is_kept_with_its_problem(site: SiteFactory) -> None:
    nowhere = street_image(1, geometry=..., computed_geometry=...)
    here = site([street_image(0), nowhere])
    here.harvest()
    assert here.sink.by_id[nowhere["id"]].problem is Reason.POSITION_MISSING
