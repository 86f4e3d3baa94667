"""Decisions of people on poses: who decided what, when and why; each makes a new version of the result.

The versions of one reviewer on the results of one run are a run of their own that depends on that run, so that either
can be rolled back. A decision holds until the photo is computed anew, because it, its anchors or the configuration
changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, table, update
from sqlalchemy import column as sql_column

from geocorrect import __version__
from geocorrect.catalog import schema
from geocorrect.catalog.bulk import among
from geocorrect.catalog.connect import with_retries, write_with_retries
from geocorrect.catalog.results import add_bases, newest_run, retract_results
from geocorrect.catalog.rows.codec import checked_texts, number
from geocorrect.catalog.rows.result_rows import result_from
from geocorrect.catalog.rows.write_results import ResultInputs, write_results
from geocorrect.catalog.run import RunManifest
from geocorrect.catalog.store import Catalog, begin_run_on
from geocorrect.errors import InputError, OutdatedError, Reason, Status
from geocorrect.records import REVIEW_MATCHER, SEQUENCE_MATCHER, Correction, Rejection, Result

_NUMBERS = (
    "lon_deg", "lat_deg", "height_m", "heading_deg", "expected_error_m", "displacement_m", "inlier_coverage",
    "median_residual_px", "reported_lon_deg", "reported_lat_deg", "computed_lon_deg", "computed_lat_deg",
)  # fmt: skip
_PLAIN = (
    "image_id", "sequence_id", "captured_at", "run_key", "path", "page_url", "creator", "licence", "matcher", "depth",
    "n_anchors", "n_inliers",
)  # fmt: skip


_ANY: Mapping[str, int] = {}


class Verdict(StrEnum):
    """What a reviewer says of a pose."""

    ACCEPT = "accept"
    REJECT = "reject"


@dataclass(frozen=True)
class WaitingPhoto:
    """A photo whose pose waits for a review; numbers are nan where unknown."""

    image_id: str
    sequence_id: str | None
    captured_at: datetime | None
    run_key: str
    path: str | None
    """The image file, None before it is downloaded."""
    page_url: str
    creator: str
    licence: str
    matcher: str
    depth: str
    n_anchors: int
    n_inliers: int
    lon_deg: float
    """Of the pose in question, like lat_deg, height_m and heading_deg."""
    lat_deg: float
    height_m: float
    heading_deg: float
    expected_error_m: float
    displacement_m: float
    inlier_coverage: float
    median_residual_px: float
    reported_lon_deg: float
    reported_lat_deg: float
    computed_lon_deg: float
    """By the provider, like computed_lat_deg."""
    computed_lat_deg: float


@dataclass(frozen=True)
class Decision:
    """A decision that was made."""

    image_id: str
    verdict: Verdict
    note: str
    reviewer: str
    reviewed_at: datetime
    run_key: str
    """Of the version that it made."""
    reviewed_run_key: str
    """Of the result that was looked at."""
    is_active: bool
    """Whether that version is the active result of the photo."""


@dataclass(frozen=True)
class _Reviewed:
    """An active result that is decided on."""

    fid: int
    run_id: int
    input_hash: str | None
    result: Result


class Reviews:
    """The reviews of a catalog. Every method is one transaction."""

    def __init__(self, catalog: Catalog) -> None:
        self._engine, self._clock, self._address = catalog.engine, catalog.clock, catalog.address

    def waiting(self) -> list[WaitingPhoto]:
        """What waits, least sure first."""
        queue = table("review_queue", *map(sql_column, (*_PLAIN, *_NUMBERS)))
        c = queue.c
        # The captured instant keeps its type only as a column of the table.
        columns = [schema.image.c.captured_at if name == "captured_at" else c[name] for name in (*_PLAIN, *_NUMBERS)]
        query = (
            select(*columns)
            .join_from(queue, schema.image, schema.image.c.image_id == c.image_id)
            .order_by(c.expected_error_m.desc(), c.image_id)
        )
        rows = [dict(row._mapping) for row in self._rows(query)]
        return [WaitingPhoto(**(row | {name: number(row[name]) for name in _NUMBERS})) for row in rows]

    def decisions(self, image_id: str | None = None) -> list[Decision]:
        """All decisions ever made, or those on one photo, oldest first."""
        v, made, seen = schema.review.c, schema.correction.alias("made"), schema.correction.alias("seen")
        run, seen_run, active = schema.run, schema.run.alias("seen_run"), table("current_result", sql_column("fid"))
        query = (
            select(
                made.c.image_id, v.verdict, v.note, v.reviewer, v.reviewed_at, run.c.run_key, seen_run.c.run_key,
                active.c.fid.is_not(None),
            )
            .select_from(schema.review)
            .join(made, made.c.fid == v.correction_id)
            .join(seen, seen.c.fid == v.reviewed_id)
            .join(run, run.c.fid == made.c.run_id)
            .join(seen_run, seen_run.c.fid == seen.c.run_id)
            .outerjoin(active, active.c.fid == made.c.fid)
            .order_by(v.fid)
        )  # fmt: skip
        if image_id is not None:
            query = query.where(made.c.image_id == image_id)
        return [
            Decision(row[0], Verdict(row[1]), row[2], row[3], row[4], row[5], row[6], bool(row[7]))
            for row in self._rows(query)
        ]

    def decide(
        self, image_ids: Sequence[str], verdict: Verdict, reviewer: str, note: str = "", seen: Mapping[str, int] = _ANY
    ) -> list[str]:
        """Decide on the poses of photos, all or none of them; returns the keys of the runs that hold the new versions.

        Accepted may be what waits for a review; rejected what waits, and what was accepted wrongly.

        Args:
            image_ids: the photos.
            verdict: what is said of all of them.
            reviewer: who says it.
            note: why.
            seen: by photo, the fid of the result that was looked at; what is not listed may have changed since.

        Raises:
            InputError: naming the first photo that cannot be decided on so, and what to do instead.
            OutdatedError: another result than the one that was looked at is active now.
        """
        _require_name(reviewer)
        texts = checked_texts({"reviewer": reviewer.strip(), "note": note}, "review")
        wanted, now = list(dict.fromkeys(image_ids)), self._clock()

        def write(connection: Connection) -> list[str]:
            found = _active_results(connection, wanted)
            for image_id in wanted:
                _require_seen(connection, image_id, found.get(image_id), seen.get(image_id))
                _refuse(image_id, found.get(image_id), verdict, self._address)
            keys = []
            by_run = sorted(found.values(), key=lambda reviewed: reviewed.run_id)
            for run_id, part in groupby(by_run, key=lambda reviewed: reviewed.run_id):
                keys.append(_record(connection, run_id, list(part), verdict, texts, now))
            return keys

        return write_with_retries(self._engine, write)

    def take_back(self, image_id: str, seen: int, reviewer: str) -> None:
        """Withdraw the decision that is a photo's active result, so that what was decided on is active again.

        Args:
            image_id: the photo.
            seen: fid of the version that the decision made.
            reviewer: who takes it back.

        Raises:
            InputError: the active result is no decision of a person.
            OutdatedError: it is another one by now.
        """
        _require_name(reviewer)
        because = checked_texts({"because": f"taken back by {reviewer.strip()}"}, "review")["because"]

        def write(connection: Connection) -> None:
            found = _active_results(connection, [image_id]).get(image_id)
            _require_seen(connection, image_id, found, seen)
            if _decision_text(connection, seen) is None:
                raise InputError(f"photo {image_id[:60]}: its result is no decision of a person: nothing to take back")
            retract_results(connection, [image_id], because, self._clock(), None)

        write_with_retries(self._engine, write)

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        return with_retries(self._engine, lambda connection: connection.execute(query).all())


def _active_results(connection: Connection, image_ids: Sequence[str]) -> dict[str, _Reviewed]:
    c = schema.correction.c
    active = table("current_result", sql_column("fid"))
    query = (
        select(*[column for column in c if column.name != "geom"])
        .join(active, active.c.fid == c.fid)
        .where(among(connection.dialect.name, c.image_id, image_ids))
    )
    rows = connection.execute(query).mappings().all()
    return {
        row["image_id"]: _Reviewed(row["fid"], row["run_id"], row["input_hash"], result_from(dict(row))) for row in rows
    }


def _require_name(reviewer: str) -> None:
    if not reviewer.strip():
        raise InputError("a decision needs the name of who decides: --by NAME")


def _require_seen(connection: Connection, image_id: str, found: _Reviewed | None, seen: int | None) -> None:
    """OutdatedError, saying by whom, when the active result is another one than was looked at."""
    if seen is None or (found is not None and found.fid == seen):
        return
    now = "it has no result" if found is None else _decision_text(connection, found.fid) or "it was computed anew"
    raise OutdatedError(f"photo {image_id[:60]} has changed since you looked at it: {now}; look again")


def _decision_text(connection: Connection, fid: int) -> str | None:
    """What was decided by the version of this fid, in words; None when it is no decision."""
    v = schema.review.c
    columns = (v.verdict, v.reviewer, v.note)
    row = connection.execute(select(*columns).where(v.correction_id == fid)).first()
    return None if row is None else f"{row[1]} decided to {row[0]} it" + (f" ({row[2]})" if row[2] else "")


def _refuse(image_id: str, found: _Reviewed | None, verdict: Verdict, address: str) -> None:
    """InputError unless the verdict can be given on this result."""
    if found is None:
        raise InputError(f"photo {image_id[:60]!r}: no active result in {address}; `geocorrect review list` names them")
    if isinstance(found.result, Rejection):
        undo = f"; `geocorrect db retract {image_id}` takes a reviewer's decision back"
        by_person = found.result.reason is Reason.REJECTED_BY_REVIEWER
        raise InputError(
            f"photo {image_id}: is rejected ({found.result.reason}) and has no pose to decide on{undo * by_person}"
        )
    if verdict is Verdict.ACCEPT and found.result.status is Status.ACCEPTED:
        raise InputError(f"photo {image_id}: is accepted already")


def _record(
    connection: Connection, base_fid: int, reviewed: Sequence[_Reviewed], verdict: Verdict, texts: Mapping[str, Any],
    now: datetime,
) -> str:  # fmt: skip
    """Store one reviewer's versions of results of one run; returns the key of the run that they are in."""
    manifest = _manifest(connection, base_fid, [r.result.image_id for r in reviewed], texts["reviewer"], now)
    run_id = begin_run_on(connection, manifest)
    add_bases(connection, run_id, [base_fid])
    versions = [_version(r.result, verdict, texts) for r in reviewed]
    inputs = {r.result.image_id: r.input_hash for r in reviewed if r.input_hash is not None}
    write_results(connection, manifest.run_key, versions, ResultInputs((), inputs), now)
    connection.execute(update(schema.run).where(schema.run.c.fid == run_id).values(finished_at=now))
    c, ids = schema.correction.c, [version.image_id for version in versions]
    made = select(c.image_id, c.fid).where(c.run_id == run_id, among(connection.dialect.name, c.image_id, ids))
    of_image = {row[0]: row[1] for row in connection.execute(made)}
    rows = [
        {"correction_id": of_image[r.result.image_id], "reviewed_id": r.fid, "verdict": verdict.value,
         "reviewed_at": now, **texts}
        for r in reviewed
    ]  # fmt: skip
    connection.execute(insert(schema.review), rows)
    return manifest.run_key


def _manifest(
    connection: Connection, base_fid: int, image_ids: Sequence[str], reviewer: str, now: datetime
) -> RunManifest:
    """The newest run of this reviewer on that run, or the next where a version of these photos is there already."""
    run, c = schema.run.c, schema.correction.c
    base = connection.execute(select(run.run_key, run.matcher, run.config).where(run.fid == base_fid)).one()
    config_key = hashlib.sha256(json.dumps([REVIEW_MATCHER, base.run_key, reviewer]).encode()).hexdigest()
    newest, generation = newest_run(connection, config_key), 1
    if newest is not None:
        fid, stored = newest
        there = select(func.count()).where(c.run_id == fid, among(connection.dialect.name, c.image_id, image_ids))
        taken = stored.rolled_back_at is not None or bool(connection.execute(there).scalar_one())
        generation = (stored.generation or 1) + taken
    of_sequence = base.matcher.startswith(SEQUENCE_MATCHER)
    matcher = f"{SEQUENCE_MATCHER}+{REVIEW_MATCHER}" if of_sequence else REVIEW_MATCHER
    return RunManifest(
        run_key=hashlib.sha256(json.dumps([config_key, generation]).encode()).hexdigest(),
        started_at=now,
        config=dict(base.config) | {"review": {"of_run": base.run_key, "reviewer": reviewer}},
        code_version=__version__,
        matcher=matcher,
        depth=REVIEW_MATCHER,
        config_key=config_key,
        generation=generation,
    )


def _version(result: Result, verdict: Verdict, texts: Mapping[str, Any]) -> Result:
    assert isinstance(result, Correction)
    if verdict is Verdict.ACCEPT:
        return replace(result, status=Status.ACCEPTED)
    said = f"{texts['reviewer']}: {texts['note']}" if texts["note"] else texts["reviewer"]
    return Rejection(result.image_id, Reason.REJECTED_BY_REVIEWER, said, result.evidence)
