"""Seeded damage to photos and their tags, read as an import and a harvest read them.

    python photo_fuzz.py KIND COUNT [FIRST_SEED]

Prints the seeds that failed, the slowest one and the peak of memory; run in a process of its own, so that the peak is
that of the readers.
"""

from __future__ import annotations

import io
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from PIL import Image as PillowImage

from geocorrect.catalog.rows.codec import image_row
from geocorrect.errors import InputError
from geocorrect.harvest.local.exif import read_photo
from geocorrect.harvest.local.panorama import declared_panorama
from geocorrect.harvest.mapillary.download import verified
from geocorrect.harvest.mapillary.responses import RequestError
from geocorrect.io.pixels import read_image
from support.photos import GPS, gpano, photo

DETAIL = {0x9003: "2022:05:01 12:00:00", 0x9011: "+02:00", 0x9291: "057", 0xA405: 27}
WHOLE_GPS = {**GPS, 5: b"\x01", 7: (10.0, 0.0, 0.0), 16: "M", 29: "2022:05:01", 31: 4.0}
XMP = gpano(ProjectionType="equirectangular", FullPanoWidthPixels=96, FullPanoHeightPixels=48)
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xD8, 0xD9, 0xDA, 0xE1, 0xFE, 0xFF)


def damaged(data: bytes, seed: int) -> bytes:
    """The bytes with one to eight faults: changed, added, removed, repeated, cut, huge numbers."""
    rng, changed = random.Random(seed), bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at, length = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0 | 1:
                changed[at : at + length] = bytes(rng.choice(INTERESTING) for _ in range(length))
            case 2:
                changed[at : at + length] = rng.randbytes(length)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length] * rng.choice((1, 2, 50))
            case _:
                changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0"))
    return bytes(changed[: rng.randrange(1, len(changed) + 2)] if rng.random() < 0.05 else changed)


def read(data: bytes, path: Path) -> None:
    """All that reads photos; only the errors that they promise may come out."""
    path.write_bytes(data)
    image_row(read_photo(path, "a"))
    with suppress(InputError):
        read_image(path)
    with suppress(RequestError):
        verified(data)


def targets(folder: Path) -> dict[str, Callable[[int], None]]:
    """By kind, what reads the damage of a seed."""
    jpeg = photo(
        folder / "a.jpg", WHOLE_GPS, DETAIL, {0x0112: 6, 0x010E: '{"MAPLatitude": 41.9}'}, size=(96, 48), xmp=XMP
    )
    data, path = jpeg.read_bytes(), folder / "damaged.jpg"
    length = int.from_bytes(data[4:6], "big")
    exif = data[12 : 4 + length]
    others = {
        name: photo(folder / f"a.{name}", WHOLE_GPS, DETAIL, size=(96, 48)).read_bytes() for name in ("png", "webp")
    }
    out = io.BytesIO()
    PillowImage.open(jpeg).save(out, "JPEG", progressive=True)

    def exif_of(seed: int) -> None:
        block = b"Exif\0\0" + damaged(exif, seed)[:65_000]
        read(data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[4 + length :], path)

    def xmp_of(seed: int) -> None:
        declared_panorama(damaged(XMP, seed), 96, 48)

    return {
        "exif": exif_of,
        "xmp": xmp_of,
        "jpeg": lambda seed: read(damaged(out.getvalue() if seed % 2 else data, seed), path),
        "png": lambda seed: read(damaged(others["png"], seed), path),
        "webp": lambda seed: read(damaged(others["webp"], seed), path),
    }


def main(kind: str, count: int, first: int = 0) -> None:
    """Run the seeds of a kind; exit code 1 when one fails."""
    failed, slowest_s = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        target = targets(Path(name))[kind]
        for seed in range(first, first + count):
            started = time.process_time()
            try:
                target(seed)
            except Exception as error:
                failed.append(f"{seed}: {type(error).__name__}: {error}"[:200])
            slowest_s = max(slowest_s, time.process_time() - started)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{kind}: {count} seeds, {len(failed)} failed, slowest {slowest_s:.2f} s, peak {peak_mib:.0f} MiB")
    print("\n".join(failed[:20]))
    sys.exit(bool(failed) or slowest_s > 5 or peak_mib > 1024)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
