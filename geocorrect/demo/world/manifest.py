"""The file that says a demo world is whole: which world it is, and the hash of every file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from geocorrect.io.checksum import sha256_of

NAME = "manifest.json"


def write_manifest(folder: Path, identity: dict[str, Any]) -> None:
    """Hash everything under folder and write the manifest."""
    files = {str(path.relative_to(folder)): sha256_of(path) for path in _files(folder)}
    content = {**identity, "content": _digest(files), "files": files}
    (folder / NAME).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def content_hash(folder: Path) -> str:
    """Hash of the whole world as its manifest has it: equal for equal seeds, versions and libraries."""
    return str(json.loads((folder / NAME).read_text(encoding="utf-8"))["content"])


def matches_manifest(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether folder holds exactly this world, every file unchanged."""
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        same = all(manifest.get(key) == value for key, value in identity.items())
        return same and {str(p.relative_to(folder)): sha256_of(p) for p in _files(folder)} == manifest["files"]
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
