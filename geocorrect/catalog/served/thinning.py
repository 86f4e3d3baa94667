"""A fixed share of the rows of a table, evenly spread over their keys: what a map of very many photos shows.

Row `fid` belongs to one of n when the fractional part of fid / φ (φ the golden ratio, here in units of 2^-32) is below
1/n: successive members are as evenly spaced as they can be (three-distance theorem), whatever pattern the rows have
(two cameras in turn, every fifth rejected), and one of 4n is a part of one of n. Nothing is stored: PostGIS has spatial
indices of the rows in most of the shares, which together are a twelfth of the index of all rows.
"""

from __future__ import annotations

SHARES = (1, 4, 16, 64, 256, 1024, 4096, 16384)
"""One of so many rows."""
INDEXED = (16, 64, 256, 1024, 4096)
"""Those with an index of their own on a server; the others are a quarter of what the next larger index finds."""
TABLES = ("anchor", "image", "correction")
"""Tables that maps show."""
_GOLDEN, _UNITS = 2654435769, 4294967296


def is_one_of(share: int, fid: str = "fid") -> str:
    """The condition, in SQL of both back-ends, that a row belongs to one of so many.

    Its text is that of the indices: PostgreSQL uses one when it can prove the condition from constants.
    """
    return "true" if share == 1 else f"{fid} * {_GOLDEN} % {_UNITS} < {_UNITS // share}"


def index_statements(table: str) -> list[str]:
    """The CREATE INDEX statements for a table of a server."""
    return [
        f"CREATE INDEX ix_{table}_geom_1_of_{share} ON {table} USING gist (geom) WHERE {is_one_of(share)}"
        for share in INDEXED
        if table in TABLES
    ]
