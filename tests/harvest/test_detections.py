"""What the service detects becomes masks beside the pictures, and matches on vehicles are dropped; over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.harvest_support import Site, SiteFactory, jpeg, street_image

from geocorrect.api.photo import PhotoLocalizer
from geocorrect.config import Settings
from geocorrect.demo.mapillary_server.answers import detection
from geocorrect.demo.mapillary_server.server import FakeReply
from geocorrect.geometry.pose import Pose
from geocorrect.harvest.mapillary.detections import MASKS, DetectionReport, harvest_detections, mask_path, outlines_of
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.io.masks import mask_beside
from geocorrect.localize.correct import observe
from geocorrect.localize.options import LocalizeOptions, VerifyOptions
from geocorrect.records import Anchor, AnchorView, DepthMap, Image, Matches, Query

CAR = [(0.5, 0.25), (1.0, 0.25), (1.0, 0.75), (0.5, 0.75)]
"""The right half of the middle rows."""
SKY = [(0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (0.0, 0.2)]
FOUND = [detection("object--vehicle--car", CAR), detection("nature--sky", SKY)]


def harvested(site: SiteFactory, *images: dict[str, object], **service: object) -> tuple[Site, list[Image]]:
    here = site(list(images), **service)
    here.harvest()
    return here, sorted(here.sink.by_id.values(), key=lambda image: image.id)


def fetch(here: Site, images: list[Image]) -> tuple[DetectionReport, int]:
    """The report and the number of requests that it took."""
    with here.client(max_tries=2) as client:
        return harvest_detections(client, images), sum(client.n_requests.values())


def test_matches_on_a_detected_vehicle_are_dropped(site: SiteFactory) -> None:
    here, (image,) = harvested(site, street_image(0))
    here.service.data.detections[image.id] = FOUND
    report, requests = fetch(here, [image])
    assert (report.n_photos, report.n_outlines, report.failures, requests) == (1, 1, [], 1)

    used, unused = (settings_with(masks) for masks in (MASKS, ""))
    photo = read(used, image)
    assert photo.mask is not None
    rows, columns = np.nonzero(~photo.mask)
    # 640×480: columns 319.5…639.5, rows 119.5…359.5, rounded to pixels.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (320, 639, 120, 360)

    assert read(unused, image).mask is None
    left, right = in_half(photo, 0.0, 300.0), in_half(photo, 340.0, 620.0)
    for query, kept in ((photo, left), (read(unused, image), left + right)):
        assert len(seen(query, left + right)) == len(kept)


def settings_with(masks: str) -> LocalizeOptions:
    return LocalizeOptions(verify=VerifyOptions(masks=masks))


def read(options: LocalizeOptions, image: Image) -> Query:
    settings = Settings().model_copy(update={"localize": options})
    query = PhotoLocalizer(settings).read(image, np.zeros(3), 0.0)
    assert isinstance(query, Query)
    return query


def in_half(query: Query, low: float, high: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Matches of points between two columns and in the rows of the car, with an anchor a metre to the left."""
    rng = np.random.default_rng(1)
    px = np.column_stack([rng.uniform(low, high, 40), rng.uniform(130, 350, 40)])
    points = query.camera.unproject(px) * rng.uniform(8, 30, 40)[:, None]
    return list(zip(px, query.camera.project(points + np.array([1.0, 0.0, 0.0]))[0], strict=True))


def seen(query: Query, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    anchor = Anchor("a", "d", Path("none"), query.camera, Pose.identity(), "s")
    query_px, anchor_px = (np.array(side, np.float32) for side in zip(*pairs, strict=True))
    depth = DepthMap("none", False, samples_px=np.zeros((0, 2), np.float32), samples_z_m=np.zeros(0, np.float32))
    matches = Matches(query_px, anchor_px, np.ones(len(pairs), np.float32))
    return observe(query, AnchorView(anchor, query.pixels), matches, depth, LocalizeOptions(), 0, None).query_px


def test_a_turned_picture_is_masked_where_the_service_shows_it(site: SiteFactory) -> None:
    """Outlines are of the upright picture, as it is delivered; the camera's raster is the sensor's."""
    record = street_image(0, exif_orientation=6)
    here, (image,) = harvested(site, record, files={record["id"]: jpeg(480, 640)})
    assert image.path is not None
    here.service.data.detections[image.id] = [detection("human--person--individual", CAR)]
    fetch(here, [image])
    mask = mask_beside(image.path, MASKS, image.exif_orientation)
    assert mask is not None
    assert mask.shape == (480, 640)
    # Upright right is the sensor's top; upright middle rows are the sensor's middle columns.
    rows, columns = np.nonzero(~mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 239, 160, 480)


def test_asked_once_and_again_only_while_nothing_is_known(site: SiteFactory) -> None:
    here, images = harvested(site, street_image(0), street_image(1))
    looked_at, waiting = images
    here.service.data.detections[looked_at.id] = [detection("nature--sky", SKY)]
    report, requests = fetch(here, images)
    assert (report.n_photos, report.n_outlines, report.n_waiting, requests) == (1, 0, 1, 2)
    assert "1 photos without any detection yet" in report.sentence()
    assert looked_at.path is not None
    assert json.loads(mask_path(looked_at.path).read_text()) == {"ignore": []}
    assert waiting.path is not None
    assert not mask_path(waiting.path).exists()
    assert fetch(here, images)[1] == 1


def test_no_answer_and_no_outline_leave_no_mask_and_are_named(site: SiteFactory) -> None:
    here, images = harvested(site, *(street_image(n) for n in range(3)))
    spoilt, silent, good = images
    here.service.data.detections = {
        spoilt.id: [*FOUND, {"value": "object--vehicle--bus", "geometry": "bm90IGEgdGlsZQ=="}], good.id: FOUND,
    }  # fmt: skip
    here.script.rule = lambda request: FakeReply(500) if f"{silent.id}/detections" in request.path else None
    report, _ = fetch(here, images)
    assert report.n_photos == 1
    assert [failure.split(":")[0] for failure in report.failures] == [f"image {spoilt.id}", f"image {silent.id}"]
    assert [image.path is not None and mask_path(image.path).exists() for image in images] == [False, False, True]


@pytest.mark.parametrize("geometry", [None, "", "%%%", "AAAA", "Z2VvbWV0cnk="])
def test_hostile_outlines_are_refused(geometry: object) -> None:
    with pytest.raises(RequestError, match="outline cannot be read"):
        outlines_of({"value": "human", "geometry": geometry}, 640, 480)


def test_the_masks_of_an_opensfm_project_are_found(tmp_path: Path) -> None:
    import cv2

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    picture = np.full((4, 6, 3), 255, np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "01.jpg"), picture)
    picture[:, :2] = 0
    cv2.imwrite(str(tmp_path / "masks" / "01.jpg.png"), picture)
    mask = mask_beside(tmp_path / "images" / "01.jpg", "masks")
    assert mask is not None
    assert np.array_equal(mask, picture.any(axis=2))
