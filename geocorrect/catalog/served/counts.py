"""How many active results there are by status and reason: estimated at once, counted once per state of the catalog.

Counting looks for a newer version of every result, which takes seconds for a million. A sample is answered in
milliseconds: some thousand keys, evenly spread over all results (by the golden ratio, so that no pattern of the rows
meets them), each looked up by index.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, bindparam, text
from sqlalchemy.types import ARRAY, BigInteger

from geocorrect.catalog.connect import with_retries
from geocorrect.catalog.served.filter import MapFilter, statement
from geocorrect.catalog.store import Catalog

COUNTED = 50_000
"""So many results are counted rather than estimated."""
SAMPLE = 4096
_GOLDEN = 0.6180339887498949
_KEPT = 8
Counts = tuple[tuple[str, str | None, int], ...]
"""(status, reason, number of photos)."""


@dataclass(frozen=True)
class Answer:
    """Numbers of photos."""

    counts: Counts
    is_exact: bool


class ResultCounter:
    """Counts of one catalog; exact ones are kept until a result, a retraction or a roll back is added."""

    def __init__(self, catalog: Catalog) -> None:
        self._engine, self._counting = catalog.engine, Lock()
        self._kept: dict[tuple[Any, ...], Counts] = {}

    def read(self, as_of_run: int | None, *, exact: bool) -> Answer:
        """The counts, as they were when a run was the newest.

        Args:
            as_of_run: integer key of that run; None: now.
            exact: counted, however long it takes, unless another request is counting: many who wait would leave no
                thread for tiles. Else counted where that is quick, estimated where it is not.
        """
        key = (as_of_run, *with_retries(self._engine, _state))
        low, high = key[1:3]
        if key not in self._kept:
            if high - low < COUNTED:
                self._count(key, as_of_run)
            elif exact and self._counting.acquire(blocking=False):
                try:
                    self._count(key, as_of_run)
                finally:
                    self._counting.release()
        if key in self._kept:
            return Answer(self._kept[key], True)
        return Answer(with_retries(self._engine, lambda c: _estimated(c, as_of_run, low, high)), False)

    def _count(self, key: tuple[Any, ...], as_of_run: int | None) -> None:
        counts = with_retries(self._engine, lambda connection: _counted(connection, as_of_run))
        self._kept = dict([*self._kept.items(), (key, counts)][-_KEPT:])


def _state(connection: Connection) -> tuple[Any, ...]:
    """Changes with everything that decides which results are active: they are only added, see `schema`."""
    query = (
        "select coalesce(min(fid), 0), coalesce(max(fid), -1), (select count(*) from retraction), "
        "(select count(*) from run), (select count(*) from run where rolled_back_at is not null), "
        "(select max(rolled_back_at) from run) from correction"
    )
    return tuple(connection.execute(text(query)).one())


def _counted(connection: Connection, as_of_run: int | None) -> Counts:
    wanted = MapFilter(as_of_run=as_of_run)
    sql = f"select c.status, c.reason, count(*) from {wanted.results()} c group by c.status, c.reason order by 1, 2"
    return tuple((s, r, int(n)) for s, r, n in connection.execute(statement(sql, wanted.parameters())))


def _estimated(connection: Connection, as_of_run: int | None, low: int, high: int) -> Counts:
    wanted = MapFilter(as_of_run=as_of_run)
    span = high - low + 1
    fids = sorted({low + int(part * span) for part in np.modf(np.arange(1, SAMPLE + 1) * _GOLDEN)[0]})
    is_server = connection.dialect.name == "postgresql"
    looked_at = "any(:fids)" if is_server else "(select value from json_each(:fids))"
    sql = (
        f"select c.status, c.reason, count(*) from {wanted.results()} c "
        f"where c.fid {'=' if is_server else 'in'} {looked_at} group by c.status, c.reason order by 1, 2"
    )
    sample = (
        bindparam("fids", fids, type_=ARRAY(BigInteger))
        if is_server
        else bindparam("fids", orjson.dumps(fids).decode())
    )
    query = statement(sql, wanted.parameters()).bindparams(sample)
    return tuple((s, r, round(int(n) * span / len(fids))) for s, r, n in connection.execute(query))
