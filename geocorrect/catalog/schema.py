"""The tables of the catalog: one model for PostGIS and GeoPackage, every table and column commented.

Every table has an integer key `fid` (what GIS software wants) beside its natural key. Results are never updated:
`correction` only grows, and which results are active is decided by `run.rolled_back_at` and `retraction`, both without
geometry, so that one plain SQL statement suffices on either back-end. Angles in degrees, lengths in metres, NULL =
unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from geocorrect.catalog.rows.column_types import Instant, Json, Numbers
from geocorrect.catalog.rows.geometry_type import Geometry, Outlines

REVISION = "0008"
VERSION_TABLE = "geocorrect_version"
POSTGRES_SCHEMA = "geocorrect"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _of_type(kind: Any) -> Callable[..., Column[Any]]:
    """A maker of columns of a type, called with name, comment, and options of `Column`."""

    def column(name: str, comment: str, *constraints: Any, **options: Any) -> Column[Any]:
        return Column(name, kind, *constraints, comment=comment, **options)

    return column


# Ids sort by their bytes on both back-ends, whatever the locale of the server.
ID = Text().with_variant(Text(collation="C"), "postgresql")
_id, _text, _real, _count, _boolean, _instant, _json, _numbers, _point, _point_z, _line, _polygon = (
    _of_type(kind)
    for kind in (
        ID, Text, Double, Integer, Boolean, Instant, Json, Numbers,
        Geometry.point(), Geometry.point_z(), Outlines("LINESTRING"), Outlines("POLYGON"),
    )
)  # fmt: skip


def _reference(name: str, to: str, comment: str, *, on_delete: str | None = None, **options: Any) -> Column[Any]:
    """A column with the key of another table's row, "table.column"."""
    kind = _count if to.endswith(".fid") else _text if to.startswith("reason.") else _id
    return kind(name, comment, ForeignKey(to, ondelete=on_delete), **options)


_CAMERA_AXES = "x y z w; camera: x right, y down, z forward"


def _pose_columns(what: str, *, nullable: bool) -> list[Column[Any]]:
    return [
        _real("enu_x_m", f"{what}: camera centre, metres east of the frame's origin", nullable=nullable),
        _real("enu_y_m", f"{what}: camera centre, metres north of the frame's origin", nullable=nullable),
        _real("enu_z_m", f"{what}: camera centre, metres up of the frame's origin", nullable=nullable),
        *(
            _real(f"q{c}", f"{what}: {c} of the unit quaternion enu_from_camera ({_CAMERA_AXES})", nullable=nullable)
            for c in "xyzw"
        ),
        _real("heading_deg", f"{what}: optical axis clockwise from true north, degrees; NULL straight up or down"),
        _real("pitch_deg", f"{what}: degrees above the horizon"),
        _real("roll_deg", f"{what}: degrees, clockwise positive; NULL straight up or down"),
    ]


def _place_columns(what: str, *, nullable: bool) -> list[Column[Any]]:
    return [
        _real("lon_deg", f"{what}: longitude, degrees WGS84", nullable=nullable),
        _real("lat_deg", f"{what}: latitude, degrees WGS84", nullable=nullable),
        _real("height_m", f"{what}: height above the WGS84 ellipsoid, metres", nullable=nullable),
    ]


def _attribution_columns() -> list[Column[Any]]:
    return [
        _text("creator", "who made the photo", nullable=False, default=""),
        _text("page_url", "where the photo is published", nullable=False, default=""),
        _text("licence", "licence of the photo", nullable=False, default=""),
    ]


def _table(name: str, comment: str, *columns: Any) -> Table:
    """A table with the key `fid`, its own or a plain number."""
    if columns[0].name != "fid":
        fid = _count("fid", "integer key for GIS software", primary_key=True, autoincrement=True)
        columns = (fid, *columns)
    return Table(name, metadata, *columns, comment=comment, sqlite_autoincrement=True)


frame = _table(
    "frame",
    "The local east-north-up frame in which this scene is computed; exactly one row.",
    _text("name", "human-readable name of the frame", nullable=False),
    _real("lon_deg", "origin: longitude, degrees WGS84", nullable=False),
    _real("lat_deg", "origin: latitude, degrees WGS84", nullable=False),
    _real("height_m", "origin: height above the WGS84 ellipsoid, metres", nullable=False),
    _point("geom", "origin, EPSG:4326", nullable=False),
    CheckConstraint("fid = 1", name="one_row"),
)

alignment = _table(
    "alignment",
    "Versions of the georeference of a dataset of anchors: world_from_local similarity with covariance.",
    _id("alignment_id", "name of the version; changes with its numbers", nullable=False, unique=True),
    _text("dataset", "the anchors' dataset", nullable=False),
    _text("method", "how it was found (known, gnss, joint, umeyama)", nullable=False),
    _instant("created_at", "when it was computed, UTC", nullable=False),
    _real("scale", "scale of enu_from_local", nullable=False),
    *[_real(f"q{c}", f"{c} of the unit quaternion enu_from_local", nullable=False) for c in "xyzw"],
    *[_real(f"t{c}_m", f"translation of enu_from_local, metres, {c}", nullable=False) for c in "xyz"],
    _numbers("covariance", "6x6 or 7x7 row-major: translation m, rotation rad, log scale"),
    _json("details", "clicks, residuals and other explanations, JSON", nullable=False),
)

anchor = _table(
    "anchor",
    "Reference images of known pose that photos are matched against.",
    _id("anchor_id", "id of the anchor", nullable=False, unique=True),
    _text("dataset", "the dataset it comes from", nullable=False),
    _id("drive_id", "the drive it was taken on"),
    _reference("alignment_id", "alignment.alignment_id", "the georeference that produced the pose",
               nullable=False, index=True),
    _instant("captured_at", "exposure time, UTC"),
    *_place_columns("camera centre", nullable=False),
    *_pose_columns("anchor pose", nullable=False),
    _numbers("covariance", "6x6 row-major of the pose: translation m (east, north, up), rotation rad"),
    _json("camera", "camera model of the image file, JSON", nullable=False),
    _json("lidar", "laser scan of the same moment, JSON"),
    _text("path", "image file", nullable=False),
    _text("sha256", "hash of the image file"),
    *_attribution_columns(),
    _point_z("geom", "camera centre, EPSG:4326 with ellipsoidal height", nullable=False),
    _text("content_hash", "hash of everything that a result takes from the anchor, its georeference included"),
    _json("noise", "how wrong the pose is by what the anchors of its drive say about each other (anchors check), JSON"),
)  # fmt: skip


def _reported_columns() -> list[Column[Any]]:
    return [
        _real("lon_deg", "longitude that the device reported, degrees WGS84"),
        _real("lat_deg", "latitude that the device reported, degrees WGS84"),
        _real("height_m", "height that the device reported, metres (see height_reference)"),
        _text("height_reference", "what height_m is measured from (ellipsoid, unknown, or a vertical CRS)"),
        _real("heading_deg", "compass heading that the device reported, degrees clockwise from true north"),
        _real("computed_lon_deg", "longitude computed by the provider, degrees WGS84 (for comparison only)"),
        _real("computed_lat_deg", "latitude computed by the provider, degrees WGS84 (for comparison only)"),
        _real("computed_height_m", "height computed by the provider, metres (for comparison only)"),
        _text("computed_height_reference", "what computed_height_m is measured from"),
        _real(
            "computed_heading_deg", "heading computed by the provider, degrees from true north (for comparison only)"
        ),
        _text("quality", "what the provider's computed fields are worth: raw_only, default or sfm", nullable=False),
    ]


REPORTED_NAMES = tuple(column.name for column in _reported_columns())

image = _table(
    "image",
    "Crowd-sourced photos as their provider describes them.",
    _id("image_id", "id of the photo at its provider", nullable=False, unique=True),
    _id("sequence_id", "the recording it belongs to", index=True),
    _instant("captured_at", "exposure time, UTC"),
    *_reported_columns(),
    _json("computed_pose", "provider's enu_from_camera: quaternion xyzw, translation m; JSON"),
    _text("device_make", "maker of the device"),
    _text("device_model", "model of the device"),
    _json("camera", "camera model of the image file, JSON; NULL when unusable"),
    _real("horizontal_fov_deg", "horizontal field of view, degrees"),
    _count("exif_orientation", "EXIF orientation of the file, 1 to 8", nullable=False, default=1),
    _text("path", "image file; NULL until downloaded"),
    _text("sha256", "hash of the image file"),
    _instant("harvested_at", "when the metadata was read, UTC"),
    _reference("problem", "reason.reason", "why the photo is not tried at all"),
    *_attribution_columns(),
    _json("provider", "remaining raw metadata of the provider, JSON", nullable=False),
    _text("content_hash", "hash of everything a result depends on; a change makes the photo due again", nullable=False),
    _point("geom", "position that the device reported, EPSG:4326"),
)

image_history = _table(
    "image_history",
    "What the provider said about a photo before it said something else.",
    _reference("image_id", "image.image_id", "the photo", nullable=False, index=True),
    _instant("replaced_at", "until when these values were valid, UTC", nullable=False),
    *_reported_columns(),
)

reason = _table(
    "reason",
    "Why a photo is not corrected: the closed list.",
    _text("reason", "code", nullable=False, unique=True),
    _text("meaning", "human-readable meaning", nullable=False),
)

run = _table(
    "run",
    "A configuration and its results; another start continues the same row until a photo gets a new result.",
    _id("run_key", "hash of config_key and generation", nullable=False, unique=True),
    _instant("started_at", "first start, UTC", nullable=False),
    _instant("last_started_at", "latest start, UTC", nullable=False),
    _instant("finished_at", "latest complete end, UTC; NULL while running or after an interruption"),
    _count("n_starts", "how often it was started", nullable=False, default=1),
    _real("duration_s", "seconds of work in all finished starts", nullable=False, default=0.0),
    _json("config", "resolved configuration, JSON", nullable=False),
    _text("code_version", "version of geocorrect", nullable=False),
    _text("matcher", "matcher and its weights", nullable=False),
    _text("depth", "depth source and its weights", nullable=False),
    _text("alignment_version", "hash of all anchors and their georeference when the run began", nullable=False),
    _instant("rolled_back_at", "set: the results of this run are not active"),
    _text("rolled_back_because", "why it was rolled back"),
    _id("config_key", "hash of configuration, code and weights; NULL before schema 0002"),
    _count("generation", "counts the runs of one config_key from 1: a new one begins when a photo gets another result"),
    _count("n_due", "photos that were due at the latest start"),
)

correction = _table(
    "correction",
    "Results, one per photo and run, never changed: a corrected pose, or the reason why there is none.",
    _reference("image_id", "image.image_id", "the photo", nullable=False),
    _reference("run_id", "run.fid", "fid of the run", nullable=False),
    _text("status", "accepted, review or rejected", nullable=False),
    _reference("reason", "reason.reason", "why rejected; NULL otherwise"),
    _text("detail", "the reason in one sentence with numbers", nullable=False, default=""),
    _instant("recorded_at", "when the result was stored, UTC", nullable=False),
    _text("content_hash", "image.content_hash that the result depends on", nullable=False),
    *_place_columns("corrected camera centre", nullable=True),
    *_pose_columns("corrected pose", nullable=True),
    _numbers("covariance", "6x6 row-major of the pose: translation m (east, north, up), rotation rad"),
    _real("semi_major_m", "semi-major axis of the horizontal 95 % error ellipse, metres"),
    _real("semi_minor_m", "semi-minor axis of the horizontal 95 % error ellipse, metres"),
    _real("ellipse_azimuth_deg", "direction of the semi-major axis, degrees clockwise from true north, 0 to 180"),
    _real("sigma_height_m", "standard deviation of the height, metres"),
    _real("expected_error_m", "predicted horizontal error, 68 %, metres"),
    _real("expected_heading_error_deg", "predicted heading error, 68 %, degrees"),
    _real("displacement_m", "horizontal distance from the reported to the corrected position, metres"),
    _real("displacement_east_m", "corrected minus reported position, metres east"),
    _real("displacement_north_m", "corrected minus reported position, metres north"),
    _real("heading_change_deg", "corrected minus reported heading, -180 to 180 degrees"),
    _text("matcher", "matcher that found the correspondences", nullable=False),
    _text("depth", "depth source", nullable=False),
    _boolean("depth_is_oracle", "true: the depth was measured (LiDAR), not predicted", nullable=False),
    _text(
        "scale_source", "what fixed the metric scale: depth, baselines, both, or sequence (the results of other photos)"
    ),
    _count("n_anchors", "anchors that contributed inliers", nullable=False),
    _count("n_matches", "correspondences found", nullable=False),
    _count("n_inliers", "correspondences that agree with the pose", nullable=False),
    _real("inlier_coverage", "share of the photo that the inliers cover, 0 to 1"),
    _real("median_residual_px", "median reprojection residual of the inliers, pixels"),
    _real("anchor_spread_m", "spread of the poses from single anchors, metres"),
    _json("evidence", "everything the result depends on, JSON", nullable=False),
    _point_z("geom", "corrected camera centre, EPSG:4326 with ellipsoidal height"),
    _text("input_hash", "hash of photo and candidate anchors that the result depends on; NULL before schema 0002"),
    UniqueConstraint("image_id", "run_id"),
    Index("ix_correction_run_id_status", "run_id", "status"),
    Index("ix_correction_recorded_at", "recorded_at"),
    CheckConstraint("status in ('accepted', 'review', 'rejected')", name="status"),
    CheckConstraint("(status = 'rejected') = (reason is not null)", name="reason"),
    CheckConstraint("(status = 'rejected') = (geom is null)", name="geom"),
)

pair = _table(
    "pair",
    "What each anchor contributed to a result.",
    _reference("correction_id", "correction.fid", "fid of the result", on_delete="CASCADE", nullable=False),
    _reference("anchor_id", "anchor.anchor_id", "the anchor", nullable=False, index=True),
    _count("rank", "place of the anchor among the candidates, 0 first", nullable=False),
    _real("distance_m", "distance of the anchor from the reported position, metres"),
    _real("heading_difference_deg", "difference of the headings, degrees"),
    _count("n_matches", "correspondences found"),
    _count("n_verified", "correspondences that agree with one epipolar geometry"),
    _count("n_points", "of these, with a known depth"),
    _count("n_inliers", "of these, in agreement with the pose"),
    _real("median_residual_px", "median reprojection residual, pixels"),
    _real("single_anchor_shift_m", "distance between the pose from this anchor alone and the joint pose, metres"),
    _real("weight", "weight of the anchor in the joint pose"),
    UniqueConstraint("correction_id", "anchor_id"),
)  # fmt: skip

retraction = _table(
    "retraction",
    "Results that a person has withdrawn; a result with a row here is not active.",
    _reference("correction_id", "correction.fid", "fid of the result",
               on_delete="CASCADE", nullable=False, unique=True),
    _instant("retracted_at", "when, UTC", nullable=False),
    _text("because", "why", nullable=False, default=""),
)  # fmt: skip

review = _table(
    "review",
    "Decisions of people on poses; each made a new version of a result.",
    _reference("correction_id", "correction.fid", "fid of the version that the decision made",
               on_delete="CASCADE", nullable=False, unique=True),
    _reference("reviewed_id", "correction.fid", "fid of the result that was looked at", on_delete="CASCADE",
               nullable=False, index=True),
    _text("verdict", "accept or reject", nullable=False),
    _text("note", "why", nullable=False, default=""),
    _text("reviewer", "who decided", nullable=False),
    _instant("reviewed_at", "when, UTC", nullable=False),
    CheckConstraint("verdict in ('accept', 'reject')", name="verdict"),
)  # fmt: skip

run_basis = _table(
    "run_basis",
    "Runs whose results another run depends on; when one of them is rolled back, the other is not active either.",
    _reference("run_id", "run.fid", "fid of the run that depends on another", nullable=False),
    _reference("basis_id", "run.fid", "fid of the run that it depends on", nullable=False),
    UniqueConstraint("run_id", "basis_id"),
)  # fmt: skip

sequence_finding = _table(
    "sequence_finding",
    "What a sequence as a whole says: about its results, and about the device. Signs: corrected minus reported.",
    _reference("run_id", "run.fid", "fid of the run", nullable=False),
    _id("sequence_id", "the recording", nullable=False, index=True),
    _text("input_hash", "hash of everything that the finding depends on", nullable=False),
    _instant("recorded_at", "when it was stored, UTC", nullable=False),
    _text("motion", "where the motion comes from: sfm_cluster, computed, gps, joined by +; empty when unknown",
          nullable=False),
    _text("note", "why nothing could be said; empty otherwise", nullable=False, default=""),
    _count("n_photos", "photos of the sequence", nullable=False),
    _count("n_results", "of these, with a result of their own", nullable=False),
    _count("n_trusted", "results that agree with the sequence", nullable=False),
    _count("n_flagged", "results that contradict it and are rejected", nullable=False),
    _count("n_doubted", "results that contradict it and wait for review", nullable=False),
    _count("n_placed", "photos without a result that were placed", nullable=False),
    _count("n_sharpened", "results that were sharpened or confirmed", nullable=False),
    _text("device_make", "maker of the device"),
    _text("device_model", "model of the device"),
    _real("median_east_m", "median of corrected minus reported position, metres east"),
    _real("median_north_m", "median of corrected minus reported position, metres north"),
    _real("spread_m", "1.48 times the median absolute deviation from that, metres"),
    _real("heading_bias_deg", "median of corrected minus reported heading, degrees"),
    _real("lag_s", "by how much the reported positions trail the photos, seconds; NULL where it cannot be determined"),
    _real("translation_noise", "noise of the motion relative to its options, in translation"),
    _real("rotation_noise", "noise of the motion relative to its options, in rotation"),
    UniqueConstraint("run_id", "sequence_id"),
)  # fmt: skip

correction_shape = _table(
    "correction_shape",
    "Lines and polygons of a result for the views, computed when it was stored.",
    _reference("fid", "correction.fid", "fid of the result", on_delete="CASCADE", primary_key=True),
    _line("displacement", "line from the reported to the corrected position"),
    _polygon("ellipse", "95 % error ellipse"),
    _polygon("wedge", "what the corrected photo sees"),
)  # fmt: skip

TABLES = metadata.sorted_tables
"""All tables, in the order of their foreign keys."""
