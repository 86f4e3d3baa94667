"""Entries for the tensor store, and a writer that other processes can run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from geocorrect.networks.store import StoreLimits, TensorStore, content_key

KILOBYTE_FLOATS = 256


def entry(value: float, kilobytes: int = 1) -> dict[str, torch.Tensor]:
    """An entry of this many kilobytes."""
    return {"value": torch.full((KILOBYTE_FLOATS * kilobytes,), float(value))}


def key_of(number: int) -> str:
    """A key of its own for every number below 256."""
    return content_key(np.full((2, 2, 3), number, np.uint8))


def write_and_read(folder: str, seed: int) -> int:
    """Write and read in a small shared folder for a while; how often an entry held another entry's value."""
    store = TensorStore(Path(folder), StoreLimits(memory_bytes=0, disk_bytes=40 * 1024))
    wrong = 0
    for step in range(60):
        number = (seed + step * 7) % 40
        store.put(key_of(number), entry(number))
        found = store.get(key_of((number * 3) % 40))
        if found is not None and not bool((found["value"] == (number * 3) % 40).all()):
            wrong += 1
    return wrong
