"""The clicks of all drives while somebody works: changed one by one, saved after each, undone, never overwritten.

The files are the truth: each change is written before it is answered, so that a killed server has lost at most the
change under way. A file that another program has changed is read again, and the change refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock

from geocorrect.errors import InputError, OutdatedError
from geocorrect.georeference.build import ClickedDrive
from geocorrect.georeference.landmarks.click import Click
from geocorrect.georeference.landmarks.write import write_clicks
from geocorrect.io.checksum import sha256_of
from geocorrect.serve.landmarks.drive import Drive, LandmarkFiles, open_drives, read_clicks

MAX_UNDO = 200
Clicks = tuple[tuple[Click, ...], ...]
"""Drive by drive."""


@dataclass(frozen=True)
class Version:
    """The clicks at one moment."""

    number: int
    clicks: Clicks


class ClickSession:
    """Clicks of several drives; safe for several threads."""

    def __init__(self, files: LandmarkFiles) -> None:
        self.files = files
        self.drives, clicks = open_drives(files)
        self._lock = RLock()
        self._now = Version(1, clicks)
        self._before: list[Clicks] = []
        self._on_disk = [_content(drive.clicks_file) for drive in self.drives]

    @property
    def now(self) -> Version:
        """The present clicks."""
        with self._lock:
            return self._now

    @property
    def can_undo(self) -> bool:
        """Whether a change of this session can be undone."""
        return bool(self._before)

    def clicked_drives(self, clicks: Clicks) -> list[ClickedDrive]:
        """The drives that have clicks, as the solver takes them."""
        return [replace(drive.base, clicks=own) for drive, own in zip(self.drives, clicks, strict=True) if own]

    def add(self, seen: int, drive: int, click: Click) -> Version:
        """One more click; `seen` is the number of the version that it was made on."""
        own = self._own(drive)
        checked = self._checked(own, click)
        return self._change(seen, drive, lambda clicks: (*clicks, checked))

    def replace(self, seen: int, drive: int, index: int, click: Click) -> Version:
        """Another pixel, place or mark for the click at an index of its drive."""
        checked = self._checked(self._own(drive), click)

        def change(clicks: tuple[Click, ...]) -> tuple[Click, ...]:
            _require(clicks, index)
            # Its errors and height, which the page does not show, stay.
            names = ("image", "u_px", "v_px", "lon_deg", "lat_deg", "landmark")
            moved = replace(clicks[index], **{name: getattr(checked, name) for name in names})
            return (*clicks[:index], moved, *clicks[index + 1 :])

        return self._change(seen, drive, change)

    def remove(self, seen: int, drive: int, index: int) -> Version:
        """Without the click at an index of its drive."""
        self._own(drive)

        def change(clicks: tuple[Click, ...]) -> tuple[Click, ...]:
            _require(clicks, index)
            return clicks[:index] + clicks[index + 1 :]

        return self._change(seen, drive, change)

    def undo(self, seen: int) -> Version:
        """The clicks before the latest change of this session."""
        with self._lock:
            self._require_current(seen)
            if not self._before:
                raise InputError("nothing to undo: no click was changed since the server started")
            clicks = self._before[-1]
            self._store(clicks)
            self._before.pop()
            return self._now

    def _own(self, drive: int) -> Drive:
        if not 0 <= drive < len(self.drives):
            raise InputError(f"drive {drive}: there are {len(self.drives)}")
        return self.drives[drive]

    def _checked(self, drive: Drive, click: Click) -> Click:
        """The click, if its image is on the drive, its pixel in the image and its place on earth."""
        drive.base.pose_of(click)
        camera = drive.base.rig.camera
        if not (abs(click.lon_deg) <= 180 and abs(click.lat_deg) <= 90):
            raise InputError(f"longitude {click.lon_deg:g}, latitude {click.lat_deg:g} is not on earth")
        return click.in_pixels(camera.width, camera.height)

    def _change(self, seen: int, drive: int, change: Callable[[tuple[Click, ...]], tuple[Click, ...]]) -> Version:
        with self._lock:
            self._require_current(seen)
            before = self._now.clicks
            self._store((*before[:drive], _numbered(change(before[drive])), *before[drive + 1 :]))
            self._before = [*self._before[-MAX_UNDO:], before]
            return self._now

    def _store(self, clicks: Clicks) -> None:
        for k, drive in enumerate(self.drives):
            if clicks[k] != self._now.clicks[k]:
                write_clicks(clicks[k], drive.clicks_file)
                self._on_disk[k] = _content(drive.clicks_file)
        self._now = Version(self._now.number + 1, clicks)

    def _require_current(self, seen: int) -> None:
        changed = [k for k, drive in enumerate(self.drives) if _content(drive.clicks_file) != self._on_disk[k]]
        if changed:
            clicks = tuple(drive.with_own_names(read_clicks(drive.clicks_file)) for drive in self.drives)
            self._on_disk = [_content(drive.clicks_file) for drive in self.drives]
            self._before, self._now = [], Version(self._now.number + 1, clicks)
            names = ", ".join(str(self.drives[k].clicks_file) for k in changed)
            raise OutdatedError(f"{names} was changed by another program and is read again; repeat your change")
        if seen != self._now.number:
            raise OutdatedError("somebody else has clicked since you looked; look again and repeat your change")


def _numbered(clicks: tuple[Click, ...]) -> tuple[Click, ...]:
    counts: dict[str, int] = {}
    numbered = []
    for click in clicks:
        number = counts.get(click.image, 0)
        counts[click.image] = number + 1
        numbered.append(replace(click, index=number))
    return tuple(numbered)


def _require(clicks: tuple[Click, ...], index: int) -> None:
    if not 0 <= index < len(clicks):
        raise InputError(f"click {index}: the drive has {len(clicks)}")


def _content(path: Path) -> str | None:
    return sha256_of(path) if path.exists() else None
