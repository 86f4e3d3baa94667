"""A bounded, content-addressed cache of tensors: recently used ones in memory, all of them on disk.

The key of an entry is the sha256 of everything that its value depends on, so an entry can never be stale, only absent.
Any number of processes may share the folder: entries appear by atomic rename, equal keys mean equal content, and an
entry that vanishes or is damaged counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from geocorrect.records import ImageArray

SUFFIX = ".safetensors"
SCANS_PER_LIMIT = 16
"""The folder is measured again whenever a sixteenth of its limit has been written by this process."""


def content_key(pixels: ImageArray, *dependencies: str) -> str:
    """Hex sha256 of an image's pixels and of everything else that a value computed from it depends on."""
    digest = hashlib.sha256(repr((pixels.shape, *dependencies)).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class StoreLimits:
    """How much a store may hold, in bytes. Each further writing process may exceed the disk limit by a sixteenth."""

    memory_bytes: int = 1 << 30
    disk_bytes: int = 20 << 30


class TensorStore:
    """Named tensors by key, for threads and processes. Values are shared, not copied: treat them as read-only."""

    def __init__(self, folder: Path | None = None, limits: StoreLimits | None = None) -> None:
        """`folder`: where to keep entries between processes; None keeps them in memory only."""
        self.folder = folder
        self.limits = limits or StoreLimits()
        self._memory: OrderedDict[str, Mapping[str, Tensor]] = OrderedDict()
        self._memory_bytes = 0
        self._unmeasured_bytes = self.limits.disk_bytes  # measure the folder at the first write
        self._lock = threading.Lock()

    def get(self, key: str) -> Mapping[str, Tensor] | None:
        """The tensors stored under the key, on the device where they were put or else on the CPU; None when absent."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        found = self._read(key)
        if found is not None:
            self._remember(key, found)
        return found

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors. A full disk is no error: the cache then forgets."""
        self._remember(key, tensors)
        if self.folder is not None:
            with contextlib.suppress(OSError):
                self._write(self._path(self.folder, key), tensors)

    def _remember(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        size = _bytes_of(tensors)
        if size > self.limits.memory_bytes:
            return
        with self._lock:
            if key in self._memory:
                self._memory_bytes -= _bytes_of(self._memory.pop(key))
            self._memory[key] = tensors
            self._memory_bytes += size
            while self._memory_bytes > self.limits.memory_bytes:
                _, oldest = self._memory.popitem(last=False)
                self._memory_bytes -= _bytes_of(oldest)

    def _read(self, key: str) -> Mapping[str, Tensor] | None:
        if self.folder is None:
            return None
        path = self._path(self.folder, key)
        try:
            tensors = load_file(path)
            os.utime(path)  # the time of last use decides what is dropped first
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return dict(tensors)

    def _write(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, unfinished)
            size = unfinished.stat().st_size
            unfinished.replace(path)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        with self._lock:
            self._unmeasured_bytes += size
            due = self._unmeasured_bytes * SCANS_PER_LIMIT >= self.limits.disk_bytes
            self._unmeasured_bytes = 0 if due else self._unmeasured_bytes
        if due:
            self._drop_least_recently_used()

    def _drop_least_recently_used(self) -> None:
        assert self.folder is not None
        files: list[tuple[float, int, Path]] = []
        for path in self.folder.glob(f"??/*{SUFFIX}*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        allowed = self.limits.disk_bytes - self.limits.disk_bytes // SCANS_PER_LIMIT
        for _, size, path in sorted(files):
            if total <= allowed:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}{SUFFIX}"


def _bytes_of(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
