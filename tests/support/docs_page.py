"""Code blocks of a documentation page, and their commands run in this process: a new one spends seconds on imports."""

from __future__ import annotations

import subprocess
from pathlib import Path

SHOWS_ARGUMENTS = 'geocorrect() { printf "%s\\0" "$@"; printf "\\n\\0"; }'
"""A shell function in place of the program: each argument and, after the last, a line feed alone."""


def block(page: str, name: str) -> str:
    """The text of the code block or table that follows the marker `<!-- test: name -->`."""
    after = page.split(f"<!-- test: {name} -->\n", 1)[1]
    return after.split("\n", 1)[1].split("\n```", 1)[0] if after.startswith("```") else after.split("\n\n", 1)[0]


def commands(script: str, folder: Path) -> list[list[str]]:
    """Arguments of each `geocorrect` of a script, in order, as bash expands them in a folder. Nothing is run."""
    text = f"set -eu\n{SHOWS_ARGUMENTS}\n{script}"
    said = subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True, check=True).stdout
    found: list[list[str]] = [[]]
    for argument in said.split("\0")[:-1]:
        if argument == "\n":
            found.append([])
        else:
            found[-1].append(argument)
    return found[:-1]
