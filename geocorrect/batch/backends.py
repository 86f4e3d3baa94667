"""From names in the configuration to back-ends. Each import happens only when its back-end is chosen."""

from __future__ import annotations

from geocorrect.config import Settings
from geocorrect.depth.base import DepthSource
from geocorrect.errors import ConfigError
from geocorrect.match.base import Matcher


def build_matcher(settings: Settings) -> Matcher:
    """The configured matcher; ModelError when its weights are missing, with the command that fetches them."""
    name = settings.match.matcher
    if name == "sift":
        from geocorrect.match.sift import SiftMatcher

        return SiftMatcher(settings.match.sift)
    raise ConfigError(f"[match.matcher] {name!r} is not available in this version; use 'sift'")


def build_depth(settings: Settings) -> DepthSource:
    """The configured depth source; ModelError when its weights are missing."""
    name = settings.depth.source
    if name == "lidar":
        from geocorrect.depth.lidar import LidarDepth

        return LidarDepth()
    raise ConfigError(f"[depth.source] {name!r} is not available in this version; use 'lidar'")
