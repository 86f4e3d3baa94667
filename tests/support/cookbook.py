"""The questions of docs/cookbook.md, with the queries that answer them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "cookbook.md"


@dataclass(frozen=True)
class Recipe:
    """One question."""

    number: int
    queries: dict[str, str]
    """By where they are asked."""
    answer: list[list[str]]
    """Rows of cells."""


def recipes() -> list[Recipe]:
    """All of the page."""
    found = []
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        queries = {}
        for where, query in re.findall(r"```sql\n-- ([^\n]+)\n(.*?)```", section, re.DOTALL):
            for one in where.split(", "):
                queries[one] = query.strip()
        (answer,) = re.findall(r"```text\n(.*?)\n```", section, re.DOTALL)
        found.append(Recipe(int(section.split(".")[0]), queries, [line.split(" | ") for line in answer.splitlines()]))
    return found


def statements(recipe: Recipe) -> list[str]:
    """What is sent to PostGIS, as SQLAlchemy's text wants it."""
    return [statement.replace("::", "\\:\\:") for statement in recipe.queries["postgis"].rstrip(";").split(";\n")]
