"""Photos for the planning of a run: as columns, in pieces; whole photos only of those that are due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from geocorrect.catalog import schema
from geocorrect.catalog.bulk import among
from geocorrect.catalog.rows.codec import image_from
from geocorrect.records import REVIEW_MATCHER, SEQUENCE_MATCHER, Image, MetadataQuality

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImagePositions:
    """N photos in the order of their fid, and the newest result of each under one configuration."""

    fid: NDArray[np.int64]
    """(N,)"""
    lon_deg: Float
    """(N,) reported, like lat_deg; nan when unknown."""
    lat_deg: Float
    heading_deg: Float
    """(N,) the best reported heading, nan when unknown."""
    content_hash: tuple[str, ...]
    input_hash: tuple[str | None, ...]
    """Of the newest result; None where there is none or where it is older than such hashes."""
    run_fid: NDArray[np.int64]
    """(N,) of the newest result, -1 where there is none."""

    def __len__(self) -> int:
        return len(self.fid)


@dataclass(frozen=True)
class DueHistory:
    """What is known of a photo that is due: its newest result that was matched, whatever the configuration."""

    run_fid: int | None
    """None when it has no result."""
    run_key: str | None
    config_key: str | None
    photo_changed: bool
    """The photo's content is not that of the result."""


@dataclass(frozen=True)
class StoredImage:
    """A photo with its integer key."""

    fid: int
    image: Image
    content_hash: str
    """Of everything that a result takes from the photo."""


def best_heading_deg(quality: str, reported_deg: Any, computed_deg: Any) -> float:
    """The provider's computed heading where it is reconstructed, else the compass (docs/mapillary_api.md)."""
    if quality == MetadataQuality.SFM.value and computed_deg is not None and np.isfinite(computed_deg):
        return float(computed_deg)
    return float("nan") if reported_deg is None else float(reported_deg)


def read_image_positions(connection: Connection, config_key: str, after_fid: int, count: int) -> ImagePositions:
    """The next `count` photos after a fid; `correction` is looked up by its key, once per photo."""
    image, result, run = schema.image.c, schema.correction.c, schema.run.c
    newest = (
        select(func.max(result.fid))
        .select_from(schema.correction.join(schema.run, run.fid == result.run_id))
        .where(result.image_id == image.image_id, run.config_key == config_key)
        .scalar_subquery()
    )
    columns = (
        image.fid, image.lon_deg, image.lat_deg, image.heading_deg, image.computed_heading_deg, image.quality,
        image.content_hash, newest.label("newest"),
    )  # fmt: skip
    photos = select(*columns).where(image.fid > after_fid).order_by(image.fid).limit(count).subquery()
    query = (
        select(photos, result.input_hash, result.run_id)
        .select_from(photos.outerjoin(schema.correction, result.fid == photos.c.newest))
        .order_by(photos.c.fid)
    )
    rows = connection.execute(query).all()
    fid, lon, lat, heading, computed, quality, content, _, inputs, runs = zip(*rows, strict=True) if rows else [()] * 10
    best = [best_heading_deg(*values) for values in zip(quality, heading, computed, strict=True)]
    return ImagePositions(
        np.array(fid, np.int64), np.array(lon, float), np.array(lat, float), np.array(best, float), tuple(content),
        tuple(inputs), np.array([-1 if number is None else number for number in runs], np.int64),
    )  # fmt: skip


def read_due_history(connection: Connection, fids: Sequence[int]) -> list[DueHistory]:
    """The history of photos, in no order."""
    image, result, run = schema.image.c, schema.correction.c, schema.run.c
    newest = (
        select(func.max(result.fid))
        .select_from(schema.correction.join(schema.run, run.fid == result.run_id))
        # Sequences and reviews have keys of their own and are not what makes a photo due.
        .where(result.image_id == image.image_id, run.matcher.not_like(f"{SEQUENCE_MATCHER}%"))
        .where(run.matcher != REVIEW_MATCHER)
        .scalar_subquery()
    )
    photos = (
        select(image.content_hash, newest.label("newest"))
        .where(among(connection.dialect.name, image.fid, fids))
        .subquery()
    )
    query = select(run.fid, run.run_key, run.config_key, result.content_hash != photos.c.content_hash).select_from(
        photos.outerjoin(schema.correction, result.fid == photos.c.newest).outerjoin(
            schema.run, run.fid == result.run_id
        )
    )
    return [DueHistory(row[0], row[1], row[2], bool(row[3])) for row in connection.execute(query)]


def read_stored_images(connection: Connection, fids: Sequence[int]) -> dict[int, StoredImage]:
    """Whole photos by fid; unknown fids are left out."""
    wanted = among(connection.dialect.name, schema.image.c.fid, fids)
    rows = connection.execute(select(schema.image).where(wanted)).mappings()
    return {row["fid"]: StoredImage(row["fid"], image_from(dict(row)), row["content_hash"]) for row in rows}
