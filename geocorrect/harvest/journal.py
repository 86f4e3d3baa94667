"""The saved cursor of a harvest: what is already known about an area, so that a killed run continues where it was.

One JSON object per line, appended and fsynced; a line that a kill cut short is ignored. Which images are stored is
for the catalog and the files to say, not for this list.
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
from geocorrect.harvest.mapillary.download import write_file
from geocorrect.harvest.mapillary.tiles import Coverage


class Journal:
    """The journal of one area, open for appending; an unfinished run's entries are read back.

    Attributes:
        coverage: what each tile showed in the run in progress, by tile name.
        sequence_ids: the ids inside the area of every sequence that was stored completely, by any run.
        gone: when each image was found not to exist, by id.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None keeps everything in memory. OutputError when it cannot be used."""
        self.path = path
        self.coverage: dict[str, Coverage] = {}
        self.sequence_ids: dict[str, list[str]] = {}
        self.gone: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._stream: Any = None
        if path is not None:
            self._read(path)
            # Written anew without finished runs' tiles: it grows with the area, not with the number of runs.
            entries = [*map(_tile, self.coverage, self.coverage.values())]
            entries += [*map(_sequence, self.sequence_ids, self.sequence_ids.values())]
            entries += [*map(_gone, self.gone, self.gone.values())]
            write_file(path, b"".join(map(_line, entries)))
            self._stream = path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def tile_read(self, name: str, coverage: Coverage) -> None:
        """A tile (or the cells in its place) has been read completely."""
        self.coverage[name] = coverage
        self._append(_tile(name, coverage))

    def sequence_done(self, key: str, image_ids: Sequence[str]) -> None:
        """All images of a sequence that lie in the area are stored: these."""
        if self.sequence_ids.get(key) != list(image_ids):
            self.sequence_ids[key] = list(image_ids)
            self._append(_sequence(key, image_ids))

    def image_gone(self, image_id: str, when: datetime) -> None:
        """A tombstone: the service says that this image does not exist."""
        self.gone[image_id] = when
        self._append(_gone(image_id, when))

    def finish(self) -> None:
        """The run is complete: the next one reads all tiles again, to see what is new."""
        self.coverage = {}
        self._append({"finished": True})

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror})") from None
        for line in lines:
            try:
                self._restore(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue

    def _restore(self, entry: dict[str, Any]) -> None:
        if "tile" in entry:
            self.coverage[entry["tile"]] = Coverage(set(entry["sequences"]), set(entry["loose"]), entry["points"])
        elif "sequence" in entry:
            self.sequence_ids[entry["sequence"]] = [str(image_id) for image_id in entry["ids"]]
        elif "gone" in entry:
            self.gone[entry["gone"]] = datetime.fromisoformat(entry["at"])
        elif "finished" in entry:
            self.coverage = {}

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


def _tile(name: str, coverage: Coverage) -> dict[str, Any]:
    sequences, loose = sorted(coverage.sequences), sorted(coverage.loose_ids)
    return {"tile": name, "sequences": sequences, "loose": loose, "points": coverage.n_points}


def _sequence(key: str, image_ids: Sequence[str]) -> dict[str, Any]:
    return {"sequence": key, "ids": list(image_ids)}


def _gone(image_id: str, when: datetime) -> dict[str, Any]:
    return {"gone": image_id, "at": when.isoformat()}


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
