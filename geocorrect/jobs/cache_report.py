"""The configured cache folder: what lies there, and what is removed on request."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geocorrect.config import Settings
from geocorrect.errors import ConfigError
from geocorrect.io.file_cache import UNFINISHED_S, CacheContents, contents, remove

DAY_S = 86_400.0
MIB = 1 << 20
NOT_CONFIGURED = (
    "no cache folder is configured: what networks and detectors compute stays in memory ([models] cache_folder)"
)


@dataclass(frozen=True)
class CacheReport:
    """What a cache folder holds."""

    folder: Path | None
    """None when nothing is kept on disk."""
    limit_bytes: int
    """What entries may take."""
    contents: CacheContents

    def as_json(self) -> dict[str, Any]:
        """Plain values for --json; times are of the last use."""
        used = [entry.used_s for entry in self.contents.entries]
        return {
            "folder": None if self.folder is None else str(self.folder),
            "writable": self.folder is not None and os.access(existing_folder(self.folder), os.W_OK),
            "n_entries": len(self.contents.entries),
            "n_unfinished": len(self.contents.unfinished),
            "n_bytes": self.contents.n_bytes,
            "limit_bytes": self.limit_bytes,
            "oldest_use": _moment(min(used)) if used else None,
            "newest_use": _moment(max(used)) if used else None,
        }

    def sentence(self) -> str:
        """Human-readable."""
        if self.folder is None:
            return NOT_CONFIGURED
        facts = self.as_json()
        text = (
            f"{self.folder}: {facts['n_entries']} entries, {facts['n_bytes'] / 1e6:.1f} of "
            f"{self.limit_bytes / 1e6:.0f} MB"
        )
        text += f", last used between {facts['oldest_use']} and {facts['newest_use']}" if self.contents.entries else ""
        text += f"; {facts['n_unfinished']} unfinished" if self.contents.unfinished else ""
        return text + ("" if facts["writable"] else "; read-only for this user")


def cache_report(settings: Settings) -> CacheReport:
    """What the configured folder holds; a folder that is not there yet is an empty one."""
    folder = settings.models.cache_folder
    held = CacheContents((), ()) if folder is None else contents(folder)
    return CacheReport(folder, settings.models.cache_disk_mib * MIB, held)


def unused_entries(settings: Settings, days: float) -> CacheContents:
    """Entries not used for so many days, and what killed writers left behind. ConfigError without a folder."""
    folder = settings.models.cache_folder
    if folder is None:
        raise ConfigError(NOT_CONFIGURED)
    held, now_s = contents(folder), time.time()
    entries = tuple(entry for entry in held.entries if now_s - entry.used_s >= days * DAY_S)
    dead = tuple(entry for entry in held.unfinished if now_s - entry.used_s > UNFINISHED_S)
    return CacheContents(entries, dead)


def clear_cache(settings: Settings, days: float) -> CacheContents:
    """Remove them; safe while runs use the cache. Returns what was removed."""
    found = unused_entries(settings, days)
    remove(found)
    return found


def existing_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
