"""Whether a photo declares itself a panorama, by the GPano block of its XMP, and which part of the sphere it shows.

GPano: https://developers.google.com/streetview/spherical-metadata. Writers differ in quotes, prefix and capitals, and
in attribute or element, so the packet is parsed; names are compared without prefix and capitals.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from xml.parsers import expat

from geocorrect.geometry.camera import Camera

_MAX_BYTES = 4_000_000
_MAX_SIDE = 1e6
_TOLERANCE = 0.01
"""Relative: 1024×511 is a whole sphere, rounded."""


class Panorama(StrEnum):
    """What the XMP declares, where it is neither a sphere nor a part of one."""

    NONE = "none"
    """No panorama."""
    UNSUPPORTED = "unsupported"
    """Another projection, a part that nothing places on its sphere, or a declaration that cannot be read."""


def declared_panorama(xmp: bytes, width: int, height: int) -> Camera | Panorama:
    """What an XMP packet declares about a picture of a size in pixels: the camera of the sphere or of its part."""
    if xmp.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        xmp = xmp.decode("utf-16", "replace").encode()
    lowered = xmp.lower()
    if b"projectiontype" not in lowered and b"fullpanowidthpixels" not in lowered:
        return Panorama.NONE
    values = _values(xmp)
    if values is None or values.get("projectiontype", "").lower() != "equirectangular":
        return Panorama.UNSUPPORTED
    full, part, corner = (
        [values.get(name) for name in names]
        for names in (
            ("fullpanowidthpixels", "fullpanoheightpixels"),
            ("croppedareaimagewidthpixels", "croppedareaimageheightpixels"),
            ("croppedarealeftpixels", "croppedareatoppixels"),
        )
    )
    numbers = [_number(text) for text in (*full, *part, *corner)]
    if all(0 <= number < _MAX_SIDE for number in numbers):
        camera = _part([round(number) for number in numbers], width, height)
        if camera is not None:
            return camera
    is_whole = all(
        not (shown or whole) or _is_close(_number(shown or str(pixels)), _number(whole))
        for shown, whole, pixels in zip(part, full, (width, height), strict=True)
    )
    return Camera.spherical(width, height) if is_whole and _is_close(width, 2 * height) else Panorama.UNSUPPORTED


def _part(numbers: Sequence[int], width: int, height: int) -> Camera | None:
    """The camera of a picture that shows a window of a sphere; None where there is no such window.

    Args:
        numbers: width and height of the sphere, of the window, and its left and top, in pixels of the declaration.
        width: of the picture, which may have been made smaller since.
        height: likewise.
    """
    full_width, full_height, part_width, part_height, left, top = numbers
    inside = left + part_width <= full_width + 1 and top + part_height <= full_height + 1
    # Photos are matched by what they show of the street; a picture of the zenith alone shows nothing of it.
    near_horizon = top < 0.75 * full_height and top + part_height > 0.25 * full_height
    if not (inside and near_horizon and min(part_width, part_height) > 0 and _is_close(full_width, 2 * full_height)):
        return None
    with suppress(ValueError):  # the picture has another shape than its declaration
        return (
            Camera.spherical(full_width, full_height).cropped(left, top, part_width, part_height).resized(width, height)
        )
    return None


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
