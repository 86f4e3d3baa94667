"""What a harvest did: counts, holes, and the exit code that they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from geocorrect.errors import ExitCode
from geocorrect.harvest.options import HarvestOptions
from geocorrect.records import Image

TYPICAL_MB = {"256": 0.02, "1024": 0.2, "2048": 0.6, "original": 3.0}
"""Megabytes of one street photo as JPEG, for the estimate of a dry run only: about 0.2…0.3 bytes per pixel."""


@dataclass(frozen=True)
class Hole:
    """Something the service would not answer: kind ("cell", "sequence", "image", "picture"), which, and why."""

    kind: str
    name: str
    why: str


@dataclass
class HarvestReport:
    """Counts of one run. `holes` are tried again by the next run; stopped: on request, the next one goes on."""

    n_tiles: int = 0
    n_sequences: int = 0
    n_sequences_known: int = 0
    n_ids: int = 0
    n_outside: int = 0
    n_new: int = 0
    n_updated: int = 0
    n_unchanged: int = 0
    n_with_picture: int = 0
    n_gone: int = 0
    n_coverage_points: int = 0
    expected_mb: float = 0.0
    bytes_downloaded: int = 0
    wall_s: float = 0.0
    quality: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    holes: list[Hole] = field(default_factory=list)
    dry_run: bool = False
    stopped: bool = False

    def expect(self, n_coverage_points: int, options: HarvestOptions) -> None:
        """Note how many images the coverage shows (area and margin), and about how much there is to download."""
        self.n_coverage_points = n_coverage_points
        self.expected_mb = round(n_coverage_points * TYPICAL_MB[options.image_size], 1)

    @property
    def n_stored(self) -> int:
        """Images written to the catalog by this run."""
        return self.n_new + self.n_updated

    def count(self, images: Collection[Image], known: Collection[str]) -> None:
        """Add images that were just stored; `known` are the ids that the catalog had before."""
        for image in images:
            self.n_updated += image.id in known
            self.n_new += image.id not in known
            self.n_with_picture += image.path is not None
            self.quality[str(image.quality)] += 1
            if image.problem is not None:
                self.problems[str(image.problem)] += 1

    @property
    def exit_code(self) -> ExitCode:
        """INCOMPLETE_HARVEST when there are holes."""
        return ExitCode.INCOMPLETE_HARVEST if self.holes else ExitCode.OK

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        plain = {key: value for key, value in vars(self).items() if not isinstance(value, Counter | list)}
        counters = {key: dict(value) for key, value in vars(self).items() if isinstance(value, Counter)}
        holes = [vars(hole) for hole in self.holes]
        return {**plain, **counters, "holes": holes, "exit_code": int(self.exit_code)}

    def sentence(self) -> str:
        """For people."""
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
            text += "; stopped on request, run again to go on"
        if self.holes:
            text += f"; holes: {len(self.holes)} (first: {self.holes[0].why}); run again to fill them"
        return text
