"""Projects as OpenSfM and ODM leave them: which photos are theirs, and what their files say about them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from support.photos import photo

from geocorrect.__main__ import run
from geocorrect.errors import InputError
from geocorrect.harvest.local.folder import import_description, import_opensfm

REFERENCE = {"latitude": 41.9, "longitude": 12.501, "altitude": 50.0}
BOM = "\ufeff"


def project(folder: Path, *shots: str, bom: str = "") -> Path:
    """A folder with a reconstruction of these shots; the first was taken in the sequence S."""
    entries = {name: {"rotation": [-1.57, 0, 0], "translation": [0, 0, 0], "camera": "c"} for name in shots}
    entries[shots[0]]["skey"] = "S"
    content = [{"cameras": {"c": {"focal": 0.8}}, "shots": entries, "reference_lla": REFERENCE}]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reconstruction.json").write_text(bom + json.dumps(content))
    return folder


@pytest.mark.parametrize("bom", ["", BOM])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_list_says_which_photos_are_the_projects(tmp_path: Path, end: str, bom: str) -> None:
    """One is elsewhere, one in images/, one by its name in ODM's container; a fourth is not in the list."""
    here = project(tmp_path / "odm" / "opensfm", "a.jpg", "b.jpg", "c.jpg")
    paths = [
        photo(tmp_path / "elsewhere" / "a.jpg"),
        photo(here / "images" / "b.jpg"),
        photo(tmp_path / "odm/images/c.jpg"),
    ]
    photo(here / "images" / "not_listed.jpg")
    lines = [
        str(paths[0]),
        "images/b.jpg",
        "",
        "/datasets/code/images/c.jpg",
        "/datasets/code/images/gone.jpg",
        "images/b.jpg",
    ]
    (here / "image_list.txt").write_text(bom + end.join(lines))
    for given in (here, here.parent):
        found = import_opensfm(given)
        assert [(image.id, image.path) for image in found.images] == [(path.name, path) for path in paths]
        assert all(image.computed_enu_from_cam is not None for image in found.images)
        assert found.skipped == [("/datasets/code/images/gone.jpg", "image_list.txt names it, but it is not there")]


def test_without_a_list_all_in_images_are(tmp_path: Path) -> None:
    here = project(tmp_path, "a.jpg")
    photo(here / "images" / "a.jpg")
    photo(here / "images" / "sub" / "b.jpg")
    assert [image.id for image in import_opensfm(here).images] == ["a.jpg", "sub/b.jpg"]


def test_what_a_list_names_is_skipped_by_the_rules_of_every_import(tmp_path: Path) -> None:
    here = project(tmp_path, "a.jpg")
    for name in ("1/a.jpg", "2/a.jpg", "1/raw.dng", "1/._b.jpg"):
        photo(here / name)
    lines = ["1/a.jpg", "2/a.jpg", "1/raw.dng", "1/._b.jpg", "x" * 300, "nul\0.jpg", "1"]
    (here / "image_list.txt").write_text("\n".join(lines))
    found = import_opensfm(here)
    assert [image.path for image in found.images] == [here / "1" / "a.jpg"]
    reasons = [why for _, why in found.skipped]
    assert reasons[:3] == ["another photo of the list has its name", ".dng is not read; convert it to JPEG",
                           "hidden, thumbnail or trash"]  # fmt: skip
    assert reasons[3:] == ["image_list.txt names it, but it is not there"] * 3


@pytest.mark.parametrize("text", ["", "\n\n", "images/gone.jpg\n"])
def test_a_list_without_a_photo_is_named(tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    here = project(tmp_path, "a.jpg")
    (here / "image_list.txt").write_text(text)
    with pytest.raises(InputError, match=r"image_list\.txt: names no photo that is there"):
        import_opensfm(here)
    assert run(["import", str(here), "--format", "opensfm", "--catalog", str(tmp_path / "c.gpkg")]) != 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("bom", ["", BOM])
def test_the_sequence_of_a_shot_is_the_photos(tmp_path: Path, bom: str) -> None:
    """`skey` of a reconstruction with and without a byte order mark; a shot without one leaves it open."""
    here = project(tmp_path, "a.jpg", "b.jpg", bom=bom)
    for name in ("a.jpg", "b.jpg"):
        photo(here / "images" / name)
    assert [image.sequence_id for image in import_opensfm(here).images] == ["S", None]


@pytest.mark.parametrize(("disk", "written"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_every_file_that_names_a_photo_may_use_either_unicode_form(tmp_path: Path, disk: str, written: str) -> None:
    name = "Größe é.jpg"
    on_disk, in_files = unicodedata.normalize(disk, name), unicodedata.normalize(written, name)
    here = project(tmp_path, in_files)
    path = photo(here / "images" / on_disk, gps={})
    (here / "exif").mkdir()
    gps = {"gps": {"latitude": 41.9, "longitude": 12.501}}
    (here / "exif" / f"{on_disk}.exif").write_text(json.dumps(gps))
    (here / "image_list.txt").write_text(f"images/{in_files}\n")
    (image,) = import_opensfm(here).images
    assert (image.id, image.path) == (unicodedata.normalize("NFC", name), path)
    assert image.reported is not None
    assert image.computed_enu_from_cam is not None
    description = here / "images" / "mapillary_image_description.json"
    description.write_text(json.dumps([{"filename": in_files, "MAPLatitude": 41.9, "MAPLongitude": 12.5}]))
    assert [image.path for image in import_description(description).images] == [path]
