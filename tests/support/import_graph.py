"""Which module of a package imports which: rooms, their order, arrows that go up, circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ORDER = [
    {"__main__"}, {"cli"}, {"serve"}, {"demo"}, {"evaluate"}, {"jobs"}, {"workers"}, {"api"}, {"config"}, {"report"},
    {"sequences"}, {"georeference"}, {"localize"}, {"depth"}, {"retrieve", "match"}, {"anchors"}, {"harvest"},
    {"networks"}, {"export"}, {"catalog"}, {"io"}, {"records"}, {"geometry"}, {"errors", "log"},
    {"redaction"},
]  # fmt: skip
"""Rooms from top to bottom: a room may import what stands below it. Rooms of one line do not know each other."""
THIRD_PARTY = {
    "poselib": {"localize"},
    "sqlalchemy": {"catalog"},
    "alembic": {"catalog"},
    "psycopg": {"catalog"},
    "httpx": {"harvest"},
    "httpcore": {"harvest"},
    "rasterio": {"georeference"},
    "pyproj": {"geometry"},
    "ray": {"workers"},
    "typer": {"cli"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "prometheus_client": {"jobs"},
    "fcntl": {"io"},
    "cachetools": {"io"},
    "laspy": {"depth"},
    "pye57": {"depth"},
    "gpxpy": {"anchors"},
    "pynmea2": {"anchors"},
    "faiss": {"retrieve"},
}
"""Libraries that only these rooms may name."""
KEPT_OUT = {
    "geometry": {"cv2", "torch", "sqlalchemy", "httpx", "typer"},
    "records": {"cv2", "torch", "sqlalchemy", "httpx", "typer"},
    "localize": {"torch", "sqlalchemy", "httpx", "typer"},
    "sequences": {"torch", "sqlalchemy", "httpx", "typer"},
}
"""Libraries that a room must not name."""
MAX_FILES = 15
MAX_LINES = 400


@dataclass(frozen=True)
class ImportGraph:
    """The modules of a package on disk."""

    package: Path
    """Folder of the package; its name is that of the package."""

    @cached_property
    def modules(self) -> dict[str, Path]:
        """File by dotted name below the package ("" is the package itself)."""
        return {self._name(path): path for path in sorted(self.package.rglob("*.py"))}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.package).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """By module, what it imports of the package, also inside functions; not what is for type checkers only."""
        return {name: set(self._own(name)) - {name} for name in self.modules}

    def _own(self, name: str) -> Iterator[str]:
        for module, names in _imported(self.modules[name]):
            if module != self.package.name and not module.startswith(f"{self.package.name}."):
                continue
            inner = module.removeprefix(self.package.name).removeprefix(".")
            for each in names or [""]:
                full = f"{inner}.{each}".strip(".")
                if full in self.modules:
                    yield full
                elif inner:  # what the root itself offers (a version) is no room's
                    yield inner

    def third_party(self, name: str) -> set[str]:
        """Top-level names of everything else that a module imports."""
        return {module.split(".")[0] for module, _ in _imported(self.modules[name])} - {self.package.name}

    def upward(self) -> list[str]:
        """Imports that go up, or to another room of the same line."""
        return [
            f"{name} imports {other}"
            for name, others in self.imports.items()
            for other in sorted(others)
            if name and room_of(name) != room_of(other) and level_of(other) >= level_of(name)
        ]

    def circles(self) -> list[list[str]]:
        """Groups of modules of which each imports, directly or not, every other."""
        return [sorted(group) for group in _strongly_connected(self.imports) if len(group) > 1]

    def misplaced_libraries(self) -> list[str]:
        """Third-party names outside their room, or in one that must stay free of them."""
        found = []
        for name in self.modules:
            for library in self.third_party(name):
                homes = THIRD_PARTY.get(library)
                if homes is not None and room_of(name) not in homes | {"__main__"}:
                    found.append(f"{name} imports {library}, which belongs to {', '.join(sorted(homes))}")
                if library in KEPT_OUT.get(room_of(name), set()) and name != "geometry.remap":
                    found.append(f"{name} imports {library}")
        return found

    def crowded_folders(self) -> list[str]:
        """Folders with more than MAX_FILES Python files."""
        folders = {path.parent for path in self.modules.values()}
        counts = {folder: len(list(folder.glob("*.py"))) for folder in folders}
        return [f"{folder}: {count} files" for folder, count in sorted(counts.items()) if count > MAX_FILES]

    def long_files(self) -> list[str]:
        """Files with more than MAX_LINES lines."""
        lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in self.modules.items()}
        return [f"{name}: {count} lines" for name, count in lines.items() if count > MAX_LINES]


def room_of(module: str) -> str:
    """The room of a module: the first part of its name."""
    return module.split(".")[0]


def level_of(module: str) -> int:
    """Number of the module's room in ORDER, 0 at the bottom; KeyError for a room that has no place there."""
    for number, rooms in enumerate(reversed(ORDER)):
        if room_of(module) in rooms:
            return number
    raise KeyError(f"{module}: its room has no place in the order of rooms")


def _imported(path: Path) -> list[tuple[str, list[str]]]:
    """(module, names taken from it) of every import that is not for type checkers only."""
    return _imports_of(path.read_text(encoding="utf-8"))


@cache
def _imports_of(text: str) -> list[tuple[str, list[str]]]:
    """The same of a file's text: a copy of the house with a planted fault is parsed in that one file."""
    return list(_parsed(text))


def _parsed(text: str) -> Iterator[tuple[str, list[str]]]:
    tree = ast.parse(text)
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, [alias.name for alias in node.names]


def _strongly_connected(graph: dict[str, set[str]]) -> Iterator[set[str]]:
    """Components by reachability; the graph is small."""
    reachable = {name: _reachable(graph, name) for name in graph}
    seen: set[str] = set()
    for name in graph:
        if name not in seen:
            group = {name} | {other for other in reachable[name] if name in reachable.get(other, set())}
            seen |= group
            yield group


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph.get(name, ())
    return found
