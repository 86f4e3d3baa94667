"""Reading `.pth` files: tensors and plain values only, and a named error for every kind of damage."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from geocorrect.errors import ModelError


def load_pickled_tensors(path: Path, *harmless: type) -> Any:
    """What torch saved, on the CPU; memory-mapped where the format allows (the one of torch before 1.6 does not).

    Args:
        path: The file.
        harmless: Classes beside tensors and plain values that the file may contain.

    Raises:
        ModelError: the file is damaged or holds other objects; the message does not name it.
    """
    try:
        with torch.serialization.safe_globals(list(harmless)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a damaged file happens to look like
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "unsupported global" in str(error).lower():
            raise ModelError(
                "refused: the file holds objects other than tensors, which would have to be executed to be read; "
                "get the checkpoint from its authors"
            ) from None
        raise _damaged(error) from None
    except Exception as error:
        # A flipped byte can make the reader call anything on anything: no list of classes is complete.
        raise _damaged(error) from None


def _damaged(error: Exception) -> ModelError:
    reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
    return ModelError(f"truncated or damaged checkpoint ({reason}); fetch it again")
