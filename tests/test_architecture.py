"""The rules of the house that a machine can check: order of rooms, circles, libraries, sizes, light start-up."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.draw_rooms import PICTURE, draw
from support.import_graph import ORDER, ImportGraph, level_of, room_of

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ImportGraph(ROOT / "geocorrect")


def test_every_room_has_its_place() -> None:
    rooms = {room_of(name) for name in HOUSE.modules if name}
    assert {room for room in rooms if not any(room in line for line in ORDER)} == set()


def test_no_import_goes_up() -> None:
    assert HOUSE.upward() == []


def test_no_circles() -> None:
    assert HOUSE.circles() == []


def test_third_party_names_live_in_one_room() -> None:
    assert HOUSE.misplaced_libraries() == []


def test_folders_and_files_stay_small() -> None:
    assert HOUSE.crowded_folders() == []
    assert HOUSE.long_files() == []


def test_no_house_metaphors() -> None:
    """Words that a stranger would have to learn."""
    private = re.compile(r"\b(crew|seat|shelf|is told|are told|in force|rests on)\b", re.IGNORECASE)
    suffixes = (".py", ".sql", ".js", ".toml", ".j2")
    files = [path for path in HOUSE.package.rglob("*") if path.suffix in suffixes and path.parent.name != "vendor"]
    found = {str(path): private.search(path.read_text(encoding="utf-8")) for path in files}
    assert {path: word[0] for path, word in found.items() if word} == {}


def test_the_picture_and_the_page_show_the_house_as_it_is() -> None:
    """`make rooms` draws the picture anew."""
    assert PICTURE.read_text(encoding="utf-8") == draw(HOUSE)
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in page.splitlines() if line.startswith("| `")]
    assert [set(rooms) for rooms in listed] == ORDER
    way = re.findall(r"^\d+\. `([\w/]+\.py)`", page, re.MULTILINE)
    assert 10 < len(way) <= 20
    assert [name for name in way if not (HOUSE.package / name).is_file()] == []


PLANTED = {
    "upward": ("geometry/planted.py", "from geocorrect.catalog.store import Catalog\n"),
    "same line": ("match/planted.py", "def late() -> None:\n    import geocorrect.retrieve.spatial\n"),
    "circle": ("geometry/camera.py", "from geocorrect.geometry import remap\n"),
    "library": ("jobs/planted.py", "def late() -> None:\n    from sqlalchemy import select\n"),
    "crowd": ("geometry/{}.py", ""),
    "long": ("io/planted.py", "x = 1\n" * 401),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_found(what: str, tmp_path: Path) -> None:
    """A copy of the house with one fault each; a rule that cannot fail would be none."""
    for path in HOUSE.modules.values():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    name, text = PLANTED[what]
    for number in range(16 if what == "crowd" else 1):
        path = tmp_path / "geocorrect" / name.format(f"planted{number}")
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(before + text, encoding="utf-8")
    house = ImportGraph(tmp_path / "geocorrect")
    found = {
        "upward": house.upward, "same line": house.upward, "circle": house.circles,
        "library": house.misplaced_libraries, "crowd": house.crowded_folders, "long": house.long_files,
    }[what]()  # fmt: skip
    assert len(found) == 1
    assert ("planted" in str(found)) or what in ("circle", "crowd")


def test_an_unknown_room_has_no_place() -> None:
    with pytest.raises(KeyError, match="no place in the order"):
        level_of("cellar.wine")


@pytest.mark.parametrize("arguments", [["-c", "import geocorrect"], ["-m", "geocorrect", "--help"]])
def test_start_up_imports_nothing_heavy(arguments: list[str]) -> None:
    """Seconds depend on the machine (see benchmarks/startup.py); what is imported does not."""
    heavy = {"torch", "transformers", "ray", "cv2", "scipy", "numpy", "matplotlib", "geopandas", "sqlalchemy"}
    heavy |= {"rich", "pydantic"}  # the help is printed without: they were half of its time
    run = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in run.stderr.splitlines() if "|" in line}
    assert "geocorrect" in imported
    assert not imported & heavy


def test_no_test_is_named_by_the_clock(request: pytest.FixtureRequest) -> None:
    """Two test processes collect a second apart: a name that holds the time stops both before the first test."""
    now = datetime.now(UTC)
    today = [now.strftime("%d %b %Y"), now.strftime("%Y-%m-%d"), str(int(now.timestamp()))[:6]]
    ids = [item.nodeid for item in request.session.items]
    assert not [name for name in ids if any(day in name for day in today)]
    assert not [name for name in ids if re.search(" at 0x[0-9a-f]{6,}", name)], "an object's address"
