"""Reads and writes of the sequence step: photos by sequence with their own results, findings, dependencies of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, Text, func, insert, select, table
from sqlalchemy import column as sql_column

from geocorrect.catalog import schema
from geocorrect.catalog.bulk import among
from geocorrect.catalog.connect import with_retries, write_with_retries
from geocorrect.catalog.results import ACTIVE_RUN, add_bases, run_fid
from geocorrect.catalog.rows.codec import checked_texts, known, number
from geocorrect.catalog.rows.result_rows import result_from
from geocorrect.catalog.store import Catalog
from geocorrect.records import NAN, SEQUENCE_MATCHER, Result

SEQUENCES_PER_READ = 100
_CURRENT_RESULT = table("current_result", sql_column("fid"), sql_column("image_id", Text), sql_column("run_id"))
_CURRENT = table("current_sequence_finding", sql_column("fid"))


@dataclass(frozen=True)
class SequenceMember:
    """A photo of a sequence."""

    image_id: str
    sequence_id: str
    content_hash: str
    own_fid: int | None
    """Of its newest active result that the sequence step did not make, like own_run_key and own_status."""
    own_run_key: str | None
    own_status: str | None


@dataclass(frozen=True)
class FindingState:
    """The newest finding of a sequence."""

    run_key: str
    input_hash: str
    rolled_back: bool
    """Its own run is rolled back."""
    is_active: bool
    """Neither its run nor a run that this one depends on is rolled back."""


@dataclass(frozen=True)
class SequenceFinding:
    """A row of `sequence_finding`; numbers are nan where unknown. Signs: corrected minus reported."""

    sequence_id: str
    input_hash: str
    motion: str
    note: str
    n_photos: int
    n_results: int
    n_trusted: int = 0
    n_flagged: int = 0
    n_doubted: int = 0
    n_placed: int = 0
    n_sharpened: int = 0
    device_make: str | None = None
    device_model: str | None = None
    median_east_m: float = NAN
    median_north_m: float = NAN
    spread_m: float = NAN
    heading_bias_deg: float = NAN
    lag_s: float = NAN
    translation_noise: float = NAN
    rotation_noise: float = NAN


_COLUMNS = tuple(field.name for field in fields(SequenceFinding))
_NUMBERS = tuple(field.name for field in fields(SequenceFinding) if field.default is NAN)


class SequenceStore:
    """The sequences of a catalog. Every method is one transaction; writing again what is there changes nothing."""

    def __init__(self, catalog: Catalog) -> None:
        self._engine, self._clock = catalog.engine, catalog.clock

    def members(self, sequence_ids: Sequence[str] | None = None) -> Iterator[tuple[str, list[SequenceMember]]]:
        """Photos with a capture time by sequence, in order of capture; of all sequences when ids is None.

        Some sequences are read at a time: the photos of a city do not fit into memory, those of a sequence do.
        """
        ids = self.ids() if sequence_ids is None else list(sequence_ids)
        for start in range(0, len(ids), SEQUENCES_PER_READ):
            query = _members_query(self._engine.dialect.name, ids[start : start + SEQUENCES_PER_READ])
            found = [SequenceMember(*row) for row in self._rows(query)]
            for sequence_id, members in groupby(found, key=lambda member: member.sequence_id):
                yield sequence_id, list(members)

    def ids(self) -> list[str]:
        """All sequences that have photos, sorted."""
        i = schema.image.c
        rows = self._rows(select(i.sequence_id).where(i.sequence_id.is_not(None)).distinct().order_by(i.sequence_id))
        return [row[0] for row in rows]

    def own_results(self, fids: Sequence[int]) -> dict[str, Result]:
        """Results by image id, from their integer keys."""
        c = schema.correction.c
        columns = [column for column in c if column.name != "geom"]
        rows = self._rows(select(*columns).where(among(self._engine.dialect.name, c.fid, fids)))
        return {row.image_id: result_from(row._mapping) for row in rows}

    def states(self) -> dict[str, FindingState]:
        """The newest finding of every sequence."""
        f, run, active = schema.sequence_finding.c, schema.run.c, ACTIVE_RUN.c
        query = (
            select(f.sequence_id, run.run_key, f.input_hash, run.rolled_back_at.is_not(None), active.fid.is_not(None))
            .join_from(schema.sequence_finding, schema.run, run.fid == f.run_id)
            .outerjoin(ACTIVE_RUN, active.fid == f.run_id)
            .where(f.fid.in_(select(func.max(f.fid)).group_by(f.sequence_id)))
        )
        return {row[0]: FindingState(row[1], row[2], bool(row[3]), bool(row[4])) for row in self._rows(query)}

    def input_hashes(self, run_key: str, image_ids: Sequence[str]) -> dict[str, str | None]:
        """By image id, the input hashes of the results of a run for some photos."""
        c, run = schema.correction.c, schema.run.c
        query = (
            select(c.image_id, c.input_hash)
            .join(schema.run, run.fid == c.run_id)
            .where(run.run_key == run_key, among(self._engine.dialect.name, c.image_id, image_ids))
        )
        return {row[0]: row[1] for row in self._rows(query)}

    def finding_hashes(self, run_key: str) -> dict[str, str]:
        """By sequence, the input hashes of the findings of a run."""
        f, run = schema.sequence_finding.c, schema.run.c
        query = select(f.sequence_id, f.input_hash).join(schema.run, run.fid == f.run_id).where(run.run_key == run_key)
        return {row[0]: row[1] for row in self._rows(query)}

    def active_of_others(self, run_key: str, image_ids: Sequence[str]) -> set[str]:
        """Which of the photos have an active result that another run of this step made."""
        result, run = _CURRENT_RESULT.c, schema.run.c
        query = (
            select(result.image_id)
            .join(schema.run, run.fid == result.run_id)
            .where(
                run.matcher == SEQUENCE_MATCHER,
                run.run_key != run_key,
                among(self._engine.dialect.name, result.image_id, image_ids),
            )
        )
        return {row[0] for row in self._rows(query)}

    def reviewed(self, image_ids: Sequence[str]) -> set[str]:
        """Which of the photos have an active result that a person decided on."""
        result = _CURRENT_RESULT.c
        query = (
            select(result.image_id)
            .join(schema.review, schema.review.c.correction_id == result.fid)
            .where(among(self._engine.dialect.name, result.image_id, image_ids))
        )
        return {row[0] for row in self._rows(query)}

    def current(self) -> list[SequenceFinding]:
        """Active findings, by sequence."""
        f = schema.sequence_finding.c
        columns = [f[name] for name in _COLUMNS]
        query = select(*columns).join(_CURRENT, _CURRENT.c.fid == f.fid).order_by(f.sequence_id)
        rows = [dict(row._mapping) for row in self._rows(query)]
        return [SequenceFinding(**(row | {name: number(row[name]) for name in _NUMBERS})) for row in rows]

    def depend_on(self, run_key: str, basis_keys: Iterable[str]) -> None:
        """Store which runs a run depends on."""

        def write(connection: Connection) -> None:
            bases = [run_fid(connection, key) for key in sorted(set(basis_keys))]
            add_bases(connection, run_fid(connection, run_key), bases)

        write_with_retries(self._engine, write)

    def record(self, run_key: str, finding: SequenceFinding) -> None:
        """Store a finding of a begun run; a sequence that has one in this run keeps it."""
        now = self._clock()

        def write(connection: Connection) -> None:
            run_id, f = run_fid(connection, run_key), schema.sequence_finding.c
            present = select(f.fid).where(f.run_id == run_id, f.sequence_id == finding.sequence_id)
            if connection.execute(present).scalar() is not None:
                return
            values: dict[str, Any] = {name: getattr(finding, name) for name in _COLUMNS}
            values |= {name: known(values[name]) for name in _NUMBERS}
            checked = checked_texts(values, f"sequence {finding.sequence_id[:60]}")
            connection.execute(insert(schema.sequence_finding).values(**checked, run_id=run_id, recorded_at=now))

        write_with_retries(self._engine, write)

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        return with_retries(self._engine, lambda connection: connection.execute(query).all())


def _members_query(dialect_name: str, sequence_ids: Sequence[str]) -> Select[Any]:
    """The attributes of SequenceMember of all photos of the sequences."""
    c, i, run = schema.correction.c, schema.image.c, schema.run.c
    of_these = among(dialect_name, i.sequence_id, sequence_ids)
    newest = (
        select(c.image_id, func.max(c.fid).label("fid"))
        .select_from(
            schema.correction.join(ACTIVE_RUN, ACTIVE_RUN.c.fid == c.run_id).join(schema.run, run.fid == c.run_id)
        )
        .where(
            c.image_id.in_(select(i.image_id).where(of_these)),
            # A review of a result of this step says nothing new about the photo by itself.
            run.matcher.not_like(f"{SEQUENCE_MATCHER}%"),
            c.fid.not_in(select(schema.retraction.c.correction_id)),
        )
        .group_by(c.image_id)
        .subquery()
    )
    joined = (
        schema.image.outerjoin(newest, newest.c.image_id == i.image_id)
        .outerjoin(schema.correction, c.fid == newest.c.fid)
        .outerjoin(schema.run, run.fid == c.run_id)
    )
    return (
        select(i.image_id, i.sequence_id, i.content_hash, c.fid, run.run_key, c.status)
        .select_from(joined)
        .where(of_these, i.captured_at.is_not(None))
        .order_by(i.sequence_id, i.captured_at, i.image_id)
    )
