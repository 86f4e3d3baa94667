"""A JPEG file as segments: what stands before the picture can be exchanged without touching the picture.

Format: ITU-T T.81, annex B; EXIF and XMP lie in APP1 segments (CIPA DC-008, §4.7; XMP part 3, §1.1.3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

EXIF = b"Exif\x00\x00"
XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_APP0, _APP1, _START_OF_SCAN = 0xE0, 0xE1, 0xDA
_MOST_BYTES = 65_533
_WITHOUT_CONTENT = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class Segment:
    """A marker with its content."""

    marker: int
    """Second byte of the marker."""
    content: bytes
    """Without marker and length."""


@dataclass(frozen=True)
class Head:
    """Everything before the compressed picture."""

    segments: tuple[Segment, ...]

    def app1(self, kind: bytes) -> bytes | None:
        """The content behind the identifier of the first APP1 segment of a kind; ValueError when there are several."""
        found = [one.content for one in self.segments if _is(one, kind)]
        if len(found) > 1:
            raise ValueError(f"{len(found)} segments {kind[:4]!r} where one is expected")
        return found[0][len(kind) :] if found else None

    def with_app1(self, kind: bytes, content: bytes) -> Head:
        """The head with the segment of this kind exchanged, or added where readers look for it: EXIF, XMP, the rest."""
        if len(kind) + len(content) > _MOST_BYTES:
            raise ValueError(
                f"the metadata {kind[:4]!r} would have {len(content)} bytes, more than a JPEG segment holds"
            )
        new = Segment(_APP1, kind + content)
        places = [place for place, one in enumerate(self.segments) if _is(one, kind)]
        if places:
            place, rest = places[0], self.segments[places[0] + 1 :]
        else:
            # Ahead of everything but JFIF and EXIF: tables of further pictures (MPF) count from where they stand.
            before = [one.marker == _APP0 or _is(one, EXIF) for one in self.segments]
            place = before.index(False) if False in before else len(before)
            rest = self.segments[place:]
        return replace(self, segments=(*self.segments[:place], new, *rest))

    def write(self, stream: BinaryIO) -> None:
        """Write it, ready to be followed by the picture."""
        stream.write(b"\xff\xd8")
        for one in self.segments:
            length = b"" if one.marker in _WITHOUT_CONTENT else (len(one.content) + 2).to_bytes(2, "big")
            stream.write(bytes((0xFF, one.marker)) + length + one.content)


def read_head(stream: BinaryIO) -> Head:
    """The head of a JPEG file; leaves the stream where the picture begins. ValueError when it is none."""
    if stream.read(2) != b"\xff\xd8":
        raise ValueError("not a JPEG file")
    segments = []
    while (marker := _marker(stream)) != _START_OF_SCAN:
        segments.append(Segment(marker, b"" if marker in _WITHOUT_CONTENT else _content(stream)))
    stream.seek(-2, 1)
    return Head(tuple(segments))


def _marker(stream: BinaryIO) -> int:
    if stream.read(1) != b"\xff":
        raise ValueError("damaged JPEG file (no marker where one is due)")
    while (second := stream.read(1)) == b"\xff":
        pass  # fill bytes
    if second in (b"", b"\x00", b"\xd9"):
        raise ValueError("damaged JPEG file (it ends before the picture)")
    return second[0]


def _content(stream: BinaryIO) -> bytes:
    length = int.from_bytes(stream.read(2), "big") - 2
    content = stream.read(max(length, 0))
    if length < 0 or len(content) < length:
        raise ValueError("damaged JPEG file (a segment is cut)")
    return content


def _is(segment: Segment, kind: bytes) -> bool:
    return segment.marker == _APP1 and segment.content.startswith(kind)
