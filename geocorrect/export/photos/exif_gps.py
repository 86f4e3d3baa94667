"""The GPS block of EXIF, exchanged by appending: every other byte stays where it is.

Maker notes hold offsets that count from the start of the block; whoever writes the block anew (piexif, Pillow) breaks
them. Here a new GPS directory is put at the end and the pointer to it is changed. Format: TIFF 6.0 and CIPA DC-008,
§4.6.6.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_GPS_POINTER = 0x8825
_BYTE, _ASCII, _LONG, _RATIONAL = 1, 2, 4, 5
_OF_THE_OLD_FIX = frozenset({*range(7), 8, 9, 10, 11, 16, 17, 18, 27, 30, 31})
"""Tags of the position, its quality and the camera's heading: what of them is unknown now is left out, not kept."""
_TIME, _DATE = 7, 29
GPS_VERSION = (2, 4, 0, 0)
"""That of EXIF 3.0, by which an altitude reference of 0 or 1 is the ellipsoid; before it was the sea."""
_ENTRY = 12


@dataclass(frozen=True)
class GpsTags:
    """Where a camera stood; nan: unknown."""

    lon_deg: float
    lat_deg: float
    height_m: float
    """Above the WGS84 ellipsoid, as EXIF 3.0 has it."""
    heading_deg: float
    """Clockwise from true north."""
    error_m: float
    """68 % horizontal error."""
    method: str
    """Who computed it, from what; in XMP only, because EXIF's tag for it knows GPS, CELLID, WLAN and MANUAL."""
    captured_at: datetime | None
    """Written only where the file states no GPS time."""


def with_gps(block: bytes | None, tags: GpsTags) -> bytes:
    """A TIFF block (the content of an EXIF segment) with other GPS tags; None: a block that holds nothing else.

    Raises ValueError when the block is damaged.
    """
    block = b"MM\x00\x2a\x00\x00\x00\x08" + struct.pack(">HI", 0, 0) if block is None else block
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
    if order is None:
        raise ValueError("damaged EXIF (no TIFF header)")
    first = _unpack(block, order + "I", 4)[0]
    entries, following = _directory(block, order, first)
    pointers = [place for place, entry in entries if _tag(entry, order) == _GPS_POINTER]
    kept: list[bytes] = []
    if pointers:
        kept = [entry for _, entry in _directory(block, order, _unpack(block, order + "I", pointers[0] + 8)[0])[0]]
    content = bytearray(block + b"\x00" * (len(block) % 2))
    gps_at = len(content)
    content += _gps_directory(kept, tags, order, gps_at)
    if pointers:
        struct.pack_into(order + "I", content, pointers[0] + 8, gps_at)
    else:
        struct.pack_into(order + "I", content, 4, len(content))
        pointer = struct.pack(order + "HHII", _GPS_POINTER, _LONG, 1, gps_at)
        content += _written([*(entry for _, entry in entries), pointer], order, following)
    return bytes(content)


def _gps_directory(kept: Iterable[bytes], tags: GpsTags, order: str, start: int) -> bytes:
    """The directory with its values behind it; entries that are kept point into the old block."""
    entries = {_tag(entry, order): entry for entry in kept if _tag(entry, order) not in _OF_THE_OLD_FIX}
    new = _values(tags, order, with_time=not {_TIME, _DATE} & entries.keys())
    values_at = start + 2 + _ENTRY * (len(entries) + len(new)) + 4
    values = b""
    for tag, (kind, count, value) in new.items():
        if len(value) <= 4:
            entries[tag] = struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\x00")
        else:
            entries[tag] = struct.pack(order + "HHII", tag, kind, count, values_at + len(values))
            values += value + b"\x00" * (len(value) % 2)
    return _written(entries.values(), order, 0) + values


def _values(tags: GpsTags, order: str, *, with_time: bool) -> dict[int, tuple[int, int, bytes]]:
    """Type, count and content by tag."""

    def rationals(*numbers: tuple[float, int]) -> tuple[int, int, bytes]:
        parts = [struct.pack(order + "II", round(value * scale), scale) for value, scale in numbers]
        return _RATIONAL, len(parts), b"".join(parts)

    def letters(text: str) -> tuple[int, int, bytes]:
        content = text.encode("ascii", "replace") + b"\x00"
        return _ASCII, len(content), content

    def angle(degrees: float) -> tuple[int, int, bytes]:
        # A ten-thousandth of a second is 3 mm.
        whole, rest = divmod(round(abs(degrees) * 36_000_000), 36_000_000)
        minutes, seconds = divmod(rest, 600_000)
        return rationals((whole, 1), (minutes, 1), (seconds / 10_000, 10_000))

    values = {
        0: (_BYTE, 4, bytes(GPS_VERSION)),
        1: letters("S" if tags.lat_deg < 0 else "N"), 2: angle(tags.lat_deg),
        3: letters("W" if tags.lon_deg < 0 else "E"), 4: angle(tags.lon_deg),
        18: letters("WGS-84"),
    }  # fmt: skip
    if math.isfinite(tags.height_m):
        values |= {5: (_BYTE, 1, bytes([tags.height_m < 0])), 6: rationals((abs(tags.height_m), 1000))}
    if math.isfinite(tags.heading_deg):
        values |= {16: letters("T"), 17: rationals((round(tags.heading_deg, 3) % 360.0, 1000))}
    if math.isfinite(tags.error_m):
        values[31] = rationals((tags.error_m, 1000))
    if with_time and tags.captured_at is not None:
        utc = tags.captured_at.astimezone(UTC)
        seconds = utc.second + utc.microsecond // 1000 / 1000
        values |= {_TIME: rationals((utc.hour, 1), (utc.minute, 1), (seconds, 1000))}
        values |= {_DATE: letters(f"{utc:%Y:%m:%d}")}
    return values


def _directory(block: bytes, order: str, start: int) -> tuple[list[tuple[int, bytes]], int]:
    """Offset and bytes of every entry of a directory, and the offset of the directory that follows."""
    count = _unpack(block, order + "H", start)[0]
    places = [start + 2 + _ENTRY * number for number in range(count)]
    following = _unpack(block, order + "I", start + 2 + _ENTRY * count)[0]
    return [(place, block[place : place + _ENTRY]) for place in places], following


def _written(entries: Iterable[bytes], order: str, following: int) -> bytes:
    listed = sorted(entries, key=lambda entry: _tag(entry, order))
    return struct.pack(order + "H", len(listed)) + b"".join(listed) + struct.pack(order + "I", following)


def _tag(entry: bytes, order: str) -> int:
    return int(struct.unpack_from(order + "H", entry)[0])


def _unpack(block: bytes, form: str, start: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, block, start)
    except struct.error:
        raise ValueError("damaged EXIF (an offset points out of the block)") from None
