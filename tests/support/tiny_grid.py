"""A datum grid (NTv2) with one shift everywhere, as PROJ finds it where projsync puts grids."""

from __future__ import annotations

import struct
from pathlib import Path


def write_tiny_grid(path: Path, box_deg: tuple[float, float, float, float], shift_deg: tuple[float, float]) -> None:
    """box_deg: west, south, east, north; shift_deg: added to longitude and latitude."""
    west, south, east, north = (3600 * value for value in box_deg)
    step = 1800.0
    rows, columns = round((north - south) / step) + 1, round((east - west) / step) + 1
    # Longitudes and their shifts are positive to the west.
    shift = struct.pack("<ffff", 3600 * shift_deg[1], -3600 * shift_deg[0], 0.0, 0.0)
    head: list[tuple[str, str | int | float]] = [
        ("NUM_OREC", 11), ("NUM_SREC", 11), ("NUM_FILE", 1), ("GS_TYPE", "SECONDS"), ("VERSION", "TEST"),
        ("SYSTEM_F", "OLD"), ("SYSTEM_T", "NEW"), ("MAJOR_F", 6377563.396), ("MINOR_F", 6356256.909),
        ("MAJOR_T", 6378137.0), ("MINOR_T", 6356752.314), ("SUB_NAME", "TEST"), ("PARENT", "NONE"),
        ("CREATED", ""), ("UPDATED", ""), ("S_LAT", south), ("N_LAT", north), ("E_LONG", -east), ("W_LONG", -west),
        ("LAT_INC", step), ("LONG_INC", step), ("GS_COUNT", rows * columns),
    ]  # fmt: skip
    packed = {int: lambda v: struct.pack("<ii", v, 0), float: lambda v: struct.pack("<d", v)}
    records = [
        name.ljust(8).encode() + packed.get(type(value), lambda v: v.ljust(8).encode())(value) for name, value in head
    ]
    path.write_bytes(b"".join(records) + rows * columns * shift + b"END".ljust(16))
