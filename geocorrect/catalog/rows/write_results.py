"""Storing results: idempotent on (image, run), nothing ever updated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from geocorrect.catalog import schema
from geocorrect.catalog.bulk import Columns, among, insert_chunks, insert_rows, reserve_fids
from geocorrect.catalog.results import run_fid
from geocorrect.catalog.rows.codec import Row
from geocorrect.catalog.rows.references import read_image_facts, require_frame
from geocorrect.catalog.rows.result_columns import ImageFacts, result_columns
from geocorrect.catalog.rows.result_rows import pair_rows
from geocorrect.catalog.views.shapes import NEEDED, shape_columns
from geocorrect.geometry.frame import Frame
from geocorrect.records import Pair, Result

CHUNK = 5000
"""Results that are turned into columns at once: the server takes one chunk while the next is prepared."""


@dataclass(frozen=True)
class ResultInputs:
    """What results depend on."""

    pairs: Sequence[Pair]
    """The candidates that were tried."""
    input_hashes: Mapping[str, str]
    """Of all input, by image id."""


@dataclass(frozen=True)
class _Fresh:
    """Results that are not in the catalog yet, with their keys and what is known of their photos."""

    run_id: int
    recorded_at: datetime
    frame: Frame
    results: Sequence[Result]
    fids: Sequence[int]
    facts: ImageFacts


def write_results(
    connection: Connection, run_key: str, results: Sequence[Result], inputs: ResultInputs, now: datetime
) -> None:
    """Store results with what each anchor contributed; a photo that has a result in this run keeps it."""
    if not results:
        return
    run_id = run_fid(connection, run_key)
    done = _images_done(connection, run_id, [result.image_id for result in results])
    by_id = {result.image_id: result for result in results if result.image_id not in done}
    if not by_id:
        return
    facts, frame = read_image_facts(connection, list(by_id)), require_frame(connection)
    fids = reserve_fids(connection, schema.correction, len(by_id))
    fresh = _Fresh(run_id, now, frame, list(by_id.values()), fids, facts)
    placed: list[tuple[Columns, ImageFacts]] = []
    insert_chunks(connection, schema.correction, _chunks(fresh, inputs, placed), len(fids))
    insert_rows(connection, schema.pair, _pairs_of(fresh, inputs.pairs))
    shapes = (shape_columns(columns, some) for columns, some in placed)
    insert_chunks(connection, schema.correction_shape, shapes, len(fids))


def _chunks(fresh: _Fresh, inputs: ResultInputs, placed: list[tuple[Columns, ImageFacts]]) -> Iterator[Columns]:
    """Columns of `correction`; what their shapes are made of is added to placed."""
    for start in range(0, len(fresh.results), CHUNK):
        part = slice(start, start + CHUNK)
        some, facts = fresh.results[part], fresh.facts.part(part)
        columns: dict[str, Any] = result_columns(some, fresh.frame, facts) | {
            "fid": np.array(fresh.fids[part]),
            "run_id": np.full(len(some), fresh.run_id),
            "recorded_at": [fresh.recorded_at] * len(some),
            "input_hash": [inputs.input_hashes.get(result.image_id) for result in some],
        }
        placed.append(({name: columns[name] for name in NEEDED}, facts))
        yield columns


def _images_done(connection: Connection, run_id: int, image_ids: Sequence[str]) -> set[str]:
    c = schema.correction.c
    done = select(c.image_id).where(c.run_id == run_id, among(connection.dialect.name, c.image_id, image_ids))
    return set(connection.execute(done).scalars())


def _pairs_of(fresh: _Fresh, pairs: Sequence[Pair]) -> list[Row]:
    candidates: dict[str, dict[str, Pair]] = {}
    for pair in pairs:
        candidates.setdefault(pair.image_id, {})[pair.anchor_id] = pair
    return [
        {"correction_id": fid} | pair_row
        for fid, result in zip(fresh.fids, fresh.results, strict=True)
        for pair_row in pair_rows(result, candidates.get(result.image_id, {}))
    ]
