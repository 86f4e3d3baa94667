"""The house rules that a machine can check: import direction, light start-up, file length."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "geocorrect"

# A module may import modules of its own level and below, never above. Rooms on one level that must not know each
# other are listed in STRANGERS; a contract (`base`) may be named by anybody.
LEVELS: list[set[str]] = [
    {"errors", "checksum", "cache"},
    {"geometry"},
    {"records"},
    {"imagery", "masks", "log"},
    {"networks"},
    {"match", "depth"},
    {"localize", "retrieve"},
    {"anchors", "harvest", "catalog", "export"},
    {"config", "batch", "report"},
    {"evaluate", "demo", "starter", "doctor", "console"},
    {"cli", "__main__"},
]
STRANGERS = [{"match", "depth"}, {"harvest", "catalog"}, {"anchors", "harvest"}, {"localize", "retrieve"}]
FORBIDDEN_IN = {
    "geometry": {"cv2", "torch", "sqlalchemy", "httpx", "typer"},
    "records": {"cv2", "torch", "sqlalchemy", "httpx", "typer"},
    "localize": {"torch", "sqlalchemy", "httpx", "typer"},
}
CV2_ADAPTERS = {"geometry/remap.py"}


def room_of(path: Path) -> str:
    """The room a file belongs to; a room's own `cli.py` belongs to the command line."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "cli" if parts[-1] == "cli" else parts[0]


def level_of(room: str) -> int:
    return next(number for number, rooms in enumerate(LEVELS) if room in rooms)


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    type_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in type_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            if node.module == "geocorrect":
                names |= {f"geocorrect.{alias.name}" for alias in node.names}
    return names


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_never_go_upward(path: Path) -> None:
    room = room_of(path)
    if path == PACKAGE / "__init__.py":
        return
    for name in imported_modules(path):
        if not name.startswith("geocorrect."):
            continue
        target = PACKAGE.joinpath(*name.split(".")[1:])
        other = "cli" if name.split(".")[-1] == "cli" else name.split(".")[1]
        if other == "__version__" or not (target.is_dir() or target.with_suffix(".py").is_file()):
            continue
        assert level_of(other) <= level_of(room), f"{room} must not import {name}"
        if name.endswith(".base"):
            continue
        for strangers in STRANGERS:
            assert other == room or not {room, other} <= strangers, f"{room} must not import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_pure_rooms_stay_pure(path: Path) -> None:
    if str(path.relative_to(PACKAGE)) in CV2_ADAPTERS:
        return
    roots = {name.split(".")[0] for name in imported_modules(path)}
    assert not roots & FORBIDDEN_IN.get(room_of(path), set())


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("poselib", {"localize"}),
        ("sqlalchemy", {"catalog"}),
        ("alembic", {"catalog"}),
        ("psycopg", {"catalog"}),
        ("httpx", {"harvest"}),
        ("rasterio", {"anchors"}),
        ("pyproj", {"geometry"}),
        ("ray", {"batch"}),
    ],
)
def test_a_third_party_name_lives_in_one_room(library: str, homes: set[str]) -> None:
    rooms = {
        room_of(path)
        for path in SOURCES
        if library in {name.split(".")[0] for name in imported_modules(path)} and room_of(path) != "cli"
    }
    assert rooms <= homes


@pytest.mark.parametrize("arguments", [["-c", "import geocorrect"], ["-m", "geocorrect", "--help"]])
def test_start_up_imports_nothing_heavy(arguments: list[str]) -> None:
    """Seconds depend on the machine (see benchmarks/startup.py); what is imported does not."""
    heavy = {"torch", "transformers", "ray", "cv2", "scipy", "numpy", "matplotlib", "geopandas", "sqlalchemy"}
    run = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in run.stderr.splitlines() if "|" in line}
    assert "geocorrect" in imported
    assert not imported & heavy


def test_no_test_is_named_by_the_clock(request: pytest.FixtureRequest) -> None:
    """Two test processes collect a second apart: a name that holds the time stops both before the first test."""
    now = datetime.now(UTC)
    today = [now.strftime("%d %b %Y"), now.strftime("%Y-%m-%d"), str(int(now.timestamp()))[:6]]
    assert not [item.nodeid for item in request.session.items if any(day in item.nodeid for day in today)]
