"""Types of arrays, unknown numbers, and what every record checks."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
ImageArray = NDArray[np.uint8]
NAN = float("nan")


def check(what: str, id_: str, name: str, moment: datetime | None) -> None:
    """Raise ValueError when a record has no id, or a moment (its field `name`) has no time zone."""
    if not isinstance(id_, str) or not id_:
        raise ValueError(f"{what} id must be a non-empty string, got {id_!r}")
    if moment is not None and moment.tzinfo is None:
        raise ValueError(f"{what} {id_}: {name} must carry a time zone, got naive {moment}")
