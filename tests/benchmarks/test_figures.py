"""README.md and docs/accuracy.md say what docs/figures.json holds, which one command measures. Nothing is run here."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from support.docs_page import block

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "benchmarks" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, object]]:
    return json.loads((ROOT / "docs" / "figures.json").read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_measured_figures(figures: ModuleType, measured: dict[str, object]) -> None:
    for (page, name), table in figures.TABLES.items():
        assert block(page.read_text(encoding="utf-8"), name) == table(measured), (
            f"{page.name}: run benchmarks/figures.py"
        )


def test_sentences_say_the_same(measured: dict[str, dict[str, object]]) -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    accuracy = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    demo = measured["demo_lidar"]
    promised = re.search(r"once more: (\d+) accepted, (\d+) that waits? for a review,\s(\d+) rejected", tutorial)
    assert promised is not None
    assert [int(n) for n in promised.groups()] == [demo[f"n_{what}"] for what in ("accepted", "review", "rejected")]
    assert f"{demo['n_images']} photos of five devices" in accuracy
    assert "No accepted photo was wrong by more than 1 m" in accuracy
    assert [said["false_accepts"] for said in measured.values()] == [0] * 4


def test_verdicts_follow_the_figures(figures: ModuleType) -> None:
    said = {"position_median_m": 0.0083, "position_median_95_m": [0.0053, 0.0122], "position_max_m": 0.0157,
            "rotation_median_deg": 0.074, "n_accepted": 17}  # fmt: skip
    assert figures.bars_table({"kitti_lidar": said}).splitlines()[2:] == [
        "| position median | ≤ 1.0 cm | 0.83 cm [0.53–1.22] | 17 | met, open |",
        "| the same, largest | ≤ 2.5 cm | 1.57 cm | 17 | met |",
        "| the same, rotation median | ≤ 0.07° | 0.074° | 17 | **not met** |",
    ]
    worse = figures.bars_table({"kitti_lidar": said | {"position_max_m": 0.03}})
    assert "3.00 cm | 17 | **not met** |" in worse


def test_the_pages_have_a_place_for_every_table(figures: ModuleType) -> None:
    for page, name in figures.TABLES:
        assert block(page.read_text(encoding="utf-8"), name).startswith(("| ", "- **"))


def test_writing_a_table_changes_nothing_else(figures: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- test: figures -->\n| old |\n|---|\n\nafter\n\nend\n", encoding="utf-8")
    figures.write_page(page, "figures", "| new |\n|---|")
    assert page.read_text(encoding="utf-8") == "before\n\n<!-- test: figures -->\n| new |\n|---|\n\nafter\n\nend\n"
    with pytest.raises(SystemExit, match="the marker <!-- test: other --> is missing"):
        figures.write_page(page, "other", "")
