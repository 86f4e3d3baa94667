"""docs/networks.md: its commands run, its settings are understood, its table is that of the cards."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.docs_page import block, commands

from geocorrect.__main__ import run
from geocorrect.config import load_settings
from geocorrect.match.options import MatchSection
from geocorrect.networks.cards import CARDS, size_text
from geocorrect.networks.weights import ModelAccess, fetch_command, verify_command

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")


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
    assert block(PAGE, "cards") == cards_table()


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GEOCORRECT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    for arguments in commands(block(PAGE, "commands"), tmp_path):
        assert run(arguments) == 0, arguments
    said = capsys.readouterr().out
    assert all(name in said for name in CARDS)
    assert said.strip().endswith(str(tmp_path / "weights" / "eloftr"))


def test_commands_in_the_text_are_those_that_messages_give() -> None:
    assert f"`{fetch_command(CARDS['mast3r'], ModelAccess())}`" in PAGE
    assert f"`{verify_command(CARDS['mast3r'], ModelAccess())}`" in PAGE


def test_settings_are_understood(tmp_path: Path) -> None:
    (tmp_path / "geocorrect.toml").write_text(block(PAGE, "appearance"))
    settings = load_settings(tmp_path / "geocorrect.toml", {}).settings
    assert settings.retrieve.appearance.mode == "rerank"
    assert settings.retrieve.by_place.max_candidates == 32
    for key in ("max_scene_anchors", "whitening", "folder"):
        assert hasattr(settings.retrieve.appearance, key)
    assert settings.depth.depth_anything_v2.rescale_by_focal is False
    assert settings.models.compile is False


def test_the_cascade_of_the_page_is_understood(tmp_path: Path) -> None:
    (tmp_path / "geocorrect.toml").write_text(block(PAGE, "cascade"))
    match = load_settings(tmp_path / "geocorrect.toml", {}).settings.match
    assert (match.matcher, match.stages) == ("cascade", MatchSection().stages)
