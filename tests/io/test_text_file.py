"""Small text files: what is said when one cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from geocorrect.errors import InputError
from geocorrect.io.text_file import finite_numbers, read_json, read_text


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"name": "R\xc3\xb6m"}')
    assert read_text(path) == '{"name": "Röm"}'
    assert read_json(path) == {"name": "Röm"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such list; make one"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"{", "not a JSON file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.json: {message}"):
        read_json(path, "no such list; make one")


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_text(tmp_path)


def test_numbers_are_counted_and_finite() -> None:
    assert finite_numbers("a.txt: size", ["2", 3], 2) == [2.0, 3.0]
    for wrong in (None, [1], ["x", 1], [1, float("nan")], 7):
        with pytest.raises(InputError, match="a.txt: size must be 2 finite numbers, got "):
            finite_numbers("a.txt: size", wrong, 2)
