"""One of so many rows: evenly spread whatever the pattern of the rows, nested, the same on both back-ends."""

from __future__ import annotations

import sqlite3
from itertools import pairwise

import numpy as np
import pytest

from geocorrect.catalog.served.thinning import INDEXED, SHARES, is_one_of


def members(share: int, count: int) -> np.ndarray:
    with sqlite3.connect(":memory:") as connection:
        rows = connection.execute(
            "with recursive row(fid) as (select 1 union all select fid + 1 from row where fid < ?) "
            f"select fid from row where {is_one_of(share)}",
            (count,),
        )
        return np.array([fid for (fid,) in rows])


@pytest.mark.parametrize("share", [4, 16, 64, 256])
def test_members_are_evenly_spaced(share: int) -> None:
    """Not one of so many on average only: no gap is larger than 2.7 times the mean, as the golden ratio has it."""
    fids = members(share, 200_000)
    assert len(fids) == pytest.approx(200_000 / share, rel=0.01)
    gaps = np.diff(fids)
    assert gaps.max() <= 2.7 * share
    assert gaps.min() >= share / 2.7


@pytest.mark.parametrize("period", [2, 3, 4, 5, 7, 9, 10, 50])
def test_no_pattern_of_the_rows_is_favoured(period: int) -> None:
    """Two cameras in turn, every ninth rejected, …: every kind has its part."""
    counts = np.bincount(members(16, 200_000) % period, minlength=period)
    assert counts == pytest.approx(np.full(period, 200_000 / 16 / period), rel=0.05)


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    for larger, smaller in pairwise(SHARES[:4]):
        assert set(members(smaller, 20_000)) < set(members(larger, 20_000))
    assert set(INDEXED) < set(SHARES)


def test_the_largest_key_does_not_overflow() -> None:
    largest = 2**31 - 1
    product = is_one_of(4, str(largest)).split(" %")[0]
    with sqlite3.connect(":memory:") as connection:
        found = connection.execute(f"select {product}").fetchone()[0]
    assert found == largest * 2654435769, "as a whole number, not as the nearest float"
