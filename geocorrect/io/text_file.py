"""Reading small text and JSON files: one place for what is said when that fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
        raise InputError(f"{path}: not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path: Path, missing: str = "no such file") -> Any:
    """Content of a JSON file; InputError as in `read_text`, and when the text is not JSON."""
    text = read_text(path, missing)
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
