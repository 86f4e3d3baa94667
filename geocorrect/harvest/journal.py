"""The saved cursor of a harvest: what is already known about an area, so that a killed run goes on where it was.

One JSON object per line, appended and fsynced; a line that a kill cut short is ignored. Which images are stored is said
by the catalog and the files, not by this list.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from geocorrect.errors import OutputError
from geocorrect.harvest.mapillary.download import write_atomically
from geocorrect.harvest.mapillary.tiles import Coverage

_FINISHED = '{"finished":true}'


class Journal:
    """Open for one area; `tiles` and `sequences` of an unfinished run are taken up again.

    path: the journal file; None keeps everything in memory. coverage: tile name → what it said, of the run in progress.
    sequence_ids: the ids inside the
    area of every sequence that was stored completely, by any run. gone: image id → when it was found not
    to exist.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.coverage: dict[str, Coverage] = {}
        self.sequence_ids: dict[str, list[str]] = {}
        self.gone: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._stream: Any = None
        if path is not None:
            if self._read(path):
                self._compact(path)
            self._open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def tile_read(self, name: str, coverage: Coverage) -> None:
        """A tile (or the cells in its place) has been read completely."""
        self.coverage[name] = coverage
        sequences, loose = sorted(coverage.sequences), sorted(coverage.loose_ids)
        self._append({"tile": name, "sequences": sequences, "loose": loose, "points": coverage.n_points})

    def sequence_done(self, key: str, image_ids: Sequence[str]) -> None:
        """All images of a sequence that lie in the area are stored: these."""
        if self.sequence_ids.get(key) != list(image_ids):
            self.sequence_ids[key] = list(image_ids)
            self._append({"sequence": key, "ids": list(image_ids)})

    def image_gone(self, image_id: str, when: datetime) -> None:
        """A tombstone: the service says that this image does not exist."""
        self.gone[image_id] = when
        self._append({"gone": image_id, "at": when.isoformat()})

    def finish(self) -> None:
        """The run is complete: the next one reads all tiles again, to see what is new."""
        self.coverage = {}
        self._append({"finished": True})

    def _read(self, path: Path) -> bool:
        """Take up what is written; True when the last run was finished, so that its tiles are of no more use."""
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror})") from None
        for line in lines:
            try:
                self._take_up(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
        return bool(lines) and lines[-1] == _FINISHED

    def _compact(self, path: Path) -> None:
        """Write the journal anew without the past runs' tiles: it grows with the area, not with the number of runs."""
        entries: list[dict[str, Any]] = [{"sequence": key, "ids": ids} for key, ids in self.sequence_ids.items()]
        entries += [{"gone": image_id, "at": when.isoformat()} for image_id, when in self.gone.items()]
        write_atomically(path, b"".join(_line(entry) for entry in entries))

    def _take_up(self, entry: dict[str, Any]) -> None:
        if "tile" in entry:
            self.coverage[entry["tile"]] = Coverage(set(entry["sequences"]), set(entry["loose"]), entry["points"])
        elif "sequence" in entry:
            self.sequence_ids[entry["sequence"]] = [str(image_id) for image_id in entry["ids"]]
        elif "gone" in entry:
            self.gone[entry["gone"]] = datetime.fromisoformat(entry["at"])
        elif "finished" in entry:
            self.coverage = {}

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab")
            if self._stream.tell() and not _ends_with_newline(path):
                self._stream.write(b"\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None

    def _append(self, entry: dict[str, Any]) -> None:
        if self._stream is None:
            return
        with self._lock:
            try:
                self._stream.write(_line(entry))
                self._stream.flush()
                os.fsync(self._stream.fileno())
            except OSError as error:
                raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from None


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
