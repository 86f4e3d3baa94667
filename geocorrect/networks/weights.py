"""Where weights are, whether they are whole, and whether they may be used; `fetch` fetches them.

A model lives in `<folder>/<name>/`: its files and `geocorrect-weights.json`, which records the sha256 of every file,
the source and the accepted licence. The folder is `ModelAccess.folder`, else $GEOCORRECT_WEIGHTS, else the user's
cache. A folder filled by hand works offline after `geocorrect models verify NAME --accept-licence`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geocorrect.errors import ModelError, UsageError
from geocorrect.io.atomic_file import write_atomically
from geocorrect.io.checksum import sha256_of
from geocorrect.networks import Profile
from geocorrect.networks.cards import CARDS, ModelCard, Task, size_text

FOLDER_VARIABLE = "GEOCORRECT_WEIGHTS"
MANIFEST = "geocorrect-weights.json"
WEIGHTLESS = {Task.MATCHING: '[match] matcher = "sift"', Task.DEPTH: '[depth] source = "triangulated"'}
"""The setting that does each task without a network."""


@dataclass(frozen=True)
class ModelAccess:
    """Where to look for weights and under which licences."""

    folder: Path | None = None
    """Contains one folder per model; None: see the top of this module."""
    profile: Profile = Profile.RESEARCH


@dataclass(frozen=True)
class Manifest:
    """What is known about a fetched model."""

    files: dict[str, str]
    """sha256 per file."""
    source: str
    """Where it came from."""
    licence: str | None = None
    """The licence that was accepted."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Size in bytes and modification time in ns of each file when its sha256 was taken."""


@dataclass(frozen=True)
class Checkpoint:
    """A model that is there and may be used."""

    card: ModelCard
    folder: Path
    identity: str
    """Short, unique to the exact files, part of run keys."""

    def file(self, name: str) -> Path:
        """The path of one of the model's files."""
        return self.folder / name


def card_of(name: str) -> ModelCard:
    """The card of a model; UsageError listing the names when there is none."""
    if name not in CARDS:
        raise UsageError(f"no model is called {name!r}; there are {', '.join(sorted(CARDS))}")
    return CARDS[name]


def weights_folder(access: ModelAccess) -> Path:
    """The folder that contains one folder per model."""
    if access.folder is not None:
        return access.folder
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "geocorrect" / "weights"


def model_folder(name: str, access: ModelAccess) -> Path:
    """The folder of one model."""
    return weights_folder(access) / card_of(name).name


def locate(name: str, access: ModelAccess) -> Checkpoint:
    """The model's files, ready to load; nothing is fetched.

    Raises:
        ModelError: the licence forbids the profile, weights are missing (what, how big, which licence, which command),
            the licence was not accepted, or files changed since they were verified.
    """
    card, folder = _present(name, access)
    manifest = read_manifest(folder)
    accepted = not needs_acceptance(card) or is_accepted(card, access)
    if manifest is None or not accepted or any(file.name not in manifest.files for file in card.files):
        raise ModelError(_unready_text(card, access, accepted))
    for file in card.files:
        if manifest.seen.get(file.name) != _stamp(folder / file.name):
            raise ModelError(
                f"{folder / file.name}: changed since it was verified; run `{_command('verify', card, access)}`"
            )
    digest = hashlib.sha256(json.dumps(sorted(manifest.files.items())).encode()).hexdigest()
    return Checkpoint(card, folder, f"{name}-{digest[:16]}")


def _present(name: str, access: ModelAccess) -> tuple[ModelCard, Path]:
    """Card and folder of a model whose files are there and may be used under the profile; ModelError if not."""
    card, folder = card_of(name), model_folder(name, access)
    require_permitted(card, access.profile)
    if missing := [file.name for file in card.files if not (folder / file.name).is_file()]:
        raise ModelError(_missing_text(card, access, missing))
    return card, folder


def require_permitted(card: ModelCard, profile: Profile) -> None:
    """ModelError naming the permitted alternative when the profile is commercial and the licence is not."""
    if profile is Profile.COMMERCIAL and not card.licence.commercial:
        instead = f"; use `{card.alternative}` instead" if card.alternative else ""
        if card.depth_alternative:
            instead += f", or for depth `{card.depth_alternative}`"
        raise ModelError(
            f"{card.name}: the weights of {card.title} are licensed {card.licence.name}, which profile = "
            f'"commercial" does not allow{instead} ({card.licence.url})'
        )


def needs_acceptance(card: ModelCard) -> bool:
    """Whether somebody must agree to the licence before the weights are used."""
    return not card.licence.commercial


def is_accepted(card: ModelCard, access: ModelAccess) -> bool:
    """Whether the agreement to the licence of these weights is recorded."""
    manifest = read_manifest(model_folder(card.name, access))
    return manifest is not None and manifest.licence == card.licence.name


def accept(name: str, access: ModelAccess) -> None:
    """Record that the user agrees to the licence of a model, for weights that lie somewhere else."""
    card, folder = card_of(name), model_folder(name, access)
    require_permitted(card, access.profile)
    known = read_manifest(folder) or Manifest({}, "placed by hand")
    write_manifest(folder, replace(known, licence=card.licence.name))


def require_usable_elsewhere(name: str, access: ModelAccess, file: Path) -> None:
    """For weights in a file of the user's own: ModelError unless their licence permits it and was accepted."""
    card = card_of(name)
    require_permitted(card, access.profile)
    if needs_acceptance(card) and not is_accepted(card, access):
        raise ModelError(
            f"{file}: weights of {card.title} are licensed {card.licence.name}, which was not accepted. Read "
            f"{card.licence.url}; if you agree, run `{_command('accept', card, access)}`"
        )


def verify(name: str, access: ModelAccess, accept_licence: bool = False) -> Checkpoint:
    """Read every file, compare with the recorded sha256, record what was not yet recorded; then `locate`.

    Raises:
        ModelError: a file is missing or differs; the message names it.
    """
    card, folder = _present(name, access)
    known = read_manifest(folder)
    digests = {file.name: sha256_of(folder / file.name) for file in card.files}
    published = {file.name: file.sha256 for file in card.files if file.sha256}
    recorded = dict(known.files) if known else {}
    for file_name, digest in digests.items():
        expected = published.get(file_name) or recorded.get(file_name)
        if expected and expected != digest:
            raise ModelError(
                f"{folder / file_name}: sha256 is {digest}, expected {expected}; delete the file and run "
                f"`{fetch_command(card, access)}`"
            )
    accepted = card.licence.name if accept_licence else (known.licence if known else None)
    source = known.source if known else "placed by hand"
    stamps = {file_name: _stamp(folder / file_name) for file_name in digests}
    write_manifest(folder, Manifest(digests, source, accepted, stamps))
    return locate(name, access)


def comparable_files(name: str, access: ModelAccess) -> set[str]:
    """Names of the model's files whose sha256 is published or was recorded: what `verify` can compare."""
    known = read_manifest(model_folder(name, access))
    return {file.name for file in card_of(name).files if file.sha256} | set(known.files if known else ())


def fetch_command(card: ModelCard, access: ModelAccess) -> str:
    """The one command that fetches the model to where `access` looks for it."""
    return _command("fetch", card, access, accept=needs_acceptance(card))


def verify_command(card: ModelCard, access: ModelAccess) -> str:
    """The one command after which files that were copied by hand are used."""
    return _command("verify", card, access, accept=needs_acceptance(card))


def _command(verb: str, card: ModelCard, access: ModelAccess, accept: bool = False) -> str:
    """A command that works from any folder and with any configuration file, hence the weights' folder in it."""
    words = ["geocorrect", "models", verb, card.name, *(["--accept-licence"] if accept else [])]
    if access.folder is not None:
        words += ["--folder", str(access.folder)]
    return shlex.join(words)


def read_manifest(folder: Path) -> Manifest | None:
    """What was recorded about a model's folder; None when nothing (readable) was."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return Manifest(
            files={str(name): str(digest) for name, digest in content["files"].items()},
            source=str(content["source"]),
            licence=content.get("licence"),
            seen={str(name): (int(stamp[0]), int(stamp[1])) for name, stamp in content["seen"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Record what is known about a model's folder, atomically; ModelError when the folder is read-only."""
    text = json.dumps(vars(manifest), indent=2, sort_keys=True) + "\n"
    try:
        write_atomically(folder / MANIFEST, text)
    except OSError as error:
        raise ModelError(f"{folder / MANIFEST}: cannot be written ({error.strerror})") from None


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _missing_text(card: ModelCard, access: ModelAccess, missing: list[str]) -> str:
    folder = model_folder(card.name, access)
    elsewhere = "" if access.folder else f", or set {FOLDER_VARIABLE} to a folder with {card.name}/ in it"
    lines = [
        f"{card.name}: the weights of {card.title} are not on this machine",
        f"  missing: {', '.join(missing)} in {folder}",
        f"  size:    {size_text(card.size_mb)}; {size_text(card.memory_mb)} of memory when loaded",
        f"  licence: {card.licence.name}",
        f"           {card.licence.url}",
        f"  fetch:   {fetch_command(card, access)}"
        + ("   (once you have read the licence and agree)" if needs_acceptance(card) else ""),
        f"  offline: copy them there{elsewhere}; then {verify_command(card, access)}",
    ]
    if card.alternative is not None:
        lines.append(f"  instead: {_described(card.alternative)}")
    lines.append(f"  or:      {WEIGHTLESS[card.task]}, which needs no weights")
    if card.depth_alternative is not None:
        lines.append(f"  for depth: {_described(card.depth_alternative)}, or {WEIGHTLESS[Task.DEPTH]}")
    return "\n".join(lines)


def _described(name: str) -> str:
    card = card_of(name)
    return f"{card.name} ({size_text(card.size_mb)}, {card.licence.name})"


def _unready_text(card: ModelCard, access: ModelAccess, accepted: bool) -> str:
    folder = model_folder(card.name, access)
    licence = f"their licence, {card.licence.name} ({card.licence.url}), was not accepted"
    what = "not verified yet" if accepted else licence
    return f"{card.name}: the weights in {folder} are there, but {what}. Run `{verify_command(card, access)}`"


def model_rows(cards: Iterable[ModelCard], folder: Path | None = None) -> list[dict[str, Any]]:
    """One row per model as plain values; `state` is ready, partial (files missing or not accepted) or absent."""
    access = ModelAccess(folder)
    as_stated = ("name", "title", "size_mb", "memory_mb", "alternative", "depth_alternative")
    return [
        {
            **{key: getattr(card, key) for key in (*as_stated, "valid_range_m", "relative_depth_sigma")},
            "task": card.task.value,
            "size": size_text(card.size_mb),
            "licence": card.licence.name,
            "licence_short": card.licence.short or card.licence.name,
            "licence_url": card.licence.url,
            "commercial": card.licence.commercial,
            "source": card.hub_id or ", ".join(str(file.wheel or file.url) for file in card.files),
            "state": _state(card, access),
        }
        for card in cards
    ]


def _state(card: ModelCard, access: ModelAccess) -> str:
    try:
        locate(card.name, access)
    except ModelError:
        folder = model_folder(card.name, access)
        return "partial" if any((folder / file.name).exists() for file in card.files) else "absent"
    return "ready"
