"""Whether a photo declares itself a panorama, by the GPano block of its XMP, and whether it is a whole sphere.

GPano: https://developers.google.com/streetview/spherical-metadata. Writers differ in quotes, prefix and capitals, and
in attribute or element, so the packet is parsed; names are compared without prefix and capitals.
"""

from __future__ import annotations

import codecs
from enum import StrEnum
from xml.parsers import expat

_MAX_BYTES = 4_000_000
_TOLERANCE = 0.01
"""Relative: 1024×511 is a whole sphere, rounded."""


class Panorama(StrEnum):
    """What the XMP declares."""

    NONE = "none"
    """No panorama."""
    SPHERE = "sphere"
    """A whole equirectangular sphere."""
    UNSUPPORTED = "unsupported"
    """A part of a sphere, another projection, or a declaration that cannot be read."""


def declared_panorama(xmp: bytes, width: int, height: int) -> Panorama:
    """What an XMP packet declares about a picture of a size in pixels."""
    if xmp.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        xmp = xmp.decode("utf-16", "replace").encode()
    lowered = xmp.lower()
    if b"projectiontype" not in lowered and b"fullpanowidthpixels" not in lowered:
        return Panorama.NONE
    values = _values(xmp)
    if values is None or values.get("projectiontype", "").lower() != "equirectangular":
        return Panorama.UNSUPPORTED
    for side, pixels in (("width", width), ("height", height)):
        part, whole = (values.get(name.format(side)) for name in ("croppedareaimage{}pixels", "fullpano{}pixels"))
        if (part or whole) and not _is_close(_number(part or str(pixels)), _number(whole)):
            return Panorama.UNSUPPORTED
    return Panorama.SPHERE if _is_close(width, 2 * height) else Panorama.UNSUPPORTED


def _values(xmp: bytes) -> dict[str, str] | None:
    """Attributes and element texts by local name in small letters; None when it is no sound XML of a fair size."""
    values: dict[str, str] = {}
    open_names: list[str] = []

    def local(name: str) -> str:
        return name.rpartition(":")[2].lower()

    def start(name: str, attributes: dict[str, str]) -> None:
        open_names.append(local(name))
        values.update((local(key), value.strip()) for key, value in attributes.items())

    def end(_name: str) -> None:
        open_names.pop()

    def text(content: str) -> None:
        if open_names and content.strip():
            values[open_names[-1]] = values.get(open_names[-1], "") + content.strip()

    def refuse(*_: object) -> None:
        raise ValueError("a document type has no place in XMP")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xmp[:_MAX_BYTES].strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, ValueError):
        return None
    return values


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _is_close(first: float, second: float) -> bool:
    return second > 0 and abs(first - second) <= _TOLERANCE * second
