"""Reading small text and JSON files and the numbers in them: one place for what is said when that fails."""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any

import numpy as np

from geocorrect.errors import InputError


def read_text(path: Path, missing: str = "no such file") -> str:
    """UTF-8 text of a file, without a byte order mark.

    Args:
        path: The file.
        missing: What the message says, after the path, when there is no such file.

    Raises:
        InputError: The file is missing, unreadable or not UTF-8; the message names it.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: {missing}") from None
    except UnicodeDecodeError as error:
        line, bad = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        kind = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {bad:#04x} in line {line}"
        raise InputError(f"{path}: not UTF-8 text ({kind}); save it as UTF-8 (iconv)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path: Path, missing: str = "no such file") -> Any:
    """Content of a JSON file; InputError as in `read_text`, and when the text is not JSON."""
    text = read_text(path, missing)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None


def finite_numbers(what: str, values: Any, count: int) -> list[float]:
    """Exactly `count` finite numbers; InputError that begins with `what` (file and field) otherwise."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{what} must be {count} finite numbers, got {reprlib.repr(values)}")
    return numbers
