"""What the sequence step reads and writes: photos by sequence with their own results, findings, what runs rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Text, func, insert, select, table
from sqlalchemy import column as sql_column

from geocorrect.catalog import schema
from geocorrect.catalog.bulk import among
from geocorrect.catalog.connect import with_retries
from geocorrect.catalog.results import ACTIVE_RUN, run_fid
from geocorrect.catalog.rows.codec import checked_texts, known, number
from geocorrect.catalog.rows.result_rows import result_from
from geocorrect.catalog.store import Catalog
from geocorrect.records import NAN, SEQUENCE_MATCHER, Result

SEQUENCES_PER_READ = 100
_CURRENT_RESULT = table("current_result", sql_column("image_id", Text), sql_column("run_id"))
_CURRENT = table("current_sequence_finding", sql_column("fid"))


@dataclass(frozen=True)
class SequenceMember:
    """A photo of a sequence. own_…: its newest result in force that no sequence made; None where there is none."""

    image_id: str
    sequence_id: str
    content_hash: str
    own_fid: int | None
    own_run_key: str | None
    own_status: str | None


@dataclass(frozen=True)
class FindingState:
    """The newest finding of a sequence. rolled_back: a person rolled its run back; in_force: it is, its basis too."""

    run_key: str
    input_hash: str
    rolled_back: bool
    in_force: bool


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


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SequenceStore:
    """The sequences of a catalog. Every method is one transaction; writing again what is there changes nothing."""

    def __init__(self, catalog: Catalog, clock: Callable[[], datetime] = _utc_now) -> None:
        self._engine = catalog.engine
        self._clock = clock

    def members(self, sequence_ids: Sequence[str] | None = None) -> Iterator[tuple[str, list[SequenceMember]]]:
        """Photos with a capture time by sequence, in order of capture; of all sequences when ids is None.

        Read some sequences at a time: the photos of a city do not fit into memory, those of a sequence do.
        """
        ids = self.ids() if sequence_ids is None else list(sequence_ids)
        for start in range(0, len(ids), SEQUENCES_PER_READ):
            some = ids[start : start + SEQUENCES_PER_READ]
            found = with_retries(self._engine, lambda c, some=some: _read_members(c, some))  # type: ignore[misc]
            for sequence_id, members in groupby(found, key=lambda member: member.sequence_id):
                yield sequence_id, list(members)

    def ids(self) -> list[str]:
        """All sequences that have photos, sorted."""
        i = schema.image.c
        query = select(i.sequence_id).where(i.sequence_id.is_not(None)).distinct().order_by(i.sequence_id)
        return with_retries(self._engine, lambda c: list(c.execute(query).scalars()))

    def own_results(self, fids: Sequence[int]) -> dict[str, Result]:
        """Results by image id, from their integer keys."""
        return with_retries(self._engine, lambda c: _read_own_results(c, fids))

    def states(self) -> dict[str, FindingState]:
        """The newest finding of every sequence."""
        return with_retries(self._engine, _read_states)

    def input_hashes(self, run_key: str, image_ids: Sequence[str]) -> dict[str, str | None]:
        """By image id, what the results of a run for some photos rest on."""
        return with_retries(self._engine, lambda c: _read_input_hashes(c, run_key, image_ids))

    def finding_hashes(self, run_key: str) -> dict[str, str]:
        """By sequence, what the findings of a run rest on."""
        f, run = schema.sequence_finding.c, schema.run.c
        query = select(f.sequence_id, f.input_hash).join(schema.run, run.fid == f.run_id).where(run.run_key == run_key)
        return with_retries(self._engine, lambda c: {row[0]: row[1] for row in c.execute(query)})

    def active_of_others(self, run_key: str, image_ids: Sequence[str]) -> set[str]:
        """Which of the photos have a result in force that another run of this step made."""
        return with_retries(self._engine, lambda c: _read_active_of_others(c, run_key, image_ids))

    def current(self) -> list[SequenceFinding]:
        """Findings in force, by sequence."""
        return with_retries(self._engine, _read_current)

    def depend_on(self, run_key: str, basis_keys: Iterable[str]) -> None:
        """Note which runs a run rests on."""
        self._write(lambda c: _write_basis(c, run_key, sorted(set(basis_keys))))

    def record(self, run_key: str, finding: SequenceFinding) -> None:
        """Store a finding of a begun run; a sequence that has one in this run keeps it."""
        now = self._clock()
        self._write(lambda c: _write_finding(c, run_key, finding, now))

    def _write(self, work: Callable[[Connection], None]) -> None:
        def transaction(connection: Connection) -> None:
            writing = connection.execution_options(writes=True)
            with writing.begin():
                work(writing)

        with_retries(self._engine, transaction)


def _read_members(connection: Connection, sequence_ids: Sequence[str]) -> list[SequenceMember]:
    c, i, run = schema.correction.c, schema.image.c, schema.run.c
    of_these = among(connection, i.sequence_id, sequence_ids)
    newest = (
        select(c.image_id, func.max(c.fid).label("fid"))
        .select_from(
            schema.correction.join(ACTIVE_RUN, ACTIVE_RUN.c.fid == c.run_id).join(schema.run, run.fid == c.run_id)
        )
        .where(
            c.image_id.in_(select(i.image_id).where(of_these)),
            run.matcher != SEQUENCE_MATCHER,
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
    query = (
        select(i.image_id, i.sequence_id, i.content_hash, c.fid, run.run_key, c.status)
        .select_from(joined)
        .where(of_these, i.captured_at.is_not(None))
        .order_by(i.sequence_id, i.captured_at, i.image_id)
    )
    return [SequenceMember(*row) for row in connection.execute(query)]


def _read_own_results(connection: Connection, fids: Sequence[int]) -> dict[str, Result]:
    if not fids:
        return {}
    c = schema.correction.c
    columns = [column for column in c if column.name != "geom"]
    rows = connection.execute(select(*columns).where(among(connection, c.fid, list(fids)))).mappings()
    return {row["image_id"]: result_from(dict(row)) for row in rows}


def _read_states(connection: Connection) -> dict[str, FindingState]:
    f, run = schema.sequence_finding.c, schema.run.c
    newest = select(func.max(f.fid)).group_by(f.sequence_id)
    query = (
        select(f.sequence_id, run.run_key, f.input_hash, run.rolled_back_at, ACTIVE_RUN.c.fid)
        .select_from(
            schema.sequence_finding.join(schema.run, run.fid == f.run_id).outerjoin(
                ACTIVE_RUN, ACTIVE_RUN.c.fid == f.run_id
            )
        )
        .where(f.fid.in_(newest))
    )
    rows = connection.execute(query).all()
    return {row[0]: FindingState(row[1], row[2], row[3] is not None, row[4] is not None) for row in rows}


def _read_input_hashes(connection: Connection, run_key: str, image_ids: Sequence[str]) -> dict[str, str | None]:
    if not image_ids:
        return {}
    c, run = schema.correction.c, schema.run.c
    query = (
        select(c.image_id, c.input_hash)
        .join(schema.run, run.fid == c.run_id)
        .where(run.run_key == run_key, among(connection, c.image_id, list(image_ids)))
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _read_active_of_others(connection: Connection, run_key: str, image_ids: Sequence[str]) -> set[str]:
    if not image_ids:
        return set()
    run = schema.run.c
    query = (
        select(_CURRENT_RESULT.c.image_id)
        .join(schema.run, run.fid == _CURRENT_RESULT.c.run_id)
        .where(
            run.matcher == SEQUENCE_MATCHER,
            run.run_key != run_key,
            among(connection, _CURRENT_RESULT.c.image_id, list(image_ids)),
        )
    )
    return set(connection.execute(query).scalars())


def _read_current(connection: Connection) -> list[SequenceFinding]:
    f = schema.sequence_finding.c
    query = (
        select(*[f[name] for name in _COLUMNS])
        .join(_CURRENT, _CURRENT.c.fid == f.fid)
        .order_by(f.sequence_id)
    )  # fmt: skip
    return [_finding(dict(row)) for row in connection.execute(query).mappings()]


def _finding(row: dict[str, Any]) -> SequenceFinding:
    return SequenceFinding(**(row | {name: number(row[name]) for name in _NUMBERS}))


def _write_basis(connection: Connection, run_key: str, basis_keys: Sequence[str]) -> None:
    run_id = run_fid(connection, run_key)
    b = schema.run_basis.c
    present = set(connection.execute(select(b.basis_id).where(b.run_id == run_id)).scalars())
    wanted = [run_fid(connection, key) for key in basis_keys]
    rows = [{"run_id": run_id, "basis_id": fid} for fid in wanted if fid not in present]
    if rows:
        connection.execute(insert(schema.run_basis), rows)


def _write_finding(connection: Connection, run_key: str, finding: SequenceFinding, now: datetime) -> None:
    run_id, f = run_fid(connection, run_key), schema.sequence_finding.c
    present = select(f.fid).where(f.run_id == run_id, f.sequence_id == finding.sequence_id)
    if connection.execute(present).scalar() is not None:
        return
    values: dict[str, Any] = {name: getattr(finding, name) for name in _COLUMNS}
    values |= {name: known(values[name]) for name in _NUMBERS}
    checked = checked_texts(values, f"sequence {finding.sequence_id[:60]}")
    connection.execute(insert(schema.sequence_finding).values(**checked, run_id=run_id, recorded_at=now))
