"""Where a JPEG or PNG ends, and what it would cost to decode: told from its markers, without decoding anything.

A camera may append what it likes (motion photo, trailer of the maker, padding): the primary picture's own end decides
whether the file is whole. JPEG: ITU-T T.81, annex B; PNG: https://www.w3.org/TR/png-3/#5Chunk-layout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_SCANS = 64
"""Progressive pictures of real encoders have about ten scans; hundreds only keep the decoder busy."""

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN, _END = 0xDA, 0xD9


@dataclass(frozen=True)
class Outline:
    """What the markers of a picture say."""

    end: int
    """Number of bytes up to the end of the primary picture."""
    n_scans: int = 1
    """Passes of the decoder over the picture."""
    is_progressive: bool = False
    """Whether the decoder keeps the coefficients of the whole picture in memory."""


def outline_of(data: bytes) -> Outline | None:
    """The outline of a JPEG or PNG, None for any other format; ValueError saying what is missing."""
    if data.startswith(_JPEG):
        return _jpeg(data)
    return _png(data) if data.startswith(_PNG) else None


def _jpeg(data: bytes) -> Outline:
    position, n_scans, is_progressive = 2, 0, False
    while position + 2 <= len(data):
        if data[position] != 0xFF:
            raise ValueError(f"damaged JPEG (no marker at byte {position})")
        code = data[position + 1]
        if code == 0xFF:  # fill byte
            position += 1
            continue
        position += 2
        if code == _END:
            return Outline(position, n_scans, is_progressive)
        if code in _BARE:
            continue
        position += max(int.from_bytes(data[position : position + 2], "big"), 2)
        is_progressive |= code in _PROGRESSIVE and code in _FRAMES
        if code == _START_OF_SCAN:
            n_scans += 1
            if n_scans > MAX_SCANS:
                raise ValueError(f"JPEG with more than {MAX_SCANS} scans")
            found = _MARKER_IN_SCAN.search(data, position)
            if found is None:
                break
            position = found.end() - 2
    raise ValueError(f"truncated JPEG ({len(data)} bytes, no end marker)")


def _png(data: bytes) -> Outline:
    position = len(_PNG)
    while position + 12 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        position += 12 + length
        if kind == b"IEND" and position <= len(data):
            return Outline(position)
    raise ValueError(f"truncated PNG ({len(data)} bytes, no end chunk)")
