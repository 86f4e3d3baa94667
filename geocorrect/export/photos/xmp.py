"""The XMP packet of a photo with other GPS values; what it says of other things is kept.

Names and forms of values: XMP specification part 2 (exif, dc, xmpRights), Google's Photo Sphere metadata (GPano).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from io import StringIO
from xml.etree import ElementTree as XmlTree

from geocorrect.export.photos.exif_gps import GPS_VERSION, GpsTags
from geocorrect.records import Attribution

_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
}
_OF_THE_OLD_FIX = (
    *("GPSVersionID", "GPSLatitude", "GPSLatitudeRef", "GPSLongitude", "GPSLongitudeRef", "GPSAltitude"),
    *("GPSAltitudeRef", "GPSSatellites", "GPSStatus", "GPSMeasureMode", "GPSDOP", "GPSImgDirection"),
    *("GPSImgDirectionRef", "GPSMapDatum", "GPSProcessingMethod", "GPSDifferential", "GPSHPositioningError"),
)
_POSE = ("PoseHeadingDegrees", "PosePitchDegrees", "PoseRollDegrees")
_EMPTY = (
    f'<x:xmpmeta xmlns:x="{_NAMESPACES["x"]}"><rdf:RDF xmlns:rdf="{_NAMESPACES["rdf"]}"><rdf:Description rdf:about=""/>'
    "</rdf:RDF></x:xmpmeta>"
)
_OPENING = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_CLOSING = '<?xpacket end="w"?>'


def with_pose(
    packet: bytes | None,
    tags: GpsTags,
    angles_deg: tuple[float, float, float],
    attribution: Attribution,
    *,
    is_panorama: bool,
) -> bytes:
    """The packet (the content of an XMP segment) with these values; creator, licence and page where it names none.

    Args:
        packet: None: a packet that holds nothing else.
        tags: as in EXIF.
        angles_deg: heading, pitch and roll; written for panoramas only.
        attribution: of the photo.
        is_panorama: whether the picture is an equirectangular panorama.

    Raises:
        ValueError: the packet is not sound XML.
    """
    tree = _parsed(_EMPTY if packet is None else packet.rstrip(b"\0 \r\n").decode("utf-8"))
    descriptions = [*tree.iter(_name("rdf:Description"))]
    if not descriptions:
        raise ValueError("damaged XMP (no rdf:Description)")
    _remove(descriptions, [f"exif:{name}" for name in _OF_THE_OLD_FIX])
    values = {f"exif:{name}": value for name, value in _gps(tags).items()}
    if is_panorama or any(
        _name("GPano:ProjectionType") in (*d.keys(), *(child.tag for child in d)) for d in descriptions
    ):
        _remove(descriptions, [f"GPano:{name}" for name in _POSE])
        pose = zip(_POSE, angles_deg, strict=True)
        values |= {f"GPano:{name}": f"{angle:.3f}" for name, angle in pose if math.isfinite(angle)}
        if not _has(descriptions, "GPano:ProjectionType"):
            values["GPano:ProjectionType"] = "equirectangular"
    if attribution.page_url and not _has(descriptions, "xmpRights:WebStatement"):
        values["xmpRights:WebStatement"] = attribution.page_url
    for name, value in values.items():
        descriptions[0].set(_name(name), value)
    if attribution.creator and not _has(descriptions, "dc:creator"):
        _list(descriptions[0], "dc:creator", "rdf:Seq").text = attribution.creator
    if attribution.licence and not _has(descriptions, "dc:rights"):
        entry = _list(descriptions[0], "dc:rights", "rdf:Alt")
        entry.set("{http://www.w3.org/XML/1998/namespace}lang", "x-default")
        entry.text = attribution.licence
    text: str = XmlTree.tostring(tree, encoding="unicode")
    return f"{_OPENING}\n{text}\n{_CLOSING}".encode()


def _gps(tags: GpsTags) -> dict[str, str]:
    values = {
        "GPSVersionID": ".".join(map(str, GPS_VERSION)),
        "GPSLatitude": _angle(tags.lat_deg, "NS"),
        "GPSLongitude": _angle(tags.lon_deg, "EW"),
        "GPSMapDatum": "WGS-84",
        "GPSProcessingMethod": tags.method,
    }
    if math.isfinite(tags.height_m):
        values |= {"GPSAltitudeRef": str(int(tags.height_m < 0)), "GPSAltitude": _rational(abs(tags.height_m))}
    if math.isfinite(tags.heading_deg):
        values |= {"GPSImgDirectionRef": "T", "GPSImgDirection": _rational(round(tags.heading_deg, 3) % 360.0)}
    if math.isfinite(tags.error_m):
        values["GPSHPositioningError"] = _rational(tags.error_m)
    return values


def _angle(degrees: float, letters: str) -> str:
    """Degrees, minutes with six decimals (2 mm), hemisphere: 41,54.168000N."""
    whole, rest = divmod(round(abs(degrees) * 60_000_000), 60_000_000)
    return f"{whole},{rest / 1e6:.6f}{letters[degrees < 0]}"


def _rational(value: float) -> str:
    return f"{round(value * 1000)}/1000"


def _parsed(text: str) -> XmlTree.Element:
    if "<!DOCTYPE" in text:
        raise ValueError("XMP with a document type, which it must not have")
    try:
        for _, (prefix, uri) in XmlTree.iterparse(StringIO(text), events=["start-ns"]):
            if prefix and not prefix.startswith("ns"):  # numbered prefixes are those of the writer itself
                XmlTree.register_namespace(prefix, uri)
        for prefix, uri in _NAMESPACES.items():
            XmlTree.register_namespace(prefix, uri)
        parser = XmlTree.XMLParser(target=XmlTree.TreeBuilder(insert_comments=True))
        return XmlTree.fromstring(text, parser)
    except (XmlTree.ParseError, ValueError) as error:
        raise ValueError(f"damaged XMP ({error})") from None


def _remove(descriptions: Iterable[XmlTree.Element], names: Iterable[str]) -> None:
    for name in map(_name, names):
        for one in descriptions:
            one.attrib.pop(name, None)
            for child in one.findall(name):
                one.remove(child)


def _has(descriptions: Iterable[XmlTree.Element], name: str) -> bool:
    return any(_name(name) in one.attrib or one.find(_name(name)) is not None for one in descriptions)


def _list(parent: XmlTree.Element, name: str, kind: str) -> XmlTree.Element:
    """The only entry of a new list."""
    container = XmlTree.SubElement(XmlTree.SubElement(parent, _name(name)), _name(kind))
    return XmlTree.SubElement(container, _name("rdf:li"))


def _name(short: str) -> str:
    prefix, name = short.split(":")
    return f"{{{_NAMESPACES[prefix]}}}{name}"
