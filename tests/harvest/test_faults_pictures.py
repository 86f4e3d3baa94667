"""Everything that can happen to a picture on its way, replayed over real HTTP (rows 6–8b, 15, 16, 20)."""

from __future__ import annotations

import errno
import io
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from support.harvest_support import Site, SiteFactory, first, jpeg, street_image

from geocorrect.demo.mapillary_server.server import FakeReply, FakeRequest
from geocorrect.errors import ExitCode, OutputError, Reason, RemoteError
from geocorrect.geometry.frame import rotation_from_heading
from geocorrect.harvest.mapillary.download import best_url, picture_path, verified
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.io.pixels import read_image

WHOLE = jpeg(640, 480)
FEW = [street_image(index) for index in range(6)]
VICTIM = FEW[3]["id"]


def is_victim(request: FakeRequest) -> bool:
    return request.role == "cdn" and request.path.startswith(VICTIM)


def no_leftovers(here: Site) -> bool:
    return not list(here.folder.rglob("*.part"))


# --- row 6: stalls, trickles, resets ---


@pytest.mark.parametrize(
    "reply",
    [
        FakeReply(200, WHOLE, stall_s=1.5),
        FakeReply(200, WHOLE, byte_interval_s=0.05),
        FakeReply(200, WHOLE, cut_after=2000),
        FakeReply(200, WHOLE, cut_after=0),
        FakeReply(200, WHOLE, content_length=len(WHOLE) + 500),
    ],
    ids=["stall", "trickle", "reset", "nothing", "short read"],
)
def test_broken_transfer_is_tried_again(site: SiteFactory, reply: FakeReply) -> None:
    here = site(FEW, rule=first(1, reply, is_victim))
    started = time.monotonic()
    report = here.harvest(idle_timeout_s=0.5, download_deadline_s=0.7)
    assert time.monotonic() - started < 15
    assert here.files() == here.ids == set(here.sink.by_id)
    assert not report.holes
    assert no_leftovers(here)


def test_endless_trickle_ends_at_the_deadline_and_is_left_for_later(site: SiteFactory) -> None:
    trickle = FakeReply(200, WHOLE, byte_interval_s=0.1)
    here = site(FEW, rule=lambda r: trickle if is_victim(r) else None)
    report = here.harvest(download_deadline_s=0.3, max_tries=2)
    assert [(hole.kind, hole.name) for hole in report.holes] == [("picture", VICTIM)]
    assert report.exit_code is ExitCode.INCOMPLETE_HARVEST
    assert len([r for r in here.script.to("cdn") if is_victim(r)]) == 4, "two tries in each of two passes"
    image = here.sink.by_id[VICTIM]
    assert (image.path, image.problem) == (None, Reason.IMAGE_MISSING)
    here.script.rule = None
    assert here.harvest().exit_code is ExitCode.OK
    assert here.sink.by_id[VICTIM].problem is None
    assert here.sink.by_id[VICTIM].path is not None


def test_many_broken_pictures_do_not_stop_the_run(site: SiteFactory) -> None:
    images = [street_image(index) for index in range(30)]
    broken = {image["id"] for image in images[::3]}
    rule = lambda r: FakeReply(500) if r.role == "cdn" and r.path.split("/")[0] in broken else None  # noqa: E731
    here = site(images, rule=rule)
    report = here.harvest(max_tries=2, download_workers=1)
    assert {hole.name for hole in report.holes} == broken
    assert here.files() == here.ids - broken


# --- row 7: what is no picture ---


def progressive_without_end() -> bytes:
    out = io.BytesIO()
    PillowImage.open(io.BytesIO(WHOLE)).save(out, "JPEG", progressive=True)
    return out.getvalue()[:-2]


@pytest.mark.parametrize(
    "body",
    [
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-2],
        progressive_without_end(),
        b"",
        b"<html>Sorry</html>",
        b'{"error":{"message":"URL signature mismatch"}}',
        b"\xff\xd8" + b"\0" * 500 + b"\xff\xd9",
        jpeg(16, 8),
    ],
    ids=["half", "no end", "progressive", "empty", "html", "json", "no jpeg", "placeholder"],
)
def test_bad_picture_is_refused_and_asked_for_afresh(site: SiteFactory, body: bytes) -> None:
    here = site(FEW, rule=first(1, FakeReply(200, body), is_victim))
    report = here.harvest()
    assert here.files() == here.ids
    assert not report.holes
    assert report.requests["entity"] == 1, "a fresh URL, once"
    stored = here.sink.by_id[VICTIM].path
    assert stored is not None
    assert stored.read_bytes() == WHOLE


def test_picture_that_stays_bad_is_a_hole_and_no_file(site: SiteFactory) -> None:
    here = site(FEW, rule=lambda r: FakeReply(200, WHOLE[:3000]) if is_victim(r) else None)
    report = here.harvest()
    assert [hole.name for hole in report.holes] == [VICTIM]
    assert here.files() == here.ids - {VICTIM}
    assert no_leftovers(here)


# --- rows 8 and 8b: URLs ---


@pytest.mark.parametrize("status", [403, 404, 410])
def test_expired_url_is_renewed_once(site: SiteFactory, status: int) -> None:
    here = site(FEW, rule=first(1, FakeReply(status, b"URL signature expired"), is_victim))
    report = here.harvest()
    assert here.files() == here.ids
    assert report.requests["entity"] == 1
    assert here.service.tokens_sent_to_cdn == 0


def test_urls_that_really_expire(site: SiteFactory) -> None:
    here = site(FEW, url_lifetime_s=-1.0)
    report = here.harvest()
    assert {hole.kind for hole in report.holes} == {"picture"}
    assert len(here.script.to("cdn")) == 4 * len(FEW), "once, and once renewed, in each pass"
    here.service.url_lifetime_s = 60.0
    assert here.harvest().exit_code is ExitCode.OK


@pytest.mark.long
def test_host_that_refuses_everybody_ends_the_run(site: SiteFactory) -> None:
    images = [street_image(index) for index in range(90)]
    here = site(images, rule=lambda r: FakeReply(403, b"blocked") if r.role == "cdn" else None)
    with pytest.raises(RemoteError, match="refused 40 fresh addresses"):
        here.harvest()
    assert len(here.script.to("cdn")) < 2 * 40 + 20
    here.script.rule = None
    here.harvest()
    assert here.files() == here.ids


def test_missing_size_falls_to_the_next_smaller(site: SiteFactory) -> None:
    url = "https://cdn/x"
    assert best_url({"thumb_original_url": url, "thumb_1024_url": url}, "2048") == ("1024", url)
    assert best_url({"thumb_original_url": url}, "2048") is None
    assert best_url({"thumb_2048_url": None, "thumb_256_url": "ftp://x"}, "original") is None
    here = site(FEW)
    del here.service.files[VICTIM]
    report = here.harvest()
    assert [(hole.kind, hole.name) for hole in report.holes] == [("picture", VICTIM)]
    here.service.files[VICTIM] = WHOLE
    assert here.harvest().n_updated == 1
    assert here.files() == here.ids


def test_signed_urls_are_kept_nowhere(site: SiteFactory) -> None:
    here = site(FEW)
    here.harvest()
    assert all("oh=" not in repr(image) for image in here.sink.by_id.values())


# --- row 15: disk full, leftovers ---


def test_full_disk_is_an_output_error_and_leaves_no_half_file(
    site: SiteFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site(FEW)
    real = os.fsync

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            here.harvest()
    assert not here.files()
    assert no_leftovers(here)
    here.harvest()
    assert here.files() == here.ids


def test_leftovers_of_a_kill_are_cleaned(site: SiteFactory) -> None:
    here = site(FEW)
    stale = here.folder / "03" / f"{VICTIM}_2048.jpg.deadbeef.part"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(WHOLE[:100])
    here.harvest()
    assert not stale.exists()


# --- row 16: orientation against shape ---


def upright(code: int) -> bytes:
    """The raw 640×480 picture (bright on its left) as the service delivers it for an orientation code: upright."""
    raw = np.zeros((480, 640, 3), np.uint8)
    raw[:, :320] = 255
    out = io.BytesIO()
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[code]
    PillowImage.fromarray(np.ascontiguousarray(np.rot90(raw, turns))).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("code", [1, 3, 6, 8])
def test_delivered_upright_is_turned_back_to_the_sensor(site: SiteFactory, code: int) -> None:
    record = street_image(0, exif_orientation=code, computed_rotation=...)
    here = site([record], files={record["id"]: upright(code)})
    here.harvest()
    image = here.sink.by_id[record["id"]]
    assert image.problem is None
    assert image.path is not None
    assert image.camera is not None
    pixels = read_image(image.path, image.exif_orientation)
    assert pixels.shape[:2] == (image.camera.height, image.camera.width) == (480, 640)
    assert pixels[:, :200].min() > 200
    assert pixels[:, -200:].max() < 50


def test_shape_that_contradicts_the_orientation_is_quarantined(site: SiteFactory) -> None:
    record = street_image(0, exif_orientation=6, computed_rotation=...)
    here = site([record], files={record["id"]: WHOLE})
    here.harvest()
    image = here.sink.by_id[record["id"]]
    assert image.problem is Reason.ORIENTATION_AMBIGUOUS
    assert image.path is not None, "the raw file is kept"


@pytest.mark.parametrize("code", [2, 4, 5, 7, 9, "left"])
def test_mirrored_or_senseless_orientation_is_quarantined(site: SiteFactory, code: object) -> None:
    record = street_image(0, exif_orientation=code, computed_rotation=...)
    here = site([record])
    here.harvest()
    assert here.sink.by_id[record["id"]].problem is Reason.ORIENTATION_AMBIGUOUS


@pytest.mark.parametrize(
    ("size", "turn_deg", "is_usable"),
    [((640, 480), 0, True), ((640, 480), None, True), ((480, 640), 0, False), ((640, 480), 90, False)],
)
def test_unknown_orientation_is_upright_when_shape_and_gravity_agree(
    site: SiteFactory, size: tuple[int, int], turn_deg: float | None, is_usable: bool
) -> None:
    """Uploaders write 0 for unknown, and take it for 1."""
    turned = rotation_from_heading(90, 2.0, turn_deg or 0.0).inv().as_rotvec()
    record = street_image(0, exif_orientation=0, computed_rotation=... if turn_deg is None else list(turned))
    here = site([record], files={record["id"]: jpeg(*size)})
    here.harvest()
    image = here.sink.by_id[record["id"]]
    assert image.problem is (None if is_usable else Reason.ORIENTATION_AMBIGUOUS)
    assert image.provider["file_orientation"] == 1


def test_original_delivered_as_uploaded_with_its_tag_is_not_turned(site: SiteFactory) -> None:
    record = street_image(0, exif_orientation=6, computed_rotation=...)
    here = site([record], files={record["id"]: jpeg(640, 480, exif_orientation=6)})
    here.harvest(image_size="original")
    image = here.sink.by_id[record["id"]]
    assert (image.problem, image.exif_orientation) == (None, 1)
    assert image.provider["file_orientation"] == 6
    assert image.camera is not None
    assert (image.camera.width, image.camera.height) == (640, 480)


def test_half_turn_with_a_tag_left_in_the_file_cannot_be_decided(site: SiteFactory) -> None:
    record = street_image(0, exif_orientation=3, computed_rotation=...)
    here = site([record], files={record["id"]: jpeg(640, 480, exif_orientation=3)})
    here.harvest(image_size="original")
    assert here.sink.by_id[record["id"]].problem is Reason.ORIENTATION_AMBIGUOUS


# --- row 20: size caps, paths ---


def huge_header() -> bytes:
    """A small file whose header claims 60,000 × 60,000 pixels."""
    data = bytearray(jpeg(64, 64))
    marker = data.index(b"\xff\xc0")
    data[marker + 5 : marker + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def test_pixel_bomb_is_refused_before_decoding() -> None:
    with pytest.raises(RequestError, match="above the limit"):
        verified(huge_header())


def test_picture_above_the_size_cap_is_refused(site: SiteFactory) -> None:
    here = site(FEW, rule=lambda r: FakeReply(200, b"\xff\xd8" + bytes(3_000_000)) if is_victim(r) else None)
    report = here.harvest(max_image_mb=1.0)
    assert [hole.name for hole in report.holes] == [VICTIM]
    assert "larger than" in report.holes[0].why


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "12/34", "abc", "12\n", "1" * 40, "１２３"])
def test_no_path_is_built_from_anything_but_digits(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        picture_path(tmp_path, name, "2048")


def test_path_like_ids_and_keys_from_the_service_are_ignored(site: SiteFactory) -> None:
    here = site([*FEW, street_image(9, sequence_key=None) | {"sequence": "../evil"}])
    here.service.data.sequences["sequence-000"].append("../../evil")
    here.harvest()
    assert set(here.sink.by_id) == {image["id"] for image in FEW} | {street_image(9)["id"]}
    assert not list(here.folder.parent.rglob("*evil*"))
