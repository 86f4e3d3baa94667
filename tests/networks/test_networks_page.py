"""docs/networks.md: its commands run, its settings are understood, its table is that of the cards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from geocorrect.config import load_settings
from geocorrect.match.options import MatchSection
from geocorrect.networks.cards import CARDS, size_text
from geocorrect.networks.weights import ModelAccess, fetch_command, verify_command

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The text of the code block or table that follows a test marker."""
    after = PAGE.split(f"<!-- test: {name} -->\n", 1)[1]
    return after.split("\n", 1)[1].split("\n```", 1)[0] if after.startswith("```") else after.split("\n\n", 1)[0]


def cards_table() -> str:
    lines = [
        "| name | size | licence of the weights | for companies | depths, m | scale error |",
        "|---|---|---|---|---|---|",
    ]
    for card in CARDS.values():
        depths, error = "", ""
        if card.valid_range_m is not None:
            depths, error = "{:g}–{:g}".format(*card.valid_range_m), f"{card.relative_depth_sigma:.2f}"
        licence = f"[{card.licence.short or card.licence.name}]({card.licence.url})"
        company = "yes" if card.licence.commercial else "no"
        lines.append(f"| `{card.name}` | {size_text(card.size_mb)} | {licence} | {company} | {depths} | {error} |")
    return "\n".join(lines)


def test_the_table_is_that_of_the_cards() -> None:
    assert block("cards") == cards_table()


def test_commands_run(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {"GEOCORRECT_WEIGHTS": str(tmp_path / "weights")}
    done = subprocess.run(
        ["bash", "-euc", block("commands")], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in CARDS)
    assert done.stdout.strip().endswith(str(tmp_path / "weights" / "eloftr"))


def test_commands_in_the_text_are_those_that_messages_give() -> None:
    assert f"`{fetch_command(CARDS['mast3r'], ModelAccess())}`" in PAGE
    assert f"`{verify_command(CARDS['mast3r'], ModelAccess())}`" in PAGE


def test_settings_are_understood(tmp_path: Path) -> None:
    (tmp_path / "geocorrect.toml").write_text(block("appearance"))
    settings = load_settings(tmp_path / "geocorrect.toml", {}).settings
    assert settings.retrieve.appearance.mode == "rerank"
    assert settings.retrieve.by_place.max_candidates == 32
    for key in ("max_scene_anchors", "whitening", "folder"):
        assert hasattr(settings.retrieve.appearance, key)
    assert settings.depth.depth_anything_v2.rescale_by_focal is False
    assert settings.models.compile is False


def test_the_cascade_of_the_page_is_understood(tmp_path: Path) -> None:
    (tmp_path / "geocorrect.toml").write_text(block("cascade"))
    match = load_settings(tmp_path / "geocorrect.toml", {}).settings.match
    assert (match.matcher, match.stages) == ("cascade", MatchSection().stages)
