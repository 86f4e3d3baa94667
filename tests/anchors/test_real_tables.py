"""Tables as spreadsheets, pandas, ODM and loggers write them: read rightly, or refused with the line and the cause."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from geocorrect.anchors.readers.place import stated_crs, stated_height_reference
from geocorrect.anchors.readers.rows import read_rows
from geocorrect.anchors.readers.table import TableOptions, read_table
from geocorrect.anchors.trajectory import read_tum
from geocorrect.cli.app import app
from geocorrect.errors import InputError

HEAD = "id,file,x,y,height_m,heading_deg,width,height,fx,fy,cx,cy,note"
ROWS = [f"a{k},a{k}.png,{292711 + k},4641800,80.0,90,64,48,60,60,32,24,ok" for k in (1, 2, 3)]
UTM = TableOptions("EPSG:32633", "ellipsoid")


def write(tmp_path: Path, content: str | bytes, name: str = "anchors.csv") -> Path:
    for k in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"a{k}.png"), np.zeros((48, 64, 3), np.uint8))
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("index", [False, True])
def test_ends_of_lines_marks_and_an_index_change_nothing(tmp_path: Path, end: str, mark: str, index: bool) -> None:
    lines = [f"{'' if not k else k - 1},{line}" if index else line for k, line in enumerate([HEAD, *ROWS])]
    rows = read_rows(write(tmp_path, mark + end.join(lines) + end))
    assert [row.text("id") for row in rows] == ["a1", "a2", "a3"]
    assert [row.number("x") for row in rows] == [292712.0, 292713.0, 292714.0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.replace("24,ok", '24,"left side', 1), r"line 2: unexpected end of data; a quoted field must end"),
        (lambda t: t.replace("24,ok", '24,"left" side', 1), r"line 2: .*quotes in it be doubled"),
        (lambda t: t.replace("a1,", '"a1\n",', 1), r"line 2: unexpected end of data"),
        (lambda t: t.replace("ok", "\0", 1), "line 2|NUL|note"),
        (lambda t: t.replace(",", ";"), "line 1: expected column names, all different, separated by commas"),
        (lambda t: t.replace(",", "\t"), "line 1: expected column names"),
        (lambda t: t.replace("id,file", "id,id", 1), "line 1: expected column names, all different"),
        (lambda t: t.replace("id,file", "id,", 1), "line 1: expected column names, all different"),
        (lambda t: t.replace("ok", "ok,more", 1), "line 2: more values than column names"),
    ],
)
def test_damage_is_named_and_never_fewer_anchors(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path, damage("\n".join([HEAD, *ROWS])))
    try:
        anchors = read_table(path, UTM).anchors
    except InputError as error:
        assert __import__("re").search(message, str(error)), error
    else:
        assert len(anchors) == 3


def test_the_unclosed_quote_of_a_person(shared_data: Path) -> None:
    with pytest.raises(InputError, match=r"unclosed.csv, line 2: .*a quoted field must end on its line"):
        read_rows(shared_data / "cases/tables/unclosed.csv")


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("latin-1", r"byte 0xe4 in line 3\); save it as UTF-8"), ("utf-16", r"UTF-16\); save"), ("cp1252", "line 3")],
)
def test_other_encodings_are_named(tmp_path: Path, encoding: str, message: str) -> None:
    text = "\n".join([HEAD, ROWS[0], ROWS[1].replace("ok", "Straßenlänge"[5:]), ROWS[2]])
    with pytest.raises(InputError, match=rf"anchors.csv: not UTF-8 text \(.*{message.removeprefix('byte ')}"):
        read_rows(write(tmp_path, text.encode(encoding)))


@pytest.mark.parametrize("value", ["0", "-1", "-0.0", "nan", "inf"])
@pytest.mark.parametrize("column", ["sigma_position_m", "sigma_rotation_deg"])
def test_a_sigma_is_positive_or_absent(tmp_path: Path, value: str, column: str) -> None:
    sigmas = {"sigma_position_m": "0.1", "sigma_rotation_deg": "0.1"} | {column: value}
    text = "\n".join([HEAD + "," + ",".join(sigmas), ROWS[0] + "," + ",".join(sigmas.values())])
    with pytest.raises(InputError, match=rf"line 2: {column} must be"):
        read_table(write(tmp_path, text), UTM)


def test_crs_names_and_contradictions() -> None:
    assert stated_crs("f", None, "WGS84") == "WGS84"
    assert stated_crs("f", "EPSG:4326", "OGC:CRS84")
    assert stated_crs("f", "EPSG:32633", "EPSG:32633+5773") == "EPSG:32633+5773"
    assert stated_height_reference("f", "EPSG:32633+5773", "unknown") == "EPSG:5773"
    assert stated_height_reference("f", "EPSG:32633+5773", "orthometric") == "EPSG:5773"
    assert stated_height_reference("f", "EPSG:32633", "ellipsoid") == "ellipsoid"
    for own, given in (
        ("EPSG:32633", "EPSG:32632"),
        ("EPSG:4326", "EPSG:4258"),
        ("EPSG:32633+5773", "EPSG:32633+3855"),
    ):
        with pytest.raises(InputError, match=rf"f: the file's coordinates are in {own}".replace("+", r"\+")):
            stated_crs("f", own, given)
    for crs, given in (("EPSG:32633+5773", "ellipsoid"), ("EPSG:4979", "orthometric"), ("EPSG:4979", "EPSG:5773")):
        with pytest.raises(InputError, match="drop one of the two"):
            stated_height_reference("f", crs, given)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--crs EPSG:32633 --height-reference ellipsoid", 0, "3 anchors could be added"),
        ("--crs EPSG:32633+5773 --geoid-undulation 48.3", 0, "3 anchors could be added"),
        ("--crs EPSG:99999 --height-reference ellipsoid", 3, "'EPSG:99999' is no coordinate system"),
        ("--crs EPSG:27700 --height-reference ellipsoid", 3, "projsync --file uk_os_OSTN15_NTv2_OSGBtoETRS.tif"),
        ("--crs EPSG:32633+5773 --height-reference ellipsoid", 3, "drop one of the two"),
        ("--crs EPSG:32633 --height-reference sea --geoid-undulation 48", 3, "neither ellipsoid, orthometric nor"),
    ],
)
def test_from_the_command_line(tmp_path: Path, options: str, code: int, words: str) -> None:
    text = "\n".join([HEAD, *ROWS])
    path = write(tmp_path, text.replace(",2927", ",6241").replace("4641800", "308456") if "27700" in options else text)
    arguments = ["anchors", "add", str(path), "--format", "table", "--dry-run", *options.split()]
    result = CliRunner().invoke(app, arguments)
    text = result.output + str(result.exception or "")
    assert words in " ".join(text.split())
    assert (result.exit_code if code == 0 else getattr(result.exception, "exit_code", None)) == code


@pytest.mark.parametrize(
    ("crs", "x", "y", "given"),
    [
        ("urn:ogc:def:crs:EPSG::32633", 292727.0243, 4641901.0339, None),
        ("EPSG:3857", 1391622.5874, 5146291.7800, None),
        ("EPSG:3857", 1391622.5874, 5146291.7800, "EPSG:3857"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", 12.5011584, 41.9018728, "WGS84"),
    ],
)
def test_a_geojson_is_in_the_crs_that_it_names(tmp_path: Path, crs: str, x: float, y: float, given: str | None) -> None:
    properties = dict(zip(HEAD.split(","), ROWS[0].split(","), strict=True))
    point = {"type": "Point", "coordinates": [x, y, 80.0]}
    feature = {"type": "Feature", "geometry": point, "properties": {**properties, "x": None, "y": None}}
    content = {"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": crs}}, "features": [feature]}
    path = write(tmp_path, json.dumps(content), "anchors.geojson")
    frame = read_table(path, TableOptions(given, "ellipsoid")).alignment.frame
    assert (frame.lon_deg, frame.lat_deg) == pytest.approx((12.5011584, 41.9018728), abs=2e-6)
    with pytest.raises(InputError, match="but --crs says EPSG:31370"):
        read_table(path, TableOptions("EPSG:31370", "ellipsoid"))


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_unix_stamps_in_any_unit_are_the_same_times(tmp_path: Path, unit: int) -> None:
    start = 1403636579
    lines = [f"{start * unit + k * unit // 20 if unit > 1 else start + k / 20} {k} 0 0 0 0 0 1" for k in range(5)]
    path = write(tmp_path, "\ufeff# comment\n" + "\n".join(lines), "gt.txt")
    assert read_tum(path).time_ns.tolist() == [start * 10**9 + k * 50_000_000 for k in range(5)]


@pytest.mark.parametrize(
    ("stamps", "message"),
    [
        (["1237601", "1237651", "1237701", "1237751"], "gt.txt, line 1: the times are whole numbers that step by 50"),
        (["1237601789", "1237651789", "1237701789"], "whole numbers that step by 50000"),
        (["1e300", "2e300", "3e300"], "line 1: '1e300' is no time in seconds; is it in another unit"),
        (["1e999999999", "2", "3"], "line 1: .* is no time in seconds"),
    ],
)
def test_stamps_that_cannot_be_seconds_name_the_unit(tmp_path: Path, stamps: list[str], message: str) -> None:
    path = write(tmp_path, "\n".join(f"{t} 0 0 0 0 0 0 1" for t in stamps), "gt.txt")
    with pytest.raises(InputError, match=message):
        read_tum(path)
