"""A bounded, content-addressed cache of tensors: recently used ones in memory, all of them on disk.

The key of an entry is the sha256 of everything that its value depends on, so an entry can never be stale, only absent.
Any number of processes may share the folder (see `geocorrect.io.file_cache`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from geocorrect.io.bounded_cache import BoundedCache
from geocorrect.io.file_cache import FileCache
from geocorrect.records import ImageArray

SUFFIX = ".tensors"


def content_key(pixels: ImageArray, *dependencies: str) -> str:
    """Hex sha256 of an image's pixels and of everything else that a value computed from it depends on."""
    digest = hashlib.sha256(repr((pixels.shape, *dependencies)).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class StoreLimits:
    """How much a store may hold."""

    memory_bytes: int = 1 << 30
    disk_bytes: int = 20 << 30
    """Each further writing process may exceed it by a sixteenth."""


class TensorStore:
    """Named tensors by key, for threads and processes. Values are shared, not copied: treat them as read-only."""

    def __init__(self, folder: Path | None = None, limits: StoreLimits | None = None) -> None:
        """folder: where entries are kept between processes; None: they are kept in memory only."""
        limits = limits or StoreLimits()
        self._memory: BoundedCache[str, Mapping[str, Tensor]] = BoundedCache(limits.memory_bytes, _bytes_of)
        self._disk = None if folder is None else FileCache(folder, limits.disk_bytes, SUFFIX)

    def get(self, key: str) -> Mapping[str, Tensor] | None:
        """The tensors stored under the key, on the device where they were put or else on the CPU; None when absent."""
        found = self._memory.get(key)
        if found is None and (found := self._read(key)) is not None:
            self.remember(key, found)
        return found

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors. A full or read-only disk is no error: the cache then forgets."""
        self.remember(key, tensors)
        if self._disk is not None:
            self._disk.put(key, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))

    def remember(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors in memory only: what no later process will ask for."""
        self._memory.put(key, tensors)

    def _read(self, key: str) -> Mapping[str, Tensor] | None:
        content = None if self._disk is None else self._disk.get(key)
        if content is None:
            return None
        try:
            return dict(load(content))
        except SafetensorError:  # whole, but of another version
            return None


def _bytes_of(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
