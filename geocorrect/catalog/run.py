"""What identifies a run, what a stored result looks like, and how results are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from shapely.geometry.base import BaseGeometry

from geocorrect.errors import Reason, Status
from geocorrect.records import NAN, Attribution, Result


@dataclass(frozen=True)
class RunManifest:
    """A configuration that computes results.

    config_key: hash of everything that changes a result whatever photo and anchors are: settings, code, weights.
    run_key: names the results of one generation of it; a new generation begins when a photo that has a result gets
    another one, because it or its anchors changed, so that a result is never replaced. n_due: photos due at the start.
    config: the resolved configuration as plain JSON values, without secrets. started_at: timezone-aware.
    """

    run_key: str
    started_at: datetime
    config: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = ""
    matcher: str = ""
    depth: str = ""
    alignment_version: str = ""
    config_key: str | None = None
    generation: int = 1
    n_due: int | None = None

    def __post_init__(self) -> None:
        if not self.run_key:
            raise ValueError("a run needs a run_key")
        if self.started_at.tzinfo is None:
            raise ValueError(f"run {self.run_key}: started_at must carry a time zone")


@dataclass(frozen=True)
class StoredRun:
    """A run as the catalog knows it. duration_s adds up all finished starts; n_due is of the latest start.

    config_key, generation and n_due are None for runs of before schema 0002.
    """

    run_key: str
    started_at: datetime
    last_started_at: datetime
    finished_at: datetime | None
    n_starts: int
    duration_s: float
    config: Mapping[str, Any]
    code_version: str
    matcher: str
    depth: str
    alignment_version: str
    rolled_back_at: datetime | None
    rolled_back_because: str | None
    config_key: str | None = None
    generation: int | None = None
    n_due: int | None = None


@dataclass(frozen=True)
class StoredResult:
    """A result with its place on the map and what its photo's provider says; nan where unknown.

    lon_deg, lat_deg, height_m: corrected camera centre (WGS84, ellipsoidal height), nan for a rejection. semi axes and
    azimuth: horizontal 95 % error ellipse. displacement_*: corrected minus reported position. input_hash: of photo and
    candidate anchors that it rests on, None for results of before schema 0002. `result` is the complete record, made
    when asked for: exports of a million rows need only the plain values.
    """

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
    lon_deg: float = NAN
    lat_deg: float = NAN
    height_m: float = NAN
    heading_deg: float = NAN
    pitch_deg: float = NAN
    roll_deg: float = NAN
    expected_error_m: float = NAN
    expected_heading_error_deg: float = NAN
    semi_major_m: float = NAN
    semi_minor_m: float = NAN
    ellipse_azimuth_deg: float = NAN
    displacement_m: float = NAN
    displacement_east_m: float = NAN
    displacement_north_m: float = NAN
    heading_change_deg: float = NAN
    reported_lon_deg: float = NAN
    reported_lat_deg: float = NAN
    reported_heading_deg: float = NAN
    matcher: str = ""
    depth: str = ""
    depth_is_oracle: bool = False
    scale_source: str | None = None
    n_anchors: int = 0
    n_inliers: int = 0
    median_residual_px: float = NAN
    input_hash: str | None = None

    @cached_property
    def result(self) -> Result:
        """The correction or rejection as it was stored."""
        return self.make_result()


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ResultFilter:
    """Which results; every condition that is given must hold.

    area: (west, south, east, north) in degrees, west > east when it crosses the antimeridian, or a shapely polygon in
    lon/lat; compared with the corrected position, for rejections with the reported one. since: recorded at or after.
    max_expected_error_m: predicted 68 % horizontal error at most this. in_force: only the newest result of each photo
    that is neither retracted nor rolled back; else everything ever stored, without what was taken back unless
    withdrawn.
    """

    area: Box | BaseGeometry | None = None
    run_key: str | None = None
    status: tuple[Status, ...] = ()
    since: datetime | None = None
    max_expected_error_m: float | None = None
    image_ids: Sequence[str] | None = None
    sequence_id: str | None = None
    in_force: bool = True
    withdrawn: bool = True
