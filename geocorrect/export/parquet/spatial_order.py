"""Rows in the order of a Hilbert curve, so that neighbours on the map are neighbours in the file.

A reader that asks for a box then needs few groups of rows. Rows wait in a file: memory holds 16 bytes of each, and
one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

GROUP_ROWS = 50_000
"""Rows of a group; readers skip whole groups."""
_BITS = 26
"""Cells of 360° / 2^26 on a side: 0.6 m at the equator."""
_NOWHERE = np.iinfo(np.uint64).max


def hilbert_keys(lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]) -> NDArray[np.uint64]:
    """(N,) place of every position on a Hilbert curve over the earth; positions that are nan come last."""
    known = np.isfinite(lon_deg) & np.isfinite(lat_deg)
    scale = 2.0**_BITS / 360.0
    x = np.where(known, (lon_deg + 180.0) * scale, 0.0).clip(0, 2**_BITS - 1).astype(np.uint64)
    y = np.where(known, (lat_deg + 90.0) * scale, 0.0).clip(0, 2**_BITS - 1).astype(np.uint64)
    keys = np.zeros(len(x), np.uint64)
    for bit in reversed(range(_BITS)):
        side = np.uint64(1 << bit)
        right, upper = (x & side) > 0, (y & side) > 0
        quarter = np.where(right, np.where(upper, 2, 3), np.where(upper, 1, 0)).astype(np.uint64)
        keys = (keys << np.uint64(2)) | quarter
        x, y = x & (side - np.uint64(1)), y & (side - np.uint64(1))
        # The curve enters the two lower quarters turned.
        flip = right & ~upper
        x, y = np.where(flip, side - np.uint64(1) - x, x), np.where(flip, side - np.uint64(1) - y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
    keys[~known] = _NOWHERE
    return keys


def lon_lat(rows: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude (N,) of the points of an Arrow batch or table; nan where there is none."""
    points = shapely.from_wkb(rows.column("geometry").to_numpy(zero_copy_only=False))
    return shapely.get_x(points), shapely.get_y(points)


def in_spatial_order(batches: Iterable[Any], schema: Any, spool: Path) -> Iterator[Any]:
    """The rows of Arrow batches, sorted, as tables of GROUP_ROWS; equal places keep their order.

    Args:
        batches: with points in the column `geometry` (WKB).
        schema: their Arrow schema.
        spool: a temporary file in which the rows wait; deleted at the end.
    """
    import pyarrow as pa

    keys: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    try:
        with pa.OSFile(str(spool), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                keys.append(hilbert_keys(*lon_lat(batch)))
        order = np.argsort(np.concatenate(keys), kind="stable")
        starts = np.cumsum([len(some) for some in keys])[:-1]
        del keys
        with pa.memory_map(str(spool)) as mapped:
            waiting = pa.ipc.open_file(mapped)
            # Mapped, not read: a group picks its rows, and the system may drop the pages behind it.
            chunks = [waiting.get_batch(number) for number in range(waiting.num_record_batches)]
            for first in range(0, len(order), GROUP_ROWS):
                yield _picked(chunks, starts, order[first : first + GROUP_ROWS])
    finally:
        spool.unlink(missing_ok=True)


def _picked(chunks: list[Any], starts: NDArray[np.int64], wanted: NDArray[np.int64]) -> Any:
    """The wanted rows, in that order."""
    import pyarrow as pa

    ascending = np.argsort(wanted)
    rows = wanted[ascending]
    which = np.searchsorted(starts, rows, side="right") - 1
    parts = [chunks[k].take(pa.array(rows[which == k] - starts[k])) for k in np.unique(which).tolist()]
    back = np.empty(len(wanted), np.int64)
    back[ascending] = np.arange(len(wanted))
    return pa.Table.from_batches(parts).combine_chunks().take(pa.array(back))
