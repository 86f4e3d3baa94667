"""docs/anchors.md against the program."""

from __future__ import annotations

import re
from pathlib import Path

from geocorrect.anchors.readers.registry import format_rows
from geocorrect.anchors.readers.table import KNOWN_COLUMNS
from geocorrect.anchors.scan import COLUMNS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "anchors.md").read_text(encoding="utf-8")


def test_the_page_lists_the_formats_as_the_command_does() -> None:
    table = PAGE.split("<!-- test: formats -->\n")[1].split("\n\n")[0].splitlines()[2:]
    assert table == [f"| `{row['format']}` | {row['files']} | {row['needs']} |" for row in format_rows()]


def test_the_page_names_every_column_and_layout() -> None:
    # of the coefficients, those of the two models that are spelt out
    names = [name for name in KNOWN_COLUMNS if not re.fullmatch(r"[ks]\d|transition", name)]
    assert [name for name in [*names, *COLUMNS] if not re.search(rf"\b{name}\b", PAGE)] == []
