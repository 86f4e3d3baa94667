"""Where a JPEG or PNG ends, and what it would cost to decode: told from its markers, without decoding anything.

A camera may append what it likes (motion photo, trailer of the maker, padding): the primary picture's own end decides
whether the file is whole. JPEG: ITU-T T.81, annex B; PNG: https://www.w3.org/TR/png-3/#5Chunk-layout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_SCANS = 64
"""Progressive pictures of real encoders have about ten scans; hundreds only keep the decoder busy."""

_MOST_PARTS = 100_000
"""Segments or chunks; more of them only keep a reader busy."""

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END = 0xDA, 0xD9


@dataclass(frozen=True)
class Outline:
    """What the markers of a picture say."""

    end: int
    """Number of bytes up to the end of the primary picture."""
    progressive_pixels: int = 0
    """Of a progressive JPEG, whose decoder keeps the coefficients of the whole picture in memory; 0 of others."""


def outline_of(data: bytes) -> Outline | None:
    """The outline of a JPEG or PNG, None for any other format; ValueError saying what is missing."""
    if data.startswith(_JPEG):
        return _jpeg(data)
    return _png(data) if data.startswith(_PNG) else None


def _jpeg(data: bytes) -> Outline:
    position, n_scans, pixels = 2, 0, 0
    for _ in range(_MOST_PARTS):
        # What stands between two segments is padding, as every decoder takes it.
        found = (_MARKER_IN_SCAN if n_scans else _MARKER).search(data, position)
        if found is None:
            raise ValueError(f"truncated JPEG ({len(data)} bytes, no end marker)")
        code, position = data[found.end() - 1], found.end()
        if code == _END:
            return Outline(position, pixels)
        if code in _BARE:
            continue
        if code in _PROGRESSIVE:
            height, width = (int.from_bytes(data[position + at : position + at + 2], "big") for at in (3, 5))
            pixels = height * width
        position += max(int.from_bytes(data[position : position + 2], "big"), 2)
        n_scans += code == _START_OF_SCAN
        if n_scans > MAX_SCANS:
            raise ValueError(f"JPEG with more than {MAX_SCANS} scans")
    raise ValueError(f"damaged JPEG (more than {_MOST_PARTS} segments)")


def _png(data: bytes) -> Outline:
    position = len(_PNG)
    for _ in range(_MOST_PARTS):
        if position + 12 > len(data):
            raise ValueError(f"truncated PNG ({len(data)} bytes, no end chunk)")
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        position += 12 + length
        if kind == b"IEND" and position <= len(data):
            return Outline(position)
    raise ValueError(f"damaged PNG (more than {_MOST_PARTS} chunks)")
