"""Run the code cells of a notebook, as `python run_notebook.py NOTEBOOK NAME…`; prints the named values as JSON.

The cells are plain Python without magics, so neither Jupyter nor a kernel is needed.
"""

from __future__ import annotations

import json
import sys
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


if __name__ == "__main__":
    import matplotlib as mpl

    mpl.use("Agg")
    found = run_cells(Path(sys.argv[1]))
    values = {name: found[name] for name in sys.argv[2:]}
    print("\n" + json.dumps(values, default=lambda value: value.to_dict("records")))
