"""One image that the service cannot or will not answer for costs that image, never its neighbours or the night."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.harvest_support import Site, SiteFactory, graph_error, jpeg, street_image, town

from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest
from geocorrect.errors import ExitCode, RemoteError
from geocorrect.harvest.mapillary.metadata import FIELDS, read_image_record, stored_record
from geocorrect.harvest.report import HarvestReport

SMALL = {"width": 160, "height": 120}
NEW = [street_image(index, sequence, computed_rotation=..., **SMALL) for sequence in range(3) for index in range(20)]
"""Images that are not processed yet: each is due again on the next night."""

PICTURES = {image["id"]: jpeg(160, 120) for image in NEW}


def ids_of(report: HarvestReport) -> set[str]:
    return {hole.name for hole in report.holes if hole.kind == "image"}


def complete(here: Site, image_id: str) -> bool:
    image = here.sink.by_id[image_id]
    return (
        image.path is not None
        and image.path.is_file()
        and image.camera is not None
        and image.captured_at is not None
        and image.attribution.creator == "someone"
        and image.device_model == "Model"
    )


def test_ids_that_are_no_images_are_one_hole_each(site: SiteFactory) -> None:
    """Twice over: the second night refreshes good records, and they keep all they have."""
    here = site(NEW, files=dict(PICTURES))
    odd = {NEW[index]["id"]: kind for index, kind in ((5, "User"), (6, "MapFeature"), (45, "ImageCluster"))}
    here.service.data.other_types.update(odd)
    for _ in range(2):
        report = here.harvest(refresh_after_h=0.0)
        assert ids_of(report) == set(odd)
        assert report.exit_code is ExitCode.INCOMPLETE_HARVEST
        assert next(iter(odd)) in report.sentence()
        assert set(here.sink.by_id) == here.ids - set(odd)
        assert all(complete(here, image_id) for image_id in here.sink.by_id)


@pytest.mark.parametrize("failing", [[0], [3, 25, 59], list(range(20, 25))])
def test_images_that_always_fail_are_holes_and_the_next_night_repairs(site: SiteFactory, failing: list[int]) -> None:
    here = site(NEW, files=dict(PICTURES))
    bad = {NEW[index]["id"] for index in failing}
    here.service.data.failing |= bad
    report = here.harvest(max_tries=2)
    assert ids_of(report) == bad
    assert set(here.sink.by_id) == here.ids - bad
    # Alone they are due on the second night: nothing else answers for metadata, the service still is not down.
    assert ids_of(here.harvest(max_tries=3, max_consecutive_failures=5)) == bad
    here.service.data.failing.clear()
    assert here.harvest().exit_code is ExitCode.OK
    assert all(complete(here, image_id) for image_id in here.ids)


@pytest.mark.long
def test_a_night_with_both(site: SiteFactory) -> None:
    """All other photos are what they are without the bad ones; the holes are named; the second night repairs."""
    here, clean = (site(NEW, files=dict(PICTURES)) for _ in range(2))
    clean.folder = clean.folder.with_name("clean")
    clean.harvest()
    odd, failing = NEW[7]["id"], {NEW[index]["id"] for index in (8, 30, 51)}
    here.service.data.other_types[odd] = "User"
    here.service.data.failing |= failing
    report = here.harvest()
    assert ids_of(report) == {odd, *failing}
    for image_id, image in here.sink.by_id.items():
        twin = clean.sink.by_id[image_id]
        assert replace(image, path=None, harvested_at=None) == replace(twin, path=None, harvested_at=None)
    assert len(here.sink.by_id) == len(NEW) - 4
    here.service.data.failing.clear()
    here.service.data.other_types.clear()
    assert here.harvest().exit_code is ExitCode.OK
    assert set(here.sink.by_id) == here.ids == here.files()


@pytest.mark.long
def test_other_lasting_failures_of_one_image(site: SiteFactory) -> None:
    """The neighbours of a 5xx: cut JSON, NaN, a refusal, an error page."""
    replies = [
        FakeReply(200, b'{"data":[{"id"'),
        FakeReply(200, b'{"id":"1","altitude":NaN}'),
        FakeReply(502, b"<html>Bad gateway</html>"),
        graph_error(403, 10, "permission"),
        graph_error(400, 100, "Tried accessing nonexisting field (altitude) on node type (User)"),
    ]
    bad = {NEW[11 * index + 2]["id"]: reply for index, reply in enumerate(replies)}

    def rule(request: FakeRequest) -> FakeReply | None:
        asked = [request.path, *request.query.get("image_ids", "").split(",")] if request.role == "graph" else []
        return next((bad[image_id] for image_id in asked if image_id in bad), None)

    here = site(NEW, rule=rule, files=dict(PICTURES))
    assert ids_of(here.harvest(max_tries=2)) == set(bad)
    assert set(here.sink.by_id) == here.ids - set(bad)


def test_many_pictures_that_always_fail_do_not_end_a_night_that_has_nothing_else(site: SiteFactory) -> None:
    here = site(NEW[:20], files=dict(PICTURES), rule=lambda r: FakeReply(500) if r.role == "cdn" else None)
    for _ in range(2):
        assert len(here.harvest(max_tries=2, max_consecutive_failures=6).holes) == 20
    here.script.rule = None
    assert here.harvest().exit_code is ExitCode.OK
    assert here.files() == here.ids


def test_a_service_that_fails_on_every_image_ends_the_run(site: SiteFactory) -> None:
    here = site(town(6))
    here.service.data.failing |= here.ids
    with pytest.raises(RemoteError, match="in a row failed"):
        here.harvest(max_tries=1)


def test_a_field_that_is_gone_is_not_asked_for_and_stored_values_stay(site: SiteFactory) -> None:
    here = site(NEW, files=dict(PICTURES))
    here.harvest()
    before = dict(here.sink.by_id)
    gone = ("creator", "make", "camera_parameters", "captured_at")

    def rule(request: FakeRequest) -> FakeReply | None:
        first = next((name for name in request.query.get("fields", "").split(",") if name in gone), None)
        return first and graph_error(400, 100, f"Tried accessing nonexisting field ({first}) on node type (Image)")

    here.script.rule = rule
    report = here.harvest(refresh_after_h=0.0)
    assert not report.holes
    assert report.n_updated == len(NEW)
    for image_id, image in here.sink.by_id.items():
        assert replace(image, harvested_at=None) == replace(before[image_id], harvested_at=None)


def test_a_picture_that_cannot_be_had_again_stays(site: SiteFactory) -> None:
    """Refreshing a record, or asking for another size, never loses the picture of last night."""
    here = site(NEW[:6], files=dict(PICTURES))
    here.harvest()
    before = dict(here.sink.by_id)
    victim = NEW[2]["id"]
    picture = here.service.files.pop(victim)
    report = here.harvest(refresh_after_h=0.0, image_size="original")
    assert [(hole.kind, hole.name) for hole in report.holes] == [("picture", victim)]
    image = here.sink.by_id[victim]
    assert (image.path, image.sha256, image.camera) == (
        before[victim].path,
        before[victim].sha256,
        before[victim].camera,
    )
    here.service.files[victim] = picture
    assert not here.harvest(image_size="original").holes
    assert here.sink.by_id[victim].path != before[victim].path


def test_a_stored_image_says_what_its_record_said(site: SiteFactory) -> None:
    here = site([street_image(0), street_image(1, altitude=..., make=...)])
    here.harvest()
    for image in here.sink.by_id.values():
        assert image.harvested_at is not None
        record = {"id": image.id, **stored_record(image)}
        assert set(record) <= set(FIELDS)
        again = read_image_record(record, image.harvested_at)
        for name in (
            "reported",
            "computed",
            "captured_at",
            "heading_deg",
            "computed_heading_deg",
            "quality",
            "problem",
        ):
            assert repr(getattr(again, name)) == repr(getattr(image, name))
        assert again.attribution == image.attribution
