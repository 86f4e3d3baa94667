"""One id, one photo; one sequence, one recording; names of files as disks really hold them."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from support.photos import photo

from geocorrect.__main__ import run
from geocorrect.catalog import Catalog
from geocorrect.harvest.local.folder import import_description, import_folder
from geocorrect.records import Image


def stored(path: Path) -> dict[str, Image]:
    with Catalog.open(str(path)) as catalog:
        return catalog.images()


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two memory cards whose photos have the same names."""
    monkeypatch.chdir(tmp_path)
    for seed, card in enumerate(("one", "two")):
        for name in ("DSC1.jpg", "DSC2.jpg"):
            photo(tmp_path / card / name, seed=seed)
    return tmp_path


@pytest.mark.long
def test_photos_of_the_same_name_from_two_cards_are_both_kept(cards: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for card in ("one", "two", "two", "one"):
        assert run(["import", card, "--catalog", "c.gpkg"]) == 0
    images = stored(cards / "c.gpkg")
    assert len(images) == 4
    assert {image.path for image in images.values()} == set(cards.rglob("*.jpg"))
    assert {"DSC1.jpg", "DSC2.jpg"} < set(images)
    assert "has the id DSC1.jpg already; imported as DSC1.jpg@" in capfd.readouterr().err.replace("\n", "")


def test_a_file_that_changed_moved_or_came_twice_keeps_its_id(cards: Path) -> None:
    assert run(["import", "one", "--catalog", "c.gpkg"]) == 0
    photo(cards / "one" / "DSC1.jpg", seed=7)
    assert run(["import", "one", "--catalog", "c.gpkg"]) == 0
    shutil.move(cards / "one", cards / "elsewhere")
    assert run(["import", "elsewhere", "--catalog", "c.gpkg"]) == 0
    images = stored(cards / "c.gpkg")
    assert set(images) == {"DSC1.jpg", "DSC2.jpg"}
    assert images["DSC1.jpg"].path == cards / "elsewhere" / "DSC1.jpg"


def description(folder: Path, key: str, day: int, seed: int) -> Path:
    entries = []
    for index in range(3):
        name = photo(folder / f"{index}.jpg", seed=seed + index).name
        time = f"2024_05_{day:02d}_12_00_{index:02d}_000"
        place = {"MAPLatitude": 41.9, "MAPLongitude": 12.5 + index * 1e-4}
        entries.append({"filename": name, **place, "MAPCaptureTime": time, "MAPSequenceUUID": key})
    path = folder / "mapillary_image_description.json"
    path.write_text(json.dumps(entries))
    return path


def test_the_counter_of_two_trips_is_two_recordings(tmp_path: Path) -> None:
    """mapillary_tools numbers the sequences of each run from 0."""
    trips = [description(tmp_path / name, "0", day, day) for day, name in ((1, "monday"), (2, "tuesday"))]
    for path in [*trips, trips[0]]:
        assert run(["import", str(path), "--format", "mapillary-tools", "--catalog", str(tmp_path / "c.gpkg")]) == 0
    images = stored(tmp_path / "c.gpkg")
    assert len(images) == 6
    recordings = {image.sequence_id for image in images.values()}
    assert len(recordings) == 2
    for recording in recordings:
        folders = {image.path.parent for image in images.values() if image.sequence_id == recording and image.path}
        assert len(folders) == 1


def test_two_sequences_of_one_file_stay_two_and_photos_without_one_have_none(tmp_path: Path) -> None:
    path = description(tmp_path, "0", 1, 1)
    entries = json.loads(path.read_text())
    entries[1]["MAPSequenceUUID"], entries[2]["MAPSequenceUUID"] = "1", None
    path.write_text(json.dumps(entries))
    ids = [image.sequence_id for image in import_description(path).images]
    assert ids[2] is None
    assert len(set(ids)) == 3
    assert ids == [image.sequence_id for image in import_description(path).images]


def test_a_name_that_is_not_utf_8_costs_that_photo_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photo(tmp_path / "good.jpg")
    for bad in (b"caf\xe9.jpg", b"\xff\xfe.png", b"sub\xc3/x.jpg"):
        target = os.path.join(os.fsencode(tmp_path), bad)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(tmp_path / "good.jpg", target)
    assert run(["import", str(tmp_path), "--catalog", str(tmp_path / "c.gpkg")]) == 0
    assert set(stored(tmp_path / "c.gpkg")) == {"good.jpg"}
    said = capfd.readouterr().err
    assert "3 skipped" in said
    assert r"caf\xe9.jpg" in said.replace("\n", "")


@pytest.mark.parametrize("name", ["café.jpg", "Größe.jpg", "가나.jpg"])
def test_both_unicode_forms_are_one_photo(tmp_path: Path, name: str) -> None:
    """The same card read on macOS (form D) and on Linux (form C)."""
    for form in ("NFD", "NFC"):
        folder = tmp_path / form
        photo(folder / unicodedata.normalize(form, name))
        assert run(["import", str(folder), "--catalog", str(tmp_path / "c.gpkg")]) == 0
    assert set(stored(tmp_path / "c.gpkg")) == {unicodedata.normalize("NFC", name)}


def test_two_files_whose_names_differ_by_form_only_are_two_photos(tmp_path: Path) -> None:
    for seed, form in enumerate(("NFD", "NFC")):
        photo(tmp_path / unicodedata.normalize(form, "é.jpg"), seed=seed)
    assert run(["import", str(tmp_path), "--catalog", str(tmp_path / "c.gpkg")]) == 0
    assert len(stored(tmp_path / "c.gpkg")) == 2
    assert len(import_folder(tmp_path).images) == 2


def test_a_description_file_full_of_nonsense_costs_its_entries_only(tmp_path: Path) -> None:
    path = description(tmp_path, "0", 1, 1)
    entries = json.loads(path.read_text())
    entries[1]["MAPSequenceUUID"] = entries[1]["MAPDeviceMake"] = "\ud800\0"
    bad = ["\ud800.jpg", "nul\0.jpg", "\udce9.jpg", "\x1b[31m.jpg"]
    entries += [{"filename": name} for name in bad]
    entries += [{"filename": name, "error": {"message": name}} for name in bad]
    entries += [{"filename": name, "filetype": name} for name in bad]
    path.write_text(json.dumps(entries))
    arguments = [str(path), "--format", "mapillary-tools", "--catalog", str(tmp_path / "c.gpkg")]
    assert run(["import", *arguments]) == 0
    assert set(stored(tmp_path / "c.gpkg")) >= {"0.jpg", "1.jpg", "2.jpg"}
    assert len(import_description(path).skipped) == 3 + 8
