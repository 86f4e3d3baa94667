"""How candidate anchors are found: by place and direction first, by what they show on request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from geocorrect.errors import ConfigError
from geocorrect.retrieve.spatial import SpatialOptions


@dataclass(frozen=True)
class AppearanceOptions:
    """Comparing photos by what the matcher computes of them anyway: its local features, or its encoder's tokens."""

    mode: Literal["off", "check", "rerank", "search"] = "off"
    """`check` matches the anchors found by place, as `off` does, and asks among `candidates` of them whether another
    place is as similar; `rerank` matches the `retrieve.max_candidates` most alike of these, and asks, too; `search`
    also finds anchors, among all of the scene, for photos that have none near their reported position, or no position.
    """
    candidates: int = 32
    max_scene_anchors: int = 20_000
    """Larger scenes are not searched."""
    whitening: Path | None = None
    """File with `prewhiten.m` and `prewhiten.p`, such as the retrieval checkpoint of the matcher's authors, which makes
    the comparison sharper; not necessary. Of tokens only.
    """
    folder: Path = Path("appearance")
    """Where the anchors' descriptors (16 kB each, 4 kB of tokens) and the visual words are stored, made once."""

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.max_scene_anchors < 1:
            raise ValueError("retrieve.appearance: candidates and max_scene_anchors must be at least 1")

    def require_descriptors(self, matcher: str, has_descriptors: bool) -> None:
        """ConfigError when photos are to be compared and the named matcher has nothing to compare them by."""
        if self.mode != "off" and not has_descriptors:
            raise ConfigError(
                f'[retrieve.appearance] mode = "{self.mode}" compares photos by the matcher\'s own features, and '
                f'"{matcher}" has none of single photos; set another [match] matcher, such as "sift", or mode = "off"'
            )


@dataclass(frozen=True)
class RetrieveOptions(SpatialOptions):
    """Place, direction and, on request, appearance."""

    appearance: AppearanceOptions = field(default_factory=AppearanceOptions)

    @property
    def by_place(self) -> SpatialOptions:
        """Options of the search by place: more candidates where appearance decides among them."""
        if self.appearance.mode == "off":
            return self
        return replace(self, max_candidates=max(self.max_candidates, self.appearance.candidates))

    def searches_scene(self, n_anchors: int) -> bool:
        """Whether photos without an anchor nearby are compared with all anchors of a scene of this size."""
        return self.appearance.mode == "search" and n_anchors <= self.appearance.max_scene_anchors
