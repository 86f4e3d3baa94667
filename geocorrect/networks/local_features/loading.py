"""kornia's networks filled from files of the cards: tensors only, every parameter from the file, nothing downloaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geocorrect.errors import ModelError
from geocorrect.networks.runtime import Runtime, torch_device, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

UNUSED = re.compile(r"log_assignment\.\d+\.r$")
"""Scalars of LightGlue's training that the authors left in the file of DISK; no version of the network reads them."""
DERIVED = re.compile(r"(dkd\.hw_grid|confidence_thresholds)$")
"""Constants that kornia computes and the authors' files may lack."""


def algorithm() -> str:
    """The release series of kornia, whose minor versions change which keypoints are kept (0.9: strict maxima only).

    Part of the fingerprints and of the keys of cached features. That the outputs did not change within a series is
    checked by a test with the real weights.
    """
    return "kornia-" + ".".join(version("kornia").split(".")[:2])


def load_aliked(path: Path, max_keypoints: int, runtime: Runtime) -> Any:
    """ALIKED-n16 (Zhao et al. 2023): sub-pixel keypoints and 128-D descriptors."""
    from kornia.feature import ALIKED

    return _ready(ALIKED("aliked-n16", max_num_keypoints=max_keypoints), read_state(path), path, runtime)


def load_disk(path: Path, runtime: Runtime) -> Any:
    """DISK (Tyszkiewicz et al. 2020): keypoints on whole pixels and 128-D descriptors."""
    from kornia.feature import DISK

    return _ready(DISK(desc_dim=128), read_state(path), path, runtime)


def load_xfeat(path: Path, runtime: Runtime) -> Any:
    """XFeat (Potje et al. 2024): keypoints on whole pixels and 64-D descriptors."""
    from kornia.feature import XFeat

    return _ready(XFeat(), {f"net.{name}": tensor for name, tensor in read_state(path).items()}, path, runtime)


def load_lightglue(path: Path, min_score: float, runtime: Runtime) -> Any:
    """LightGlue (Lindenberger et al. 2023) for 128-D descriptors, in the precision of the runtime."""
    from kornia.feature import LightGlue

    unnamed: Any = None  # a name would make kornia fetch weights of its own choice
    network = LightGlue(features=unnamed, weights=None, input_dim=128, n_layers=9, filter_threshold=min_score)
    return _ready(network, _renamed(read_state(path)), path, runtime).to(torch_dtype(runtime))


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of one of the files; ModelError naming the file when it is damaged or holds something else."""
    from geocorrect.networks.state_dict import load_pickled_tensors, state_of

    try:
        return state_of(load_pickled_tensors(path), "extractor")
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' file for DISK numbers the two attentions of a layer apart; kornia nests them in the layer."""
    apart = re.compile(r"^(self_attn|cross_attn)\.(\d+)\.")
    return {apart.sub(r"transformers.\2.\1.", key): tensor for key, tensor in state.items()}


def _ready(network: Any, state: Mapping[str, Tensor], path: Path, runtime: Runtime) -> Any:
    """The network with every parameter and buffer from the file, for inference."""
    name = type(network).__name__
    needed = {key: tensor for key, tensor in state.items() if not UNUSED.search(key)}
    try:
        report = network.load_state_dict(needed, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{path}: does not fit {name} ({str(error).splitlines()[-1].strip()})") from None
    missing = [key for key in report.missing_keys if not DERIVED.search(key)]
    wrong = sorted(missing) + sorted(report.unexpected_keys)
    if wrong:
        raise ModelError(f"{path}: does not fit {name}: {len(wrong)} keys, the first is `{wrong[0]}`")
    return network.to(torch_device(runtime)).eval().requires_grad_(False)
