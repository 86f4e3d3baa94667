"""Nearest descriptors among more than a matrix product should go through, by faiss (MIT; extra `retrieval`)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from geocorrect.errors import ModelError

EXACT_DESCRIPTORS = 100_000
"""Up to as many, the exact search is one matrix product of some tenths of a second."""
OVERSAMPLING = 10
"""So many times the wanted neighbours are taken from the index; their exact cosines decide."""
PROBED_SHARE = 0.1
"""Of the index's cells."""


class ApproximateIndex:
    """Cells of descriptors (inverted file), each descriptor in 8 bits per number."""

    def __init__(self, descriptors: NDArray[np.floating]) -> None:
        """descriptors: (M, D) unit rows. ModelError with the one command when faiss is not installed."""
        try:
            import faiss
        except ImportError:
            raise ModelError(
                f"[retrieve.appearance]: {len(descriptors):,} anchors are searched with faiss: "
                "pip install 'geocorrect[retrieval]'"
            ) from None
        rows = np.ascontiguousarray(descriptors, np.float32)
        cells = max(1, int(np.sqrt(len(rows))))
        # Its own types know the common base alone.
        self._index = cast("Any", faiss.index_factory(rows.shape[1], f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT))
        self._index.cp.seed = 0
        self._index.nprobe = max(1, round(PROBED_SHARE * cells))
        self._index.train(rows)
        self._index.add(rows)

    def near(self, parts: NDArray[np.floating], count: int) -> NDArray[np.intp]:
        """Rows that hold the `count` nearest of every part (F, D), most likely, with others; in order, each once."""
        _, rows = self._index.search(np.ascontiguousarray(parts, np.float32), OVERSAMPLING * count)
        found: NDArray[np.intp] = np.unique(rows[rows >= 0]).astype(np.intp)
        return found
