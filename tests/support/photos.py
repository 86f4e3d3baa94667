"""Photos with tags of one's choice, and files that only look like photos."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from geocorrect.io.pixels import reads_heif
from support.harvest_support import jpeg

GPS: Mapping[int, Any] = {1: "N", 2: (41.0, 54.0, 0.0), 3: "E", 4: (12.0, 30.0, 3.6), 6: 50.0, 17: 90.0, 16: "T"}
"""41.9 N, 12.501 E, 50 m, looking east."""


def photo(
    path: Path,
    gps: Mapping[int, Any] = GPS,
    detail: Mapping[int, Any] | None = None,
    main: Mapping[int, Any] | None = None,
    *,
    size: tuple[int, int] = (64, 48),
    xmp: bytes | None = None,
    seed: int = 0,
    **options: Any,
) -> Path:
    """A photo with EXIF (GPS, Exif and main tags) and an XMP packet; the ending decides the format."""
    reads_heif()
    exif = PillowImage.Exif()
    exif.update({0x010F: "Maker", **(main or {})})
    exif.get_ifd(0x8825).update(gps)
    exif.get_ifd(0x8769).update(detail or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PillowImage.open(io.BytesIO(jpeg(*size, seed=seed)))
    kind = {".heic": "HEIF", ".webp": "WEBP", ".png": "PNG", ".tif": "TIFF"}.get(path.suffix.lower(), "JPEG")
    if xmp is not None and kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif xmp is not None:
        options["xmp"] = xmp
    picture.save(path, kind, exif=exif, **options)
    return path


def gpano(**values: object) -> bytes:
    """An XMP packet with GPano attributes."""
    listed = " ".join(f'GPano:{name}="{value}"' for name, value in values.items())
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {listed}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
