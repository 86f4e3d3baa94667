"""Rows of a CSV or GeoJSON point file as text fields, with messages that name file, row and column: strictly read."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError
from geocorrect.geometry.crs import WGS84, declared_crs, geojson_crs
from geocorrect.io.text_file import read_text
from geocorrect.io.unicode_names import plain

GEOJSON_SUFFIXES = {".geojson", ".json"}


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    table: Path
    where: str
    """File and row, for messages."""
    fields: Mapping[str, str]
    """Text by column; empty fields are absent."""
    crs: str | None = None
    """What the file says that x, y or lon_deg, lat_deg are in; None where it does not say."""

    def has(self, column: str) -> bool:
        """Whether the row has a value in the column."""
        return column in self.fields

    def text(self, column: str) -> str:
        """The value; InputError when it is missing."""
        if column not in self.fields:
            raise InputError(f"{self.where}: column {column!r} is missing or empty")
        return self.fields[column]

    def text_or(self, column: str, default: str) -> str:
        """The value, or the default when it is missing."""
        return self.fields.get(column, default)

    def number(self, column: str) -> float:
        """The value as a finite number; InputError otherwise."""
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{self.where}: {column} must be a finite number, got {text!r}")
        return value

    def number_or(self, column: str, default: float) -> float:
        """The value as a finite number, or the default when it is missing."""
        return self.number(column) if self.has(column) else default

    def sigma(self, column: str) -> float:
        """The value as a standard deviation; InputError unless it is there and positive."""
        value = self.number(column)
        if value <= 0:
            raise InputError(f"{self.where}: {column} must be positive, got {value:g}; leave it empty where unknown")
        return value

    def sigma_or(self, column: str, default: float) -> float:
        """As `sigma`, or the default when it is missing."""
        return self.sigma(column) if self.has(column) else default

    @property
    def plan_columns(self) -> tuple[str, str]:
        """The columns of the plan coordinates that the row has."""
        return ("lon_deg", "lat_deg") if self.has("lon_deg") else ("x", "y")


def read_rows(path: Path, preface: str | None = None) -> list[Row]:
    """Rows of a .csv (first line: column names) or a GeoJSON FeatureCollection of points.

    GeoJSON coordinates become lon_deg, lat_deg (x, y where its `crs` is another) and, where a third is given, height_m.
    preface: what the first line of a CSV begins with that stands before the column names. InputError naming file and
    row.
    """
    text = read_text(path)
    rows = _geojson(path, text) if path.suffix.lower() in GEOJSON_SUFFIXES else _csv(path, text, preface)
    if not rows:
        raise InputError(f"{path}: no rows")
    return rows


def read_fields(where: str, line: str, delimiter: str = ",") -> list[str]:
    """The fields of one line of CSV, stripped; InputError when a quote is not closed on it or stands inside a field."""
    try:
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=delimiter == ",", strict=True), [])
    except csv.Error as error:
        raise InputError(
            f"{where}: {error}; a quoted field must end on its line, and quotes in it be doubled"
        ) from None
    return [field.strip() for field in fields]


def _csv(path: Path, text: str, preface: str | None) -> list[Row]:
    numbered = [(number, line) for number, line in enumerate(plain(text).split("\n"), 1) if line.strip()]
    if preface is not None and numbered and numbered[0][1].startswith(preface):
        del numbered[0]
    (_, head), *lines = numbered or [(1, "")]
    names = read_fields(f"{path}, line 1", head)
    # A table that pandas wrote begins with a column without a name: its index.
    indexed = len(names) > 1 and names[0] == "" and "" not in names[1:]
    named = names[indexed:]
    if len(named) < 2 or len(set(named)) != len(named) or "" in named:
        raise InputError(
            f"{path}, line 1: expected column names, all different, separated by commas, got {','.join(names)[:80]!r}"
        )
    rows = []
    for number, line in lines:
        where = f"{path}, line {number}"
        values = read_fields(where, line)
        if len(values) > len(names):
            raise InputError(f"{where}: more values than column names ({len(values)}, {len(names)})")
        fields = {name: value for name, value in zip(named, values[indexed:], strict=False) if value}
        if fields:
            rows.append(Row(path, where, fields, WGS84 if "lon_deg" in fields else None))
    return rows


def _geojson(path: Path, text: str) -> list[Row]:
    try:
        data = json.loads(text)
        features = list(data["features"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: not a GeoJSON FeatureCollection") from None
    try:
        crs = geojson_crs(data)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return [_feature(path, number, feature, crs) for number, feature in enumerate(features)]


def _feature(path: Path, number: int, feature: Any, crs: str) -> Row:
    where = f"{path}, feature {number}"
    try:
        geometry, properties = feature["geometry"], feature["properties"] or {}
        if geometry["type"] != "Point":
            raise InputError(f"{where}: geometry is a {geometry['type']}, expected a Point")
        coordinates = [str(float(value)) for value in geometry["coordinates"]]
        fields = {str(key): _as_text(value) for key, value in properties.items() if value not in (None, "")}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise InputError(f"{where}: not a GeoJSON point feature") from None
    plan = ("lon_deg", "lat_deg") if declared_crs(crs).is_wgs84 else ("x", "y")
    return Row(path, where, fields | dict(zip((*plan, "height_m"), coordinates, strict=False)), crs)


def _as_text(value: Any) -> str:
    return plain(value.strip()) if isinstance(value, str) else json.dumps(value)
