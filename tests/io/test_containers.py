"""Where pictures end, told in a time that depends on their length only."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image as PillowImage

from geocorrect.io.containers import outline_of

MEGABYTES = 8_000_000


def picture(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    PillowImage.fromarray(noise).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        picture("JPEG"),
        picture("JPEG", progressive=True),
        picture("JPEG", restart_marker_blocks=1),
        picture("JPEG", comment=b"\xff\xd9 no end \xff\xda"),
        picture("PNG"),
    ],
    ids=["baseline", "progressive", "restarts", "end marker in a comment", "png"],
)
def test_the_end_is_that_of_the_picture(data: bytes) -> None:
    for behind in (b"", bytes(100), b"\xff\xd9", data):
        outline = outline_of(data + behind)
        assert outline is not None
        assert outline.end == len(data)
    for cut in (len(data) - 1, len(data) // 2, 20):
        with pytest.raises(ValueError, match="truncated"):
            outline_of(data[:cut])


def test_only_progressive_pictures_say_their_pixels() -> None:
    pixels = [getattr(outline_of(data), "progressive_pixels", None) for data in (
        picture("JPEG"), picture("JPEG", progressive=True), picture("PNG"), picture("WEBP"),
    )]  # fmt: skip
    assert pixels == [0, 2400, 0, None]


def test_padding_between_segments_is_accepted() -> None:
    data = picture("JPEG")
    start = data.index(b"\xff\xc0")
    for padding in (bytes(7), b"\xff" * 7):
        outline = outline_of(data[:start] + padding + data[start:])
        assert outline is not None
        assert outline.end == len(data) + 7


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * MEGABYTES,
        b"\xff\xd8" + bytes(MEGABYTES),
        b"\xff\xd8" + b"\xff\xe0\0\2" * (MEGABYTES // 4),
        b"\xff\xd8\xff\xda\0\2" + b"\xff" * MEGABYTES,
        b"\xff\xd8\xff\xda\0\2" + b"\xff\0" * (MEGABYTES // 2),
        b"\xff\xd8" + b"\xff\xda\0\2" * (MEGABYTES // 4),
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0tEXt\0\0\0\0" * (MEGABYTES // 12),
        b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xffIDAT",
    ],
)
def test_bytes_that_only_cost_time_cost_little(data: bytes) -> None:
    started_s = time.process_time()
    with pytest.raises(ValueError, match=r"truncated|damaged|scans"):
        outline_of(data)
    assert time.process_time() - started_s < 1.0
