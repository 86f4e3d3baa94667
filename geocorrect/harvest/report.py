"""What a harvest did: counts, holes, and the exit code that follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from geocorrect.errors import ExitCode
from geocorrect.harvest.options import ImageSize
from geocorrect.records import Image

TYPICAL_MB: dict[ImageSize, float] = {"256": 0.02, "1024": 0.2, "2048": 0.6, "original": 3.0}
"""Megabytes of one street photo as JPEG, for the estimate of a dry run only: about 0.2…0.3 bytes per pixel."""

_NAMED_HOLES = 5


@dataclass(frozen=True)
class Hole:
    """Something that the service would not answer for; the next run asks again."""

    kind: str
    """"cell", "sequence", "image" or "picture"."""
    name: str
    """Which: corners of the search box, key or id."""
    why: str
    """What the service answered last."""


@dataclass
class HarvestReport:
    """Counts of one run."""

    n_tiles: int = 0
    """Coverage tiles of the area and its margin."""
    n_sequences: int = 0
    """Sequences found in them."""
    n_sequences_known: int = 0
    """Sequences whose ids an earlier run had listed."""
    n_ids: int = 0
    """Different images of these sequences."""
    n_outside: int = 0
    """Images outside the area or the period."""
    n_new: int = 0
    """Images stored that the catalog did not have."""
    n_updated: int = 0
    """Images stored again."""
    n_unchanged: int = 0
    """Images that the catalog has and that were not due."""
    n_with_picture: int = 0
    """Stored images that have their picture on disk."""
    n_gone: int = 0
    """Images that no longer exist."""
    n_coverage_points: int = 0
    """Images that the coverage shows in the area and its margin."""
    expected_mb: float = 0.0
    """About how much there is to download, megabytes."""
    bytes_downloaded: int = 0
    """Bytes received from the image host."""
    wall_s: float = 0.0
    """Duration in seconds."""
    quality: Counter[str] = field(default_factory=Counter)
    """Stored images by `MetadataQuality`."""
    problems: Counter[str] = field(default_factory=Counter)
    """Stored images by `Reason`, those without a problem left out."""
    requests: Counter[str] = field(default_factory=Counter)
    """Requests sent, by kind."""
    holes: list[Hole] = field(default_factory=list)
    """What stayed unanswered."""
    dry_run: bool = False
    """Nothing was to be stored."""
    stopped: bool = False
    """Ended early on request; the next run continues."""

    @property
    def n_stored(self) -> int:
        """Images written to the catalog by this run."""
        return self.n_new + self.n_updated

    def count(self, images: Collection[Image], known: Collection[str]) -> None:
        """Add images that were just stored; `known` are the ids that the catalog had before."""
        n_known = sum(image.id in known for image in images)
        self.n_updated += n_known
        self.n_new += len(images) - n_known
        self.n_with_picture += sum(image.path is not None for image in images)
        self.quality.update(str(image.quality) for image in images)
        self.problems.update(str(image.problem) for image in images if image.problem is not None)

    @property
    def exit_code(self) -> ExitCode:
        """INCOMPLETE_HARVEST when there are holes."""
        return ExitCode.INCOMPLETE_HARVEST if self.holes else ExitCode.OK

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "holes": [vars(hole) for hole in self.holes], "exit_code": int(self.exit_code)}

    def sentence(self) -> str:
        """A human-readable summary."""
        if self.dry_run:
            return (
                f"{self.n_sequences} sequences with about {self.n_coverage_points} images in and around the area, "
                f"about {self.expected_mb:.0f} MB to download ({self.n_tiles} tiles read)"
            )
        text = (
            f"{self.n_new} new images, {self.n_updated} updated, {self.n_unchanged} unchanged; "
            f"{self.bytes_downloaded / 1e6:.1f} MB in {self.wall_s:.0f} s ({sum(self.requests.values())} requests)"
        )
        if self.n_gone:
            text += f"; {self.n_gone} no longer exist"
        if self.stopped:
            text += "; stopped on request, run again to continue"
        if self.holes:
            named = "; ".join(f"{hole.kind} {hole.name}: {hole.why}" for hole in self.holes[:_NAMED_HOLES])
            named += "; …" * (len(self.holes) > _NAMED_HOLES)
            text += f"; holes: {len(self.holes)} ({named}); run again to fill them"
        return text
