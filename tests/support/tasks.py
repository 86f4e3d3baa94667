"""Tasks of photos that are nothing but a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from geocorrect.records import Image
from geocorrect.workers.worker import Task


def task(image_id: str) -> Task:
    image = Image(id=image_id, reported=None, camera=None, path=None)
    return Task(image, np.full(3, np.nan), float("nan"), (), (), input_hash=f"input of {image_id}")


def in_pieces(ids: Iterable[str], size: int = 3) -> Iterator[list[Task]]:
    rest = iter(ids)
    while piece := [task(image_id) for image_id in islice(rest, size)]:
        yield piece
