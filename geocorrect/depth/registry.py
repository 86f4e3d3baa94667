"""The one list of depth sources: what each is, and how it is built. Networks are loaded by their first prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geocorrect.depth.base import DepthDeclaration, DepthSource, PairDepthSource
from geocorrect.depth.calibration.neighbours import NeighbourCache
from geocorrect.depth.calibration.store import CalibrationStore
from geocorrect.depth.calibration.stored import (
    NeighbourDepth,
    StoredCalibratedDepth,
    StoredTriangulatedDepth,
    declare_calibrated,
)
from geocorrect.depth.files import FilesDepth, declare_files
from geocorrect.depth.lidar import LidarDepth
from geocorrect.depth.mapanything import Hints, declare_mapanything
from geocorrect.depth.mapanything import build as build_mapanything
from geocorrect.depth.mast3r import build as build_mast3r
from geocorrect.depth.mast3r import declare_mast3r
from geocorrect.depth.mickey import build as build_mickey
from geocorrect.depth.mickey import declare_mickey
from geocorrect.depth.monocular import (
    DEPTH_ANYTHING_3,
    DEPTH_PRO,
    build_depth_anything,
    build_depth_anything_3,
    build_depth_pro,
    build_zoedepth,
    declare_network,
    depth_anything_card,
    zoedepth_card,
)
from geocorrect.depth.options import DepthName, DepthSection
from geocorrect.depth.pointcloud.source import PointCloudDepth, declare_pointcloud
from geocorrect.depth.reconstruction import GivenTracks, ReconstructionDepth, declare_reconstruction
from geocorrect.depth.scale import (
    LidarScaleDepth,
    ScaledPairDepth,
    ScaleOptions,
    StatedScaleDepth,
    declare_measured_scale,
    declare_stated_scale,
    stated_scale,
)
from geocorrect.depth.triangulated import declare_triangulated
from geocorrect.errors import ConfigError
from geocorrect.match.base import Matcher
from geocorrect.networks.cards import CARDS
from geocorrect.networks.runtime import Runtime, with_runtime
from geocorrect.networks.weights import card_of


@dataclass(frozen=True)
class SourceEntry:
    """What a depth source is and how it is made, both from its options: the field of `DepthSection` of its name."""

    declare: Callable[[Any], DepthDeclaration]
    """Says what it is; neither weights nor files need to be there."""
    build: Callable[[Any], DepthSource] | None = None
    """Raises ModelError when libraries or weights are missing. None: it is made of neighbours, not of the anchor."""
    build_beside: Callable[[Any, NeighbourCache, Hints | None, str], DepthSource] | None = None
    """The same for a network that looks at the anchor's neighbours, too; with hints and their fingerprint."""


SOURCES: Mapping[DepthName, SourceEntry] = {
    "lidar": SourceEntry(lambda _: LidarDepth().declaration, lambda _: LidarDepth()),
    "triangulated": SourceEntry(declare_triangulated),
    "depth_anything_v2": SourceEntry(lambda o: declare_network(depth_anything_card(o)), build_depth_anything),
    "depth_anything_3": SourceEntry(lambda _: declare_network(CARDS[DEPTH_ANYTHING_3]), build_depth_anything_3),
    "depth_pro": SourceEntry(lambda _: declare_network(CARDS[DEPTH_PRO]), build_depth_pro),
    "zoedepth": SourceEntry(lambda o: declare_network(zoedepth_card(o)), build_zoedepth),
    "mast3r": SourceEntry(lambda _: declare_mast3r(), build_mast3r),
    "mapanything": SourceEntry(lambda o: declare_mapanything(card_of(o.weights)), build_mapanything, build_mapanything),
    "mickey": SourceEntry(lambda _: declare_mickey(), build_mickey),
    "files": SourceEntry(declare_files, FilesDepth),
    "pointcloud": SourceEntry(declare_pointcloud, PointCloudDepth),
    "reconstruction": SourceEntry(declare_reconstruction, ReconstructionDepth),
}


def build_single_view_depth(section: DepthSection, runtime: Runtime) -> DepthSource:
    """A source that takes nothing but the anchor itself, its predictions times the configured scale.

    Raises:
        ModelError: weights are missing; the message names the command that fetches them.
    """
    build = SOURCES[section.source].build
    assert build is not None, "depth from neighbours is built by build_neighbour_depth"
    return _scaled(build(with_runtime(_options(section), runtime)), section.scale)


def build_depth_beside_neighbours(
    section: DepthSection, runtime: Runtime, matcher: Matcher, neighbours: NeighbourCache, *,
    calibrations_folder: Path, masks: str = "",
) -> DepthSource:  # fmt: skip
    """A network's depth of an anchor that it sees beside its neighbours; see `build_neighbour_depth`."""
    build = SOURCES[section.source].build_beside
    if build is None or not section.shows_neighbours:
        return build_single_view_depth(section, runtime)
    hints, fingerprint = None, ""
    if section.mapanything.hints == "lidar":
        lidar = LidarDepth()
        hints, fingerprint = lambda a, pixels: None if a.lidar is None else lidar.depth(a, pixels), lidar.fingerprint
    elif section.mapanything.hints == "triangulated":
        store = CalibrationStore(calibrations_folder)
        measured = StoredTriangulatedDepth(matcher, neighbours, store, section.triangulated, masks)
        hints, fingerprint = measured.depth, measured.fingerprint
    return _scaled(build(with_runtime(_options(section), runtime), neighbours, hints, fingerprint), section.scale)


def _scaled(base: DepthSource, scale: ScaleOptions) -> DepthSource:
    if scale == ScaleOptions():
        return base
    if scale.heuristic is not None:
        scaled: LidarScaleDepth | StatedScaleDepth = LidarScaleDepth(base, LidarDepth(), scale.heuristic)
    else:
        scaled = StatedScaleDepth(base, scale.factor, scale.common_log_sigma)
    return ScaledPairDepth(base, scaled) if isinstance(base, PairDepthSource) else scaled


def build_neighbour_depth(
    section: DepthSection,
    runtime: Runtime,
    matcher: Matcher,
    neighbours: NeighbourCache,
    *,
    calibrations_folder: Path,
    masks: str = "",
) -> NeighbourDepth:
    """The configured depth source that looks at neighbours.

    Args:
        section: Which source, and whether neighbours calibrate it.
        runtime: Where a network that they calibrate runs.
        matcher: Matches an anchor with its neighbours.
        neighbours: Knows the neighbours of each anchor.
        calibrations_folder: Where the outcome for each anchor is stored.
        masks: Name of the set of masks that the neighbours' views come with.

    Raises:
        ConfigError: a source of another kind is configured.
        ModelError: as in `build_single_view_depth`.
    """
    store = CalibrationStore(calibrations_folder)
    if section.source == "triangulated":
        return StoredTriangulatedDepth(matcher, neighbours, store, section.triangulated, masks)
    if section.calibrate:
        base = build_depth_beside_neighbours(
            section, runtime, matcher, neighbours, calibrations_folder=calibrations_folder, masks=masks
        )
        given = GivenTracks(section.reconstruction.folder)
        return StoredCalibratedDepth(base, matcher, neighbours, store, section.calibration, masks, given)
    raise ConfigError(
        f'[depth] source = "{section.source}" needs no calibration; configure source = "triangulated", or a '
        "network and calibrate = true"
    )


def declare_depth(section: DepthSection) -> DepthDeclaration:
    """What the configured source is, scale and calibration included; neither weights nor files need to be there."""
    declared, scale = SOURCES[section.source].declare(_options(section)), section.scale
    if scale.heuristic is not None:
        declared = declare_measured_scale(declared, LidarDepth().declaration)
    elif scale != ScaleOptions():
        declared = declare_stated_scale(declared, stated_scale(scale.factor, scale.common_log_sigma))
    return declare_calibrated(declared) if section.calibrate else declared


def depth_rows(section: DepthSection) -> list[dict[str, Any]]:
    """One row per depth source under these options, as plain JSON values: the rows of `geocorrect depth list`."""
    return [_row(name, declare_depth(section.with_source(name))) for name in SOURCES]


def _options(section: DepthSection) -> Any:
    return getattr(section, section.source, None)


def _row(name: str, declared: DepthDeclaration) -> dict[str, Any]:
    licence = declared.licence
    nearest, farthest = declared.valid_range_m
    return {
        "source": name,
        "needs": "; ".join(declared.needs).replace("`", ""),
        "range": f"{nearest:g}–{farthest:g}" if math.isfinite(farthest) else "any",
        "errors": f"{_percent(declared.log_sigma)}/{_percent(declared.common_log_sigma)}",
        "licence": "–" if licence is None else licence.short or licence.name,
        "commercial": "yes" if licence is None or licence.commercial else "no",
        "weights": declared.weights,
        "valid_range_m": [nearest, farthest if math.isfinite(farthest) else None],
        "log_sigma": _known(declared.log_sigma),
        "common_log_sigma": _known(declared.common_log_sigma),
        "is_oracle": declared.is_oracle,
    }


def _percent(sigma: float) -> str:
    """A standard deviation of log depth as a reader knows it: 0.2 is 20 %, unknown is "map", each map states it."""
    return "map" if math.isnan(sigma) else f"{100 * sigma:.0f} %"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
