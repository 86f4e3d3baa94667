"""From names in the configuration to back-ends. Each import happens only when its back-end is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from geocorrect.config import Settings
from geocorrect.depth.base import DepthSource
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.depth.scaled import LidarScaleDepth, ScaleOptions, StatedScaleDepth
from geocorrect.errors import ConfigError, InputError
from geocorrect.match.base import Matcher
from geocorrect.networks.runtime import Runtime
from geocorrect.records import Anchor, AnchorView

if TYPE_CHECKING:
    from collections.abc import Callable

    from geocorrect.depth.calibration.stored import NeighbourDepth
    from geocorrect.retrieve.by_appearance import AppearanceRetriever

Options = TypeVar("Options", bound=Any)


def build_matcher(settings: Settings) -> Matcher:
    """The configured matcher; ModelError when its weights are missing, with the command that fetches them.

    Networks are loaded when they are first used: asking for a fingerprint is cheap.
    """
    matcher = _build_one_way(settings)
    if settings.match.agree_px > 0:
        from geocorrect.match.both_ways import SymmetricMatcher

        return SymmetricMatcher(matcher, settings.match.agree_px)
    return matcher


def _build_one_way(settings: Settings) -> Matcher:
    match settings.match.matcher:
        case "sift":
            from geocorrect.match.sift import SiftMatcher

            return SiftMatcher(settings.match.sift)
        case "mast3r":
            from geocorrect.match.mast3r import build as build_mast3r

            return build_mast3r(_with_runtime(settings.match.mast3r, settings))
        case "eloftr":
            from geocorrect.match.huggingface import build_eloftr

            return build_eloftr(_with_runtime(settings.match.eloftr, settings))
        case "lightglue_superpoint":
            from geocorrect.match.huggingface import build_lightglue_superpoint

            return build_lightglue_superpoint(_with_runtime(settings.match.lightglue_superpoint, settings))
        case "lightglue_disk":
            from geocorrect.match.lightglue_disk import build as build_lightglue_disk

            return build_lightglue_disk(_with_runtime(settings.match.lightglue_disk, settings))


def build_depth(
    settings: Settings, matcher: Matcher | None = None, neighbours: NeighbourCache | None = None
) -> DepthSource:
    """The configured depth source; ModelError when its weights are missing.

    matcher, neighbours: for sources that look at an anchor's neighbours; without them such a source can only say its
    fingerprint.
    """
    if not settings.depth.needs_neighbours:
        return _build_single_view(settings)
    return build_neighbour_depth(settings, matcher or build_matcher(settings), neighbours or NeighbourCache(_no_pixels))


def build_neighbour_depth(settings: Settings, matcher: Matcher, book: NeighbourCache) -> NeighbourDepth:
    """The configured depth source that looks at neighbours; ConfigError when another kind is configured."""
    from geocorrect.depth.calibration.store import CalibrationStore
    from geocorrect.depth.calibration.stored import StoredCalibratedDepth, StoredTriangulatedDepth
    from geocorrect.depth.triangulated import CalibratedDepth, TriangulatedDepth

    store, masks = CalibrationStore(settings.calibrations.folder), settings.localize.verify.masks
    if settings.depth.source == "triangulated":
        triangulated = TriangulatedDepth(matcher, book, settings.depth.triangulated)
        return StoredTriangulatedDepth(triangulated, book, store, masks)
    if settings.depth.calibrate:
        base = _build_single_view(settings)
        calibrated = CalibratedDepth(base, matcher, book, settings.depth.calibration)
        return StoredCalibratedDepth(calibrated, book, store, masks)
    raise ConfigError(
        f'[depth] source = "{settings.depth.source}" needs no calibration; configure source = "triangulated", or a '
        "network and calibrate = true"
    )


def build_appearance(
    settings: Settings, matcher: Matcher, view: Callable[[Anchor], AnchorView]
) -> AppearanceRetriever | None:
    """Retrieval by appearance with the matcher's own encoder; None when it is off, ConfigError when it has none.

    view: reads an anchor's pixels; raises InputError naming the file.
    """
    appearance = settings.retrieve.appearance
    if appearance.mode == "off":
        return None
    appearance.require_tokens(settings.match.matcher)
    from geocorrect.match.both_ways import SymmetricMatcher
    from geocorrect.match.mast3r import Mast3rMatcher
    from geocorrect.retrieve.by_appearance import AppearanceRetriever

    if isinstance(matcher, SymmetricMatcher):
        matcher = matcher.matcher
    assert isinstance(matcher, Mast3rMatcher)
    return AppearanceRetriever(matcher.engine, settings.retrieve, lambda anchor: view(anchor).pixels)


def _no_pixels(anchor: Anchor) -> AnchorView:
    raise InputError(f"anchor {anchor.id}: no pixels here")


def _build_single_view(settings: Settings) -> DepthSource:
    """A source that needs nothing but the anchor itself, its predictions times the configured scale."""
    base, options = _build_unscaled(settings), settings.depth.scale
    if options.heuristic is not None:
        from geocorrect.depth.lidar import LidarDepth

        return LidarScaleDepth(base, LidarDepth(), options.heuristic)
    return base if options == ScaleOptions() else StatedScaleDepth(base, options.factor, options.common_log_sigma)


def _build_unscaled(settings: Settings) -> DepthSource:
    match settings.depth.source:
        case "lidar":
            from geocorrect.depth.lidar import LidarDepth

            return LidarDepth()
        case "files":
            from geocorrect.depth.files import FilesDepth

            return FilesDepth(settings.depth.files)
        case "triangulated":
            raise AssertionError("depth from neighbours is built by build_neighbour_depth")
        case "depth_anything_v2":
            from geocorrect.depth.monocular import build_depth_anything

            return build_depth_anything(_with_runtime(settings.depth.depth_anything_v2, settings))
        case "depth_pro":
            from geocorrect.depth.monocular import build_depth_pro

            return build_depth_pro(_with_runtime(settings.depth.depth_pro, settings))
        case "zoedepth":
            from geocorrect.depth.monocular import build_zoedepth

            return build_zoedepth(_with_runtime(settings.depth.zoedepth, settings))
        case "mast3r":
            from geocorrect.depth.mast3r import build as build_mast3r_depth

            return build_mast3r_depth(_with_runtime(settings.depth.mast3r, settings))


def _with_runtime(options: Options, settings: Settings) -> Options:
    """The back-end's options, running where [models] says; one place decides, so a second one is refused."""
    if options.runtime != Runtime():
        raise ConfigError("device, precision, cache and licences are set in [models], not per back-end")
    return replace(options, runtime=settings.models)
