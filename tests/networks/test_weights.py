"""Weights: what is missing is said with size, licence and command; licences bind; files are checked; fetch resumes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geocorrect.cli.console import Invocation
from geocorrect.cli.models import app
from geocorrect.errors import ModelError, UsageError
from geocorrect.networks import fetch, weights
from geocorrect.networks.cards import CARDS, Task, size_text
from geocorrect.networks.weights import ModelAccess, Profile, locate, verify

RESTRICTED, FREE = "mast3r", "eloftr"


def place(folder: Path, name: str, content: bytes = b"weights") -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for file in CARDS[name].files:
        (folder / name / file.name).write_bytes(content + file.name.encode())
    return folder / name


def test_every_card_is_complete_and_points_to_a_permitted_alternative() -> None:
    for name, card in CARDS.items():
        assert card.name == name
        assert card.size_mb > 0
        assert card.hub_id or all(file.url or file.wheel for file in card.files)
        if not card.licence.commercial:
            assert card.alternative is not None
            assert CARDS[card.alternative].licence.commercial
            assert CARDS[card.alternative].task is card.task
            if card.depth_alternative is not None:
                assert CARDS[card.depth_alternative].licence.commercial
                assert CARDS[card.depth_alternative].task is Task.DEPTH
        if card.task is Task.DEPTH:
            assert card.valid_range_m is not None
            assert card.relative_depth_sigma is not None


@pytest.mark.parametrize("name", sorted(CARDS))
def test_missing_weights_say_what_how_big_which_licence_and_the_command(name: str, tmp_path: Path) -> None:
    card = CARDS[name]
    with pytest.raises(ModelError) as error:
        locate(name, ModelAccess(tmp_path))
    text = str(error.value)
    assert f"{card.files[0].name}" in text
    assert f"size:    {size_text(card.size_mb)}; " in text
    assert card.licence.name in text
    assert card.licence.url in text
    accept = "" if card.licence.commercial else " --accept-licence"
    assert f"geocorrect models fetch {name}{accept} --folder {tmp_path}" in text
    assert f"geocorrect models verify {name}{accept} --folder {tmp_path}" in text
    assert str(tmp_path / name) in text
    if card.alternative:
        assert f"instead: {card.alternative} " in text
    assert ('[match] matcher = "sift"' in text) == (card.task is Task.MATCHING)
    assert ('[depth] source = "triangulated"' in text) == (card.valid_range_m is not None), "what gives depth"


def test_sizes_are_written_for_people() -> None:
    assert [size_text(megabytes) for megabytes in (64, 999, 2755)] == ["64 MB", "999 MB", "2.8 GB"]


@pytest.mark.parametrize("name", sorted(CARDS))
def test_commercial_profile(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = CARDS[name]
    card = replace(pinned, files=tuple(replace(file, sha256=None) for file in pinned.files))
    monkeypatch.setitem(CARDS, name, card)  # type: ignore[arg-type]
    place(tmp_path, name)
    access = ModelAccess(tmp_path, Profile.COMMERCIAL)
    if card.licence.commercial:
        assert verify(name, access).card is card
        return
    for attempt in (locate, verify, lambda n, a: fetch.fetch(n, a, accept_licence=True)):
        with pytest.raises(ModelError, match=f"does not allow; use `{card.alternative}` instead"):
            attempt(name, access)


def test_restricted_weights_need_the_licence_accepted_once(tmp_path: Path) -> None:
    place(tmp_path, RESTRICTED)
    access = ModelAccess(tmp_path)
    for attempt in (locate, verify):
        with pytest.raises(
            ModelError, match=r"was not accepted. Run `geocorrect models verify mast3r --accept-licence --folder "
        ):
            attempt(RESTRICTED, access)
    with pytest.raises(
        ModelError, match="if you agree, run `geocorrect models fetch mast3r --accept-licence --folder "
    ):
        fetch.fetch(RESTRICTED, access)
    accepted = verify(RESTRICTED, access, accept_licence=True)
    assert locate(RESTRICTED, access).identity == accepted.identity
    assert verify(RESTRICTED, access).identity == accepted.identity, "an accepted licence stays accepted"


def test_free_weights_placed_by_hand_need_one_verify(tmp_path: Path) -> None:
    place(tmp_path, FREE)
    with pytest.raises(ModelError, match=r"not verified yet. Run `geocorrect models verify eloftr --folder "):
        locate(FREE, ModelAccess(tmp_path))
    found = verify(FREE, ModelAccess(tmp_path))
    assert found.file("config.json") == tmp_path / FREE / "config.json"


def test_identity_follows_the_content(tmp_path: Path) -> None:
    identities = set()
    for number, content in enumerate((b"one", b"two", b"one")):
        place(tmp_path / str(number), FREE, content)
        identities.add(verify(FREE, ModelAccess(tmp_path / str(number))).identity)
    assert len(identities) == 2


def test_changed_files_are_noticed_without_reading_them(tmp_path: Path) -> None:
    folder = place(tmp_path, FREE)
    access = ModelAccess(tmp_path)
    verify(FREE, access)
    (folder / "model.safetensors").write_bytes(b"another length")
    with pytest.raises(ModelError, match=r"model\.safetensors: changed since it was verified"):
        locate(FREE, access)
    with pytest.raises(ModelError, match=r"sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}; delete the file"):
        verify(FREE, access)


def test_copying_verified_weights_needs_only_verify_again(tmp_path: Path) -> None:
    folder = place(tmp_path, FREE)
    access = ModelAccess(tmp_path)
    before = verify(FREE, access).identity
    os.utime(folder / "config.json", ns=(1, 1))
    with pytest.raises(ModelError, match="geocorrect models verify eloftr"):
        locate(FREE, access)
    assert verify(FREE, access).identity == before


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3, "source": "x", "seen": {}}', '{"files": {}}'])
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: str) -> None:
    folder = place(tmp_path, FREE)
    verify(FREE, ModelAccess(tmp_path))
    (folder / weights.MANIFEST).write_text(content)
    with pytest.raises(ModelError, match="not verified yet"):
        locate(FREE, ModelAccess(tmp_path))


def test_folder_is_option_then_variable_then_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(weights.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights.weights_folder(ModelAccess()) == tmp_path / "cache" / "geocorrect" / "weights"
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "chosen"))
    assert weights.weights_folder(ModelAccess()) == tmp_path / "chosen"
    assert weights.weights_folder(ModelAccess(tmp_path / "given")) == tmp_path / "given"


def test_unknown_model_lists_the_names() -> None:
    with pytest.raises(UsageError, match=r"no model is called 'mastr'; there are .*mast3r"):
        locate("mastr", ModelAccess())


def test_command_line_lists_locates_and_verifies(tmp_path: Path) -> None:
    runner = CliRunner()
    place(tmp_path, FREE)
    place(tmp_path, "depth_pro")
    (tmp_path / "depth_pro" / "config.json").unlink()
    listed = runner.invoke(app, ["list", "--json", "--folder", str(tmp_path)], obj=Invocation(None))
    assert listed.exit_code == 0
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert set(rows) == set(CARDS)
    assert rows["depth_pro"]["state"] == rows[FREE]["state"] == "partial"
    assert rows["zoedepth_kitti"]["state"] == "absent"
    assert runner.invoke(app, ["path", FREE, "--folder", str(tmp_path)], obj=Invocation(None)).stdout.strip() == str(
        tmp_path / FREE
    )
    adopted = runner.invoke(app, ["verify", FREE, "--folder", str(tmp_path)], obj=Invocation(None))
    assert adopted.exit_code == 0
    assert "taken into use; nothing to compare config.json, model.safetensors with" in adopted.stderr
    assert (
        runner.invoke(app, ["verify", FREE, "--folder", str(tmp_path)], obj=Invocation(None))
        .stderr.strip()
        .endswith(": whole")
    )
    again = json.loads(runner.invoke(app, ["list", "--json", "--folder", str(tmp_path)], obj=Invocation(None)).stdout)
    assert next(row for row in again if row["name"] == FREE)["state"] == "ready"
    table = runner.invoke(app, ["list", "--folder", str(tmp_path)], obj=Invocation(None))
    assert table.exit_code == 0
    assert all(name in table.stdout for name in CARDS), "names are typed, so they must be whole"
    refused = runner.invoke(app, ["fetch", RESTRICTED, "--folder", str(tmp_path)], obj=Invocation(None))
    assert isinstance(refused.exception, ModelError)


def test_card_of_depth_pro_is_not_mistaken_for_free() -> None:
    assert not replace(CARDS["depth_pro"]).licence.commercial
    assert not CARDS["depth_anything_v2_outdoor_large"].licence.commercial
    assert CARDS["depth_anything_v2_outdoor_small"].licence.commercial
    assert not CARDS["lightglue_superpoint"].licence.commercial
