"""Loading transformers models from a folder: safetensors only, every tensor accounted for, no network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geocorrect.errors import ModelError
from geocorrect.networks.deferred import deferred
from geocorrect.networks.runtime import (
    Runtime,
    require_compiler,
    require_libraries,
    require_working_compiler,
    torch_device,
    torch_dtype,
)
from geocorrect.networks.weights import Checkpoint, locate


def deferred_pretrained(
    name: str, model_class: str | Callable[[], Any], runtime: Runtime, **settings: Any
) -> tuple[Any, Checkpoint]:
    """A transformers model that is loaded when it is first used, and its weights, which must be there now.

    Args:
        name: Of the model's card.
        model_class: Name of the class in transformers, or what gives the class.
        runtime: Where it runs.
        settings: See `load_pretrained`, which refuses damaged weights when the model is first used.

    Raises:
        ModelError: transformers or the weights are missing, or not licensed for the profile.
    """
    require_libraries("transformers")
    weights = locate(name, runtime.access)

    def load() -> Any:
        import transformers

        found = getattr(transformers, model_class) if isinstance(model_class, str) else model_class()
        return load_pretrained(found, weights.folder, runtime, **settings)

    return deferred(load), weights


def load_pretrained(model_class: Any, folder: Path, runtime: Runtime, **settings: Any) -> Any:
    """A transformers model for inference, on the runtime's device in its precision.

    Args:
        model_class: A model class of transformers.
        folder: Contains `config.json` and the weights.
        runtime: Where it runs.
        settings: Configuration values that replace those of the folder.

    Raises:
        ModelError: the files cannot be loaded, or lack a tensor, which the library would fill with random numbers.
    """
    try:
        with _quiet():
            model, report = model_class.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch_dtype(runtime),
                **settings,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{folder}: cannot be loaded as {model_class.__name__} ({reason})") from None
    except Exception as error:
        if type(error).__module__.split(".")[0] not in {"safetensors_rust", "safetensors", "huggingface_hub"}:
            raise
        raise ModelError(f"{folder}: damaged model files ({error}); fetch them again") from None
    missing = sorted(report["missing_keys"]) + sorted(str(entry[0]) for entry in report["mismatched_keys"])
    if missing:
        raise ModelError(
            f"{folder}: not the weights of {model_class.__name__}: {len(missing)} tensors missing or of another shape, "
            f"the first is `{missing[0]}`"
        )
    model = model.to(torch_device(runtime)).eval().requires_grad_(False)
    if runtime.compile:
        require_compiler(runtime)
        require_working_compiler(model.device)
        model.compile()
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The library's load report and progress bars are for notebooks; what matters is raised above."""
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
