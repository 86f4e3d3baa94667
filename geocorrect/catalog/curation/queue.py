"""The active results as a queue for whoever looks through them: filtered, least sure first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from geocorrect.catalog import schema
from geocorrect.catalog.connect import with_retries
from geocorrect.catalog.results import source_of
from geocorrect.catalog.rows.codec import number
from geocorrect.catalog.run import ResultFilter
from geocorrect.catalog.store import Catalog

MAX_VALUES = 200
"""Of sequences and devices, the most frequent are offered as filters."""


@dataclass(frozen=True)
class QueueFilter:
    """Which active results; every condition that is given must be met."""

    status: str | None = None
    reason: str | None = None
    sequence_id: str | None = None
    device: str | None = None
    """Make and model, with a space between."""
    min_error_m: float | None = None
    """Of the predicted 68 % horizontal error, like max_error_m."""
    max_error_m: float | None = None


@dataclass(frozen=True)
class QueuedPhoto:
    """An active result in the queue."""

    image_id: str
    status: str
    reason: str | None
    expected_error_m: float
    """nan where there is no pose."""


@dataclass(frozen=True)
class QueuePage:
    """A part of the queue."""

    photos: tuple[QueuedPhoto, ...]
    total: int
    """How many there are in all parts."""


def read_queue(catalog: Catalog, wanted: QueueFilter, first: int, count: int) -> QueuePage:
    """Part of the queue: what waits for a review before what was accepted, then what was rejected; least sure first."""
    c = _SOURCE.c
    order = case({"review": 0, "accepted": 1}, value=c.status, else_=2)
    page = _filtered(select(c.image_id, c.status, c.reason, c.expected_error_m), wanted)
    page = page.order_by(order, func.coalesce(c.expected_error_m, -1.0).desc(), c.image_id).offset(first).limit(count)
    counted = _filtered(select(func.count()), wanted)

    def read(connection: Connection) -> QueuePage:
        rows = connection.execute(page).all()
        photos = tuple(QueuedPhoto(row[0], row[1], row[2], number(row[3])) for row in rows)
        return QueuePage(photos, int(connection.execute(counted).scalar_one()))

    return with_retries(catalog.engine, read)


def read_choices(catalog: Catalog) -> dict[str, list[tuple[str, int]]]:
    """What can be filtered by: values of status, reason, sequence_id and device with their counts, most first."""
    c = _SOURCE.c
    named = {"status": c.status, "reason": c.reason, "sequence_id": schema.image.c.sequence_id, "device": _DEVICE}

    def read(connection: Connection) -> dict[str, list[tuple[str, int]]]:
        return {
            name: [(str(v), int(n)) for v, n in connection.execute(_counts(column))] for name, column in named.items()
        }

    return with_retries(catalog.engine, read)


def _counts(column: Any) -> Select[Any]:
    n = func.count()
    query = _filtered(select(column, n), QueueFilter()).where(column.is_not(None), column != "")
    return query.group_by(column).order_by(n.desc(), column).limit(MAX_VALUES)


def _filtered(query: Select[Any], wanted: QueueFilter) -> Select[Any]:
    c, i = _SOURCE.c, schema.image.c
    conditions: Sequence[Any] = [
        None if wanted.status is None else c.status == wanted.status,
        None if wanted.reason is None else c.reason == wanted.reason,
        None if wanted.sequence_id is None else i.sequence_id == wanted.sequence_id,
        None if wanted.device is None else _DEVICE.in_([wanted.device]),
        None if wanted.min_error_m is None else c.expected_error_m >= wanted.min_error_m,
        None if wanted.max_error_m is None else c.expected_error_m <= wanted.max_error_m,
    ]
    joined = query.select_from(_SOURCE.join(schema.image, i.image_id == c.image_id))
    return joined.where(*[condition for condition in conditions if condition is not None])


_SOURCE = source_of(ResultFilter())
_DEVICE = func.trim(
    func.coalesce(schema.image.c.device_make, "") + " " + func.coalesce(schema.image.c.device_model, "")
)
