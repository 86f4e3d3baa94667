"""Rows of a CSV or GeoJSON point file as text fields, with messages that name file, row and column."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geocorrect.errors import InputError
from geocorrect.io.text_file import read_text

GEOJSON_SUFFIXES = {".geojson", ".json"}


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    table: Path
    where: str
    """File and row, for messages."""
    fields: Mapping[str, str]
    """Text by column; empty fields are absent."""

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


def read_rows(path: Path) -> list[Row]:
    """Rows of a .csv (first line: column names) or a GeoJSON FeatureCollection of points.

    GeoJSON coordinates become lon_deg, lat_deg and, where a third is given, height_m. InputError naming file and row.
    """
    text = read_text(path)
    rows = _geojson(path, text) if path.suffix.lower() in GEOJSON_SUFFIXES else _csv(path, text)
    if not rows:
        raise InputError(f"{path}: no rows")
    return rows


def _csv(path: Path, text: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text), restkey="", skipinitialspace=True)
    names = reader.fieldnames or []
    if len(names) < 2 or len(set(names)) != len(names):
        raise InputError(f"{path}, line 1: expected column names separated by commas, got {','.join(names)[:80]!r}")
    rows = []
    for record in reader:
        where = f"{path}, line {reader.line_num}"
        if "" in record:
            raise InputError(f"{where}: more values than column names")
        fields = {key.strip(): value.strip() for key, value in record.items() if value and value.strip()}
        if fields:
            rows.append(Row(path, where, fields))
    return rows


def _geojson(path: Path, text: str) -> list[Row]:
    try:
        features = json.loads(text)["features"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not a GeoJSON FeatureCollection") from None
    return [_feature(path, number, feature) for number, feature in enumerate(features)]


def _feature(path: Path, number: int, feature: Any) -> Row:
    where = f"{path}, feature {number}"
    try:
        geometry, properties = feature["geometry"], feature["properties"] or {}
        if geometry["type"] != "Point":
            raise InputError(f"{where}: geometry is a {geometry['type']}, expected a Point")
        coordinates = [str(float(value)) for value in geometry["coordinates"]]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{where}: not a GeoJSON point feature") from None
    fields = {str(key): _as_text(value) for key, value in properties.items() if value not in (None, "")}
    return Row(path, where, fields | dict(zip(("lon_deg", "lat_deg", "height_m"), coordinates, strict=False)))


def _as_text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value)
