"""What to harvest: the order given to one run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from geocorrect.harvest.area import Area

STATE_FOLDER = ".harvest"


@dataclass(frozen=True)
class HarvestPlan:
    """Images of `area` taken at or after `since` (aware UTC), at most `limit` of them, with pictures under images_dir.

    dry_run: look what there is, and store nothing.
    """

    area: Area
    images_dir: Path
    since: datetime | None = None
    limit: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("since must carry a time zone")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")

    @property
    def state_folder(self) -> Path:
        """Where cursors and the lock lie."""
        return self.images_dir / STATE_FOLDER

    @property
    def journal_path(self) -> Path:
        """Each area and date has its own cursor."""
        text = f"{self.area.geometry.normalize().wkt}|{self.since}"
        return self.state_folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jsonl"
