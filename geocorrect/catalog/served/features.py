"""Collections of features, page by page in the order of their integer keys: what GIS programs and web maps read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from geocorrect.catalog.connect import with_retries
from geocorrect.catalog.rows.column_types import instant_text
from geocorrect.catalog.run import Box
from geocorrect.catalog.served.filter import statement
from geocorrect.catalog.store import Catalog

_PHOTO = {
    "image_id": str, "sequence_id": str, "captured_at": datetime, "run_key": str, "n_anchors": int, "n_matches": int,
    "n_inliers": int, "recorded_at": datetime, "device_make": str, "device_model": str, "creator": str, "page_url": str,
    "licence": str,
}  # fmt: skip
_POSE = {
    **_PHOTO, "status": str,
    **dict.fromkeys(
        ("heading_deg", "pitch_deg", "roll_deg", "expected_error_m", "expected_heading_error_deg", "semi_major_m",
         "semi_minor_m", "ellipse_azimuth_deg", "sigma_height_m", "displacement_m", "displacement_east_m",
         "displacement_north_m", "heading_change_deg", "reported_lon_deg", "reported_lat_deg", "reported_heading_deg",
         "computed_lon_deg", "computed_lat_deg", "computed_heading_deg", "inlier_coverage", "median_residual_px",
         "anchor_spread_m"), float),
    "matcher": str, "depth": str, "depth_is_oracle": bool, "scale_source": str,
}  # fmt: skip


@dataclass(frozen=True)
class Collection:
    """Features of one kind: points, each with an integer key that grows with time."""

    title: str
    description: str
    source: str
    """Table or view."""
    properties: Mapping[str, type]
    placed_by: str
    """Table whose spatial index finds the features."""
    has_height: bool
    equals: tuple[str, ...] = ()
    """Properties that can be asked for by their value."""


COLLECTIONS: Mapping[str, Collection] = {
    "corrections": Collection(
        "Corrected photos",
        "Photos at their corrected camera centres (WGS84, ellipsoidal height): active results that are accepted.",
        "current_correction", _POSE, "correction", True, ("image_id", "sequence_id"),
    ),
    "review": Collection(
        "Photos that wait for a review",
        "Poses that are not trusted: not accepted, possibly hundreds of metres off.",
        "review_queue", _POSE, "correction", True, ("image_id", "sequence_id"),
    ),
    "rejected": Collection(
        "Rejected photos",
        "Photos that are not corrected, where they were reported, with the reason.",
        # Not the detail: of a photo that cannot be read it is the path of its file.
        "rejected", {**_PHOTO, "reason": str, "meaning": str, "heading_deg": float}, "image", False,
        ("image_id", "sequence_id", "reason"),
    ),
    "anchors": Collection(
        "Anchors",
        "Reference images of known pose that photos are matched against.",
        "anchor",
        {
            "anchor_id": str, "dataset": str, "drive_id": str, "alignment_id": str, "captured_at": datetime,
            "heading_deg": float, "pitch_deg": float, "roll_deg": float, "creator": str, "page_url": str,
            "licence": str,
        },
        "anchor", True, ("anchor_id", "dataset", "drive_id"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class PageRequest:
    """Which features, and from where on."""

    limit: int
    after: int = 0
    """Integer key of the last feature of the page before."""
    box: Box | None = None
    """West, south, east, north in degrees; west > east across the antimeridian."""
    heights_m: tuple[float, float] | None = None
    """Lowest and highest, of collections that have heights."""
    captured_from: datetime | None = None
    """Timezone-aware, like captured_to; both included."""
    captured_to: datetime | None = None
    equals: Mapping[str, str] = field(default_factory=dict)
    """Value by property; only those of `Collection.equals`."""


@dataclass(frozen=True)
class ServedFeature:
    """A feature as it is published; the file of a photo is not."""

    fid: int
    position: tuple[float, ...] | None
    """Longitude, latitude and where it has one ellipsoidal height; None when the photo was reported nowhere."""
    properties: Mapping[str, Any]
    """Plain values, moments as ISO 8601 text in UTC; None = unknown."""


def read_page(catalog: Catalog, collection: Collection, wanted: PageRequest) -> tuple[list[ServedFeature], bool]:
    """The next features, and whether there are more after them."""
    dialect = catalog.engine.dialect.name
    parameters: dict[str, Any] = {"after": wanted.after, "most": wanted.limit + 1}
    conditions = ["v.fid > :after"]
    for name, comparison in (("captured_from", ">="), ("captured_to", "<=")):
        if (moment := getattr(wanted, name)) is not None:
            conditions.append(f"v.captured_at {comparison} :{name}")
            parameters[name] = moment
    for name, value in wanted.equals.items():
        conditions.append(f"v.{name} = :equal_{name}")
        parameters[f"equal_{name}"] = value
    if wanted.heights_m is not None and collection.has_height:
        conditions.append("v.height_m between :low and :high")
        parameters |= dict(zip(("low", "high"), wanted.heights_m, strict=True))
    if wanted.box is not None:
        spans, sides = _spans(wanted.box)
        conditions.append("(" + " or ".join(_within(collection, dialect, k) for k in range(spans)) + ")")
        parameters |= sides
    rows = _select(catalog, collection, " and ".join(conditions) + " order by v.fid limit :most", parameters)
    return rows[: wanted.limit], len(rows) > wanted.limit


def read_feature(catalog: Catalog, collection: Collection, fid: int) -> ServedFeature | None:
    """One feature, None when there is none of this key (any more)."""
    return next(iter(_select(catalog, collection, "v.fid = :fid", {"fid": fid})), None)


def _select(catalog: Catalog, collection: Collection, where: str, parameters: dict[str, Any]) -> list[ServedFeature]:
    place = ["lon_deg", "lat_deg", *(["height_m"] if collection.has_height else [])]
    columns = ", ".join(f"v.{name}" for name in ("fid", *place, *collection.properties))
    query = statement(f"select {columns} from {collection.source} v where {where}", parameters)

    def read(connection: Connection) -> list[ServedFeature]:
        return [_feature(collection, row, len(place)) for row in connection.execute(query)]

    return with_retries(catalog.engine, read)


def _feature(collection: Collection, row: Sequence[Any], n_place: int) -> ServedFeature:
    position = None if row[1] is None else tuple(row[1 : 1 + n_place])
    values = zip(collection.properties.items(), row[1 + n_place :], strict=True)
    return ServedFeature(row[0], position, {name: _plain(value, kind) for (name, kind), value in values})


def _plain(value: Any, kind: type) -> Any:
    """As JSON has it: a GeoPackage has moments as text and truth as a number."""
    if isinstance(value, datetime):
        return instant_text(value)
    return bool(value) if kind is bool and value is not None else value


def _spans(box: Box) -> tuple[int, dict[str, float]]:
    """A box as one or two that do not cross the antimeridian, their sides numbered."""
    west, south, east, north = box
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    sides = {f"{name}{k}": value for k, span in enumerate(spans) for name, value in zip("we", span, strict=True)}
    return len(spans), sides | {"s": south, "n": north}


def _within(collection: Collection, dialect: str, k: int) -> str:
    """The condition that a feature is in a box: candidates by the index, which has single precision, then exactly."""
    exact = f"v.lon_deg between :w{k} and :e{k} and v.lat_deg between :s and :n"
    table = collection.placed_by
    if dialect == "postgresql":
        return f"v.geom && st_makeenvelope(:w{k}, :s, :e{k}, :n, 4326) and {exact}"
    hits = f"select id from rtree_{table}_geom where maxx >= :w{k} and minx <= :e{k} and maxy >= :s and miny <= :n"
    if table == "image":
        return f"v.image_id in (select image_id from image where fid in ({hits})) and {exact}"
    return f"v.fid in ({hits}) and {exact}"
