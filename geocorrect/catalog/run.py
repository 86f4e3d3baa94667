"""Runs, stored results, and the filter that selects results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import Any

from shapely.geometry.base import BaseGeometry

from geocorrect.errors import Reason, Status
from geocorrect.records import NAN, Attribution, Result


@dataclass(frozen=True)
class RunManifest:
    """A configuration that computes results."""

    run_key: str
    """Names the results of one generation of the configuration. A new generation begins when a photo that has a result
    gets another one, because it or its anchors changed, so that a result is never replaced."""
    started_at: datetime
    """Timezone-aware."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved configuration as plain JSON values, without secrets."""
    code_version: str = ""
    matcher: str = ""
    depth: str = ""
    alignment_version: str = ""
    config_key: str | None = None
    """Hash of everything that changes a result whatever photo and anchors are: settings, code, weights."""
    generation: int = 1
    n_due: int | None = None
    """Photos due at the start."""

    def __post_init__(self) -> None:
        if not self.run_key:
            raise ValueError("a run needs a run_key")
        if self.started_at.tzinfo is None:
            raise ValueError(f"run {self.run_key}: started_at must carry a time zone")


@dataclass(frozen=True)
class StoredRun:
    """A run in the catalog."""

    run_key: str
    started_at: datetime
    last_started_at: datetime
    finished_at: datetime | None
    n_starts: int
    duration_s: float
    """Sum of all finished starts."""
    config: Mapping[str, Any]
    code_version: str
    matcher: str
    depth: str
    alignment_version: str
    rolled_back_at: datetime | None
    rolled_back_because: str | None
    config_key: str | None = None
    """None, like generation and n_due, for runs of before schema 0002."""
    generation: int | None = None
    n_due: int | None = None
    """Photos due at the latest start."""
    depends_on_rolled_back: str | None = None
    """Key of a run that it depends on and that is rolled back: its results are then not active either."""

    @property
    def is_active(self) -> bool:
        """Neither it nor a run that it depends on is rolled back."""
        return self.rolled_back_at is None and self.depends_on_rolled_back is None

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.rolled_back_at is not None:
            return "rolled back"
        basis = self.depends_on_rolled_back
        return "active" if basis is None else f"not active: depends on {basis[:12]}, which is rolled back"


@dataclass(frozen=True)
class StoredResult:
    """A result with its place on the map and the provider's attributes of its photo; nan where unknown."""

    fid: int
    run_key: str
    recorded_at: datetime
    image_id: str
    status: Status
    reason: Reason | None
    detail: str
    sequence_id: str | None
    captured_at: datetime | None
    attribution: Attribution
    make_result: Callable[[], Result] = field(repr=False, compare=False)
    """Makes `result` when it is needed: exports of a million rows need only the plain values."""
    lon_deg: float = NAN
    """Corrected camera centre, WGS84; nan for a rejection."""
    lat_deg: float = NAN
    height_m: float = NAN
    """Of the corrected camera centre above the ellipsoid."""
    heading_deg: float = NAN
    pitch_deg: float = NAN
    roll_deg: float = NAN
    expected_error_m: float = NAN
    expected_heading_error_deg: float = NAN
    semi_major_m: float = NAN
    """Of the horizontal 95 % error ellipse, like semi_minor_m and ellipse_azimuth_deg."""
    semi_minor_m: float = NAN
    ellipse_azimuth_deg: float = NAN
    displacement_m: float = NAN
    """Corrected minus reported position, like displacement_east_m and displacement_north_m."""
    displacement_east_m: float = NAN
    displacement_north_m: float = NAN
    heading_change_deg: float = NAN
    reported_lon_deg: float = NAN
    reported_lat_deg: float = NAN
    reported_heading_deg: float = NAN
    computed_lon_deg: float = NAN
    """By the provider, like computed_lat_deg and computed_heading_deg: often better than what was reported."""
    computed_lat_deg: float = NAN
    computed_heading_deg: float = NAN
    matcher: str = ""
    depth: str = ""
    depth_is_oracle: bool = False
    scale_source: str | None = None
    n_anchors: int = 0
    n_inliers: int = 0
    median_residual_px: float = NAN
    input_hash: str | None = None
    """Of photo and candidate anchors that the result depends on; None for results of before schema 0002."""

    @cached_property
    def result(self) -> Result:
        """The correction or rejection as it was stored."""
        return self.make_result()


NUMBERS = tuple(f.name for f in fields(StoredResult) if f.default is NAN)
"""Attributes of StoredResult that are numbers with a unit."""
Box = tuple[float, float, float, float]
"""West, south, east and north in degrees; west > east when the box crosses the antimeridian."""


@dataclass(frozen=True)
class ResultFilter:
    """Which results; every condition that is given must be met."""

    area: Box | BaseGeometry | None = None
    """A box, or a polygon in lon/lat; compared with the corrected position, for rejections with the reported one."""
    run_key: str | None = None
    status: tuple[Status, ...] = ()
    since: datetime | None = None
    """Recorded at or after."""
    max_expected_error_m: float | None = None
    """Upper limit of the predicted 68 % horizontal error."""
    image_ids: Sequence[str] | None = None
    sequence_id: str | None = None
    active: bool = True
    """Only the newest result of each photo that is neither retracted nor rolled back; else everything ever stored."""
    withdrawn: bool = True
    """Where not only active results are wanted: also those that were retracted or rolled back."""
