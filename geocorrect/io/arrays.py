"""Reading archives of arrays (.npz) that others made: bounded, and one kind of error for every kind of damage."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 1 << 30


def read_arrays(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, unpacks to more than `most_bytes`, or holds other objects than numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
        if n_bytes > most_bytes:
            raise ValueError(f"unpacks to {n_bytes} bytes, more than {most_bytes}")
        with np.load(path, allow_pickle=False) as content:
            return {name: np.asarray(content[name]) for name in content.files}
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        # Zip directory, zlib and the header, which is parsed as Python, each have their own way to fail.
        raise ValueError(str(error) or type(error).__name__) from None
