"""A bounded folder of content-addressed entries, shared by any number of processes.

The key of an entry is a hash of everything that its value depends on, so an entry is never stale, only absent. Entries
appear by atomic rename and carry a checksum: one that is torn, damaged or gone counts as absent. A folder that cannot
be written is only read, with one warning. FOLDER/ab/abcd….SUFFIX; the least recently used entries go first.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geocorrect.io.atomic_file import replacement
from geocorrect.io.file_lock import FileLockedError, locked_file

log = logging.getLogger(__name__)
MAGIC = b"gccache1"
UNFINISHED = ".part"
UNFINISHED_S = 600.0
"""An entry is written in seconds; an unfinished one that is older belongs to a process that was killed."""
SCANS_PER_LIMIT = 16
"""The folder is measured again whenever a sixteenth of its limit has been written by this process."""


@dataclass(frozen=True)
class CacheEntry:
    """A file of the cache."""

    path: Path
    n_bytes: int
    used_s: float
    """Time of last use, seconds since 1970."""


@dataclass(frozen=True)
class CacheContents:
    """What a cache folder contains."""

    entries: tuple[CacheEntry, ...]
    unfinished: tuple[CacheEntry, ...]
    """Files of writers at work, or killed."""

    @property
    def n_bytes(self) -> int:
        """All of it."""
        return sum(entry.n_bytes for entry in self.entries + self.unfinished)


class FileCache:
    """Bytes by key, in files."""

    def __init__(self, folder: Path, limit_bytes: int, suffix: str = ".entry") -> None:
        """limit_bytes: each further process that writes may exceed it by a sixteenth for a while."""
        self.folder, self.limit_bytes, self.suffix = folder, limit_bytes, suffix
        self._unmeasured_bytes = limit_bytes  # measure the folder at the first write
        self._writable = True
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The entry's content; None when it is absent or damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        head, payload = content[: len(MAGIC)], memoryview(content)[len(MAGIC) + 4 :]
        if head != MAGIC or zlib.crc32(payload).to_bytes(4, "little") != content[len(MAGIC) : len(MAGIC) + 4]:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):  # the folder of another user, or read-only
            os.utime(path)  # the time of last use decides what is dropped first
        return bytes(payload)

    def put(self, key: str, payload: bytes) -> None:
        """Store the content. A folder that takes no more is no error: one warning, and nothing is stored any more."""
        if not self._writable:
            return
        try:
            size = self._write(self._path(key), payload)
        except OSError as error:
            self._writable = False
            log.warning("cache %s cannot be written (%s); going on without", self.folder, error.strerror or error)
            return
        with self._lock:
            self._unmeasured_bytes += size
            due = self._unmeasured_bytes * SCANS_PER_LIMIT >= self.limit_bytes
            self._unmeasured_bytes = 0 if due else self._unmeasured_bytes
        if due:
            self._shrink()

    def _write(self, path: Path, payload: bytes) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacement(path, UNFINISHED, durable=False) as unfinished, unfinished.open("wb") as file:
            file.write(MAGIC)
            file.write(zlib.crc32(payload).to_bytes(4, "little"))
            file.write(payload)
        return len(MAGIC) + 4 + len(payload)

    def _shrink(self) -> None:
        """Back under the limit, unless another process is at it already."""
        with contextlib.suppress(OSError, FileLockedError), locked_file(self.folder / ".lock"):
            remove_unused(self.folder, self.limit_bytes - self.limit_bytes // SCANS_PER_LIMIT)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{self.suffix}"


def contents(folder: Path) -> CacheContents:
    """What is in a cache folder; nothing when it does not exist. Foreign files are ignored."""
    found = list(_files(folder))
    unfinished = tuple(entry for entry in found if entry.path.name.endswith(UNFINISHED))
    return CacheContents(tuple(entry for entry in found if entry not in set(unfinished)), unfinished)


def remove_unused(folder: Path, keep_bytes: int) -> CacheContents:
    """Remove the least recently used entries until `keep_bytes` are left, and what killed writers left behind.

    An entry that a process is about to read is then absent for it, and computed again.

    Returns:
        What was removed.
    """
    found, now_s = contents(folder), time.time()
    dead = tuple(entry for entry in found.unfinished if now_s - entry.used_s > UNFINISHED_S)
    total, dropped = found.n_bytes - sum(entry.n_bytes for entry in dead), []
    for entry in sorted(found.entries, key=lambda entry: entry.used_s):
        if total <= keep_bytes:
            break
        dropped.append(entry)
        total -= entry.n_bytes
    removed = CacheContents(tuple(dropped), dead)
    remove(removed)
    return removed


def remove(what: CacheContents) -> None:
    """Delete these files; those that are gone or cannot be deleted are skipped."""
    for entry in what.entries + what.unfinished:
        with contextlib.suppress(OSError):
            entry.path.unlink()


def _files(folder: Path) -> Iterator[CacheEntry]:
    """Entries and unfinished entries, and no other file of the folder."""
    for path in folder.glob("[0-9a-f][0-9a-f]/*"):
        name = path.name.removeprefix(".")
        if name.startswith(path.parent.name) and len(name) > 32 and not path.is_symlink():
            with contextlib.suppress(OSError):
                status = path.stat()
                yield CacheEntry(path, status.st_size, status.st_mtime)
