"""`import geocorrect`: what it offers, and what it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import geocorrect


def test_every_public_name_is_loaded_from_the_room_that_the_type_checker_sees() -> None:
    tree = ast.parse(Path(geocorrect.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {name: f"geocorrect.{room}" for name, room in geocorrect._HOME.items()} == seen
    assert set(geocorrect.__all__) == set(seen)
    for name in geocorrect.__all__:
        assert getattr(geocorrect, name).__name__ == name
    assert set(geocorrect.__all__) <= set(dir(geocorrect))


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, geocorrect; print(sorted({'numpy', 'cv2', 'torch', 'sqlalchemy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_localizer_needs_no_torch() -> None:
    code = (
        "import sys; from geocorrect import Localizer; print({'torch', 'matplotlib', 'geopandas'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
