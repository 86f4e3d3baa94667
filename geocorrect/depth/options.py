"""The configuration section `[depth]`: which depth source, and the options of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from geocorrect.depth.calibration.calibrate import CalibrateOptions
from geocorrect.depth.files import DepthFilesOptions
from geocorrect.depth.mapanything import MapAnythingDepthOptions
from geocorrect.depth.mast3r import Mast3rDepthOptions
from geocorrect.depth.mickey import MickeyDepthOptions
from geocorrect.depth.monocular import DepthAnything3Options, DepthAnythingOptions, DepthProOptions, ZoeDepthOptions
from geocorrect.depth.pointcloud.options import PointCloudOptions
from geocorrect.depth.reconstruction import ReconstructionDepthOptions
from geocorrect.depth.scale import ScaleOptions
from geocorrect.depth.triangulated import TriangulatedOptions
from geocorrect.errors import UsageError
from geocorrect.retrieve.neighbours import NeighbourOptions

DepthName = Literal[
    "lidar", "triangulated", "depth_anything_v2", "depth_anything_3", "depth_pro", "zoedepth", "mast3r", "mapanything",
    "mickey", "files", "pointcloud", "reconstruction",
]  # fmt: skip
"""Keys of `depth.registry.SOURCES`, as a type that the configuration is checked against."""
MEASURED = ("lidar", "triangulated", "pointcloud", "reconstruction")
"""Sources that measure depth: there is no predicted scale to correct."""


@dataclass(frozen=True)
class DepthSection:
    """Where the depth of the anchors comes from; the options of a source are the field of its name."""

    source: DepthName = "lidar"
    """`lidar` and `pointcloud` are oracles and labelled as such in every result. `triangulated` needs neither scanner
    nor network."""
    calibrate: bool = False
    """Correct a predicted depth once per anchor against its neighbours (`geocorrect anchors calibrate`)."""
    scale: ScaleOptions = field(default_factory=ScaleOptions)
    """What a predicted depth is multiplied by first."""
    neighbours: NeighbourOptions = field(default_factory=NeighbourOptions)
    triangulated: TriangulatedOptions = field(default_factory=TriangulatedOptions)
    calibration: CalibrateOptions = field(default_factory=CalibrateOptions)
    depth_anything_v2: DepthAnythingOptions = field(default_factory=DepthAnythingOptions)
    depth_anything_3: DepthAnything3Options = field(default_factory=DepthAnything3Options)
    depth_pro: DepthProOptions = field(default_factory=DepthProOptions)
    zoedepth: ZoeDepthOptions = field(default_factory=ZoeDepthOptions)
    mast3r: Mast3rDepthOptions = field(default_factory=Mast3rDepthOptions)
    mapanything: MapAnythingDepthOptions = field(default_factory=MapAnythingDepthOptions)
    mickey: MickeyDepthOptions = field(default_factory=MickeyDepthOptions)
    files: DepthFilesOptions = field(default_factory=DepthFilesOptions)
    pointcloud: PointCloudOptions = field(default_factory=PointCloudOptions)
    reconstruction: ReconstructionDepthOptions = field(default_factory=ReconstructionDepthOptions)

    def __post_init__(self) -> None:
        if self.calibrate and self.needs_query:
            raise ValueError(
                'depth: calibrate = true needs depth without a photo; set [depth.mast3r] pair_with = "self"'
            )
        if self.is_predicted:
            return
        if self.calibrate:
            raise ValueError(f"depth: {self.source} is not predicted by a network; calibrate = true does not apply")
        if self.scale != ScaleOptions():
            raise ValueError(f"depth: {self.source} is not predicted by a network; a scale does not apply")

    @property
    def is_predicted(self) -> bool:
        """Whether the source predicts depth, so that its scale may be wrong."""
        return self.source not in MEASURED

    @property
    def needs_neighbours(self) -> bool:
        """Whether the depth of an anchor takes the photos of its neighbours."""
        return self.calibrate or self.source == "triangulated" or self.shows_neighbours

    @property
    def shows_neighbours(self) -> bool:
        """Whether a network looks at an anchor's neighbours beside the anchor."""
        return self.source == "mapanything" and self.mapanything.max_neighbours > 0

    @property
    def needs_query(self) -> bool:
        """Whether an anchor has depth only together with a photo to localise."""
        return self.source == "mast3r" and self.mast3r.pair_with == "query"

    def alone(self) -> DepthSection:
        """The section without anything that takes neighbours; triangulation is nothing else and stays."""
        return replace(self, calibrate=False, mapanything=replace(self.mapanything, max_neighbours=0))

    def with_source(self, name: str) -> DepthSection:
        """The section with another source, as a command line names it; UsageError for an unknown one.

        A calibration that does not apply to the new source is switched off; a scale belongs to the configured source.
        """
        if name not in get_args(DepthName):
            raise UsageError(f"--depth {name!r}: use one of {', '.join(get_args(DepthName))}")
        source: DepthName = name  # type: ignore[assignment]
        scale = self.scale if source == self.source else ScaleOptions()
        try:
            return replace(self, source=source, calibrate=self.calibrate and source not in MEASURED, scale=scale)
        except ValueError as error:
            raise UsageError(f"--depth {name}: {error}") from None
