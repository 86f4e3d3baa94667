"""Which files are photos, which of them are whole, and how large they may be."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from support.harvest_support import jpeg
from support.photos import photo

from geocorrect.errors import InputError, Reason
from geocorrect.harvest.local import listing
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.folder import import_folder
from geocorrect.harvest.mapillary.download import verified
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.io.containers import MAX_SCANS
from geocorrect.io.pixels import MAX_PIXELS, image_size, read_image, whole_image_sha256

VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20
TRAILERS = [VIDEO, bytes(5000), b"\xff\xd8 a thumbnail \xff\xd9" + bytes(100), b"\n", b"SEFT" + b"\xff" * 300]


def png(width: int = 64, height: int = 48) -> bytes:
    out = io.BytesIO()
    PillowImage.open(io.BytesIO(jpeg(width, height))).save(out, "PNG")
    return out.getvalue()


def progressive(n_scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    out = io.BytesIO()
    PillowImage.open(io.BytesIO(jpeg(64, 48))).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n_scans + b"\xff\xd9"


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("whole", [jpeg(64, 48), progressive(1), png()], ids=["baseline", "progressive", "png"])
def test_what_follows_the_end_does_not_matter(tmp_path: Path, whole: bytes, trailer: bytes) -> None:
    path = tmp_path / "motion.jpg"
    path.write_bytes(whole + trailer)
    assert read_image(path).shape == (48, 64, 3)
    assert whole_image_sha256(path)
    assert read_photo(path, "a").problem is Reason.POSITION_MISSING
    if whole.startswith(b"\xff\xd8"):
        assert verified(whole + trailer).size == (64, 48)


@pytest.mark.parametrize("whole", [jpeg(64, 48), progressive(1), png()], ids=["baseline", "progressive", "png"])
@pytest.mark.parametrize("behind", [b"", bytes(5000), VIDEO])
def test_a_cut_picture_is_cut_whatever_follows(tmp_path: Path, whole: bytes, behind: bytes) -> None:
    path = tmp_path / "cut.jpg"
    for length in (len(whole) // 2, len(whole) - 12, len(whole) - 1):
        path.write_bytes(whole[:length] + (behind if length < len(whole) - 1 else b""))
        with pytest.raises(InputError, match=r"cut\.jpg"):
            read_image(path)


@pytest.mark.parametrize("n_scans", [MAX_SCANS + 1, 400, 3000])
def test_hundreds_of_scans_are_refused_unread(tmp_path: Path, n_scans: int) -> None:
    path = tmp_path / "scans.jpg"
    path.write_bytes(progressive(n_scans))
    with pytest.raises(InputError, match="scans"):
        read_image(path)
    with pytest.raises(RequestError, match="scans"):
        verified(path.read_bytes())
    assert read_photo(path, "a").problem is Reason.IMAGE_UNREADABLE
    path.write_bytes(progressive(3))
    assert read_image(path).shape == (48, 64, 3)


def test_a_file_of_a_format_that_starts_programs_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n%%EOF\n")
    for read in (read_image, image_size):
        with pytest.raises(InputError, match="not a readable image"):
            read(path)


def with_size(width: int, height: int, data: bytes) -> bytes:
    """A JPEG that claims another size."""
    changed = bytearray(data)
    start = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    changed[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(changed)


def test_one_limit_on_pixels_and_no_other(tmp_path: Path) -> None:
    """Pillow warns at 89 megapixels and fails at 179; ours is the one that counts, and it is stated."""
    path = tmp_path / "large.jpg"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for width, height in ((13_400, 10_000), (17_000, 17_000)):
            path.write_bytes(with_size(width, height, jpeg(64, 48)))
            assert image_size(path) == (width, height)
            assert read_photo(path, "a").problem is Reason.POSITION_MISSING
    for width, height, data in ((20_000, 16_000, jpeg(64, 48)), (60_000, 60_000, jpeg(64, 48))):
        path.write_bytes(with_size(width, height, data))
        for read in (read_image, image_size, whole_image_sha256):
            with pytest.raises(InputError, match=f"above the limit of {MAX_PIXELS}"):
                read(path)
    path.write_bytes(with_size(13_400, 10_000, progressive(1)))
    with pytest.raises(InputError, match="progressive"):
        read_image(path)


@pytest.mark.slow
def test_a_whole_picture_above_pillows_limit_is_read(tmp_path: Path) -> None:
    """A PNG of 180 megapixels that packs into little: as a grey picture it costs the test 0.5 GB."""
    path = tmp_path / "large.png"
    PillowImage.fromarray(np.zeros((9_000, 20_000), np.uint8)).save(path, compress_level=1)
    assert read_image(path).shape == (9_000, 20_000, 3)


JUNK = [
    "._IMG.jpg",
    ".thumbnails/a.jpg",
    ".Trash-1000/files/a.jpg",
    "__MACOSX/a.jpg",
    "@eaDir/a.jpg",
    "Thumbnails/a.jpg",
]


def test_junk_is_left_out_and_every_skipped_picture_is_counted(tmp_path: Path) -> None:
    for name in (*JUNK, "a.jpg", "deep/b.jfif", "c.jpe", "d.webp", "e.PNG", "f.heic", "g.tif"):
        photo(tmp_path / name)
    for name in ("raw.DNG", "scan.bmp", "old.gif"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    found = import_folder(tmp_path)
    assert {image.id for image in found.images} == {
        "a.jpg",
        "deep/b.jfif",
        "c.jpe",
        "d.webp",
        "e.PNG",
        "f.heic",
        "g.tif",
    }
    for image in found.images:
        assert image.path is not None
        if image.id == "g.tif":  # Pillow writes no GPS into a TIFF
            continue
        assert image.problem is None, image.id
        assert image.reported is not None
        assert image.reported.lon_deg == pytest.approx(12.501)
        assert read_image(image.path).shape == (48, 64, 3)
    skipped = {Path(name).relative_to(tmp_path).as_posix(): why for name, why in found.skipped}
    assert set(skipped) == {*JUNK, "raw.DNG", "scan.bmp", "old.gif"}
    assert ".dng" in skipped["raw.DNG"]


def test_heic_without_its_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.heic")
    monkeypatch.setattr(listing, "reads_heif", lambda: False)
    [(name, why)] = import_folder(tmp_path).skipped
    assert name.endswith("b.heic")
    assert "geocorrect[heif]" in why


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.int32), np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint16)]
)
def test_a_height_raster_is_no_photo(tmp_path: Path, pixels: np.ndarray) -> None:
    photo(tmp_path / "a.jpg")
    PillowImage.fromarray(pixels).save(tmp_path / "dem.tif")
    found = import_folder(tmp_path)
    assert [image.id for image in found.images] == ["a.jpg"]
    assert "no photo" in found.skipped[0][1]
