"""What rows of earlier releases lack, computed from what they have."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, select, update

from geocorrect.catalog.bulk import insert_chunks
from geocorrect.catalog.rows.codec import anchor_content_hash
from geocorrect.catalog.rows.result_columns import ImageFacts
from geocorrect.catalog.schema import anchor, correction, correction_shape, image
from geocorrect.catalog.views.shapes import NEEDED, shape_columns

CHUNK = 20_000


def fill_anchor_hashes(connection: Connection) -> None:
    """Anchors stored before schema 0002 have no hash of their content yet."""
    rows = connection.execute(select(anchor).where(anchor.c.content_hash.is_(None))).mappings().all()
    if rows:
        values = [{"key": row["fid"], "found": anchor_content_hash(dict(row))} for row in rows]
        change = update(anchor).where(anchor.c.fid == bindparam("key")).values(content_hash=bindparam("found"))
        connection.execute(change, values)


def fill_shapes(connection: Connection) -> None:
    """Results stored on a server before schema 0004 have no shapes yet."""
    c, i, shape = correction.c, image.c, correction_shape.c
    facts = (i.content_hash, i.lon_deg, i.lat_deg, i.heading_deg, i.horizontal_fov_deg)
    query = (
        select(*[c[name] for name in NEEDED], *[column.label(f"image_{column.name}") for column in facts])
        .join(image, i.image_id == c.image_id)
        .outerjoin(correction_shape, shape.fid == c.fid)
        .where(c.lon_deg.is_not(None), shape.fid.is_(None), c.fid > bindparam("after"))
        .order_by(c.fid)
        .limit(CHUNK)
    )
    after = 0
    while rows := connection.execute(query, {"after": after}).all():
        names = [*NEEDED, *(column.name for column in facts)]
        found: dict[int, Any] = dict(enumerate(zip(*rows, strict=True)))
        columns = {name: np.array(found[k], dtype=np.float64) for k, name in enumerate(NEEDED)}
        hashes, *numbers = (found[k] for k in range(len(NEEDED), len(names)))
        known = ImageFacts(list(hashes), *(np.array(values, dtype=np.float64) for values in numbers))
        insert_chunks(connection, correction_shape, [shape_columns(columns, known)], len(rows))
        after = int(rows[-1].fid)
