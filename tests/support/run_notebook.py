"""Run the code cells of notebooks, as `python run_notebook.py NOTEBOOK:NAME,NAME… …`; prints the named values as JSON.

The cells are plain Python without magics, so neither Jupyter nor a kernel is needed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def code_cells(path: Path) -> list[str]:
    """Sources of the code cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_cells(path: Path) -> dict[str, Any]:
    """The names that are left when all cells have run; an error names its cell."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(code_cells(path), start=1):
        exec(compile(source, f"{path.name}, code cell {number}", "exec"), names)
    return names


def values_of(path: Path, names: Sequence[str]) -> str:
    """Values of the named variables after all cells, as JSON."""
    import matplotlib as mpl

    mpl.use("Agg")
    found = run_cells(path)
    return json.dumps({name: found[name] for name in names}, default=lambda value: value.to_dict("records"))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        notebook, _, wanted = argument.rpartition(":")
        print("\n" + values_of(Path(notebook), wanted.split(",")), flush=True)
