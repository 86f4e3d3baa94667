"""Column types that mean the same on PostGIS and in a GeoPackage.

GeoPackage has only a few column types and shows no others in a view (VARCHAR(n), JSON and FLOAT columns vanish), so
every type here compiles to one of them: TEXT, DOUBLE, INTEGER, BOOLEAN, DATETIME.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import ARRAY, Double, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

_EXPONENT = re.compile(rb"[0-9]e[+]?[0-9]")


def json_text(value: Any) -> str:
    """Canonical JSON: sorted keys, nan and infinity as null, numpy arrays as lists."""
    return json_bytes(value).decode()


def json_bytes(value: Any) -> bytes:
    """The UTF-8 of `json_text`; bytes are taken as JSON that is written already."""
    if isinstance(value, bytes):
        return value
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    written = orjson.dumps(value, option=options)
    return orjson.dumps(_as_jsonb_writes(value), option=options) if _EXPONENT.search(written) else written


def _as_jsonb_writes(value: Any) -> Any:
    """Large whole floats as integers: jsonb knows no exponents, and both back-ends must hold the same text."""
    if isinstance(value, Mapping):
        return {key: _as_jsonb_writes(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_jsonb_writes(inner) for inner in value]
    is_large = isinstance(value, float) and 1e15 <= abs(value) < 2**63 and value.is_integer()
    return int(Decimal(repr(value))) if is_large else value


def nullable_list(values: NDArray[Any]) -> list[Any]:
    """The rows of an array (N, …) as a list; None where a number of the row is nan or infinite."""
    known: Any = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    rows: list[Any] = values.tolist()
    if known.all():
        return rows
    return [row if is_known else None for row, is_known in zip(rows, known.tolist(), strict=True)]


class _DateTimeText(UserDefinedType[str]):
    """DATETIME of the GeoPackage standard."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "DATETIME"


def instant_text(value: datetime) -> str:
    """The text of a GeoPackage DATETIME: UTC, milliseconds, trailing Z."""
    utc = value.astimezone(UTC)
    return f"{utc.year:04d}-{utc:%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


class _PerBackEnd(TypeDecorator[Any]):
    """A column that a GeoPackage stores in another way than PostgreSQL."""

    impl = Text
    in_file: ClassVar[TypeEngine[Any]] = Text()
    on_server: ClassVar[TypeEngine[Any]]

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of a back-end."""
        return dialect.type_descriptor(self.in_file if dialect.name == "sqlite" else self.on_server)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """What the driver takes."""
        if value is None:
            return None
        return self._to_file(value) if dialect.name == "sqlite" else self._to_server(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """What the driver gave, as Python."""
        return None if value is None else self._to_python(value)

    def _to_file(self, value: Any) -> Any:
        return json_text(value)

    def _to_server(self, value: Any) -> Any:
        return value

    def _to_python(self, value: Any) -> Any:
        return orjson.loads(value) if isinstance(value, str | bytes) else value


class Instant(_PerBackEnd):
    """A moment in UTC with milliseconds (the precision of both back-ends); always timezone-aware in Python."""

    cache_ok = True
    in_file = _DateTimeText()
    on_server = TIMESTAMP(timezone=True)

    def _to_file(self, value: datetime) -> str:
        return instant_text(value)

    def _to_server(self, value: datetime) -> datetime:
        utc = value.astimezone(UTC)
        return utc.replace(microsecond=utc.microsecond // 1000 * 1000)

    def _to_python(self, value: Any) -> datetime | None:
        try:
            return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)
        except ValueError:
            return None  # such a year no photo has: unknown, see `geocorrect db check --fix`


class _PlainJsonb(JSONB):
    """Without the driver's own JSON codec, so that both back-ends store the same canonical text."""

    render_bind_cast = True

    def adapt(self, cls: type[Any], **_: Any) -> _PlainJsonb:  # type: ignore[override]
        """The same: otherwise the dialect puts its own type in the place, whose codec encodes the text once more."""
        return _PlainJsonb()

    def bind_processor(self, dialect: Dialect) -> None:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        return None


class Json(_PerBackEnd):
    """Plain JSON values: jsonb on PostgreSQL, TEXT in a GeoPackage."""

    cache_ok = True
    on_server = _PlainJsonb()

    def _to_server(self, value: Any) -> str:
        return json_text(value)


class Numbers(_PerBackEnd):
    """A list of numbers: double precision[] on PostgreSQL, a JSON list in a GeoPackage."""

    cache_ok = True
    on_server = ARRAY(Double())


@compiles(Double, "sqlite")
def _compile_double(_type: Double[Any], _compiler: Any, **_: Any) -> str:
    return "DOUBLE"
