"""Overflow is an error, float32 is float32, and devices are those that the networks know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.mast3r_world import random_photo, seeded_engine, seeded_model

from geocorrect.errors import ConfigError, ModelError
from geocorrect.match.mast3r import Mast3rMatcher
from geocorrect.networks.exact import full_float32
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.rules import MatchingRules
from geocorrect.networks.runtime import Runtime, torch_device
from geocorrect.networks.store import TensorStore

PHOTOS = random_photo(64, 48), random_photo(64, 48, 1)
RULES = MatchingRules(min_confidence=0.0, border_px=0)


def _overflowing(part: str) -> Mast3r:
    """A float16 network whose weights are in range and whose products in one part are not."""
    model = seeded_model()
    last = {
        "encoder": model.enc_blocks[-1].mlp.fc2,
        "descriptor head": model.downstream_head2.head_local_features.fc2,
        "point head": model.downstream_head1.dpt.head[4],
    }[part]
    if part == "point head":  # which runs in float32 also when the rest does not
        last.bias.fill_(torch.inf)
    else:
        last.weight.fill_(6e4)
        last.bias.fill_(6e4)
    return model.use_dtype(torch.float16)


@pytest.mark.parametrize("part", ["encoder", "descriptor head"])
def test_overflow_is_named_and_never_cached(part: str, tmp_path: Path) -> None:
    engine = Mast3rEngine(_overflowing(part), "seeded", TensorStore(tmp_path), long_side_px=64)
    with pytest.raises(ModelError, match=rf'the {part} .* in float16: .*precision = "bfloat16" or "float32"'):
        Mast3rMatcher(engine, RULES).match(PHOTOS[0], [PHOTOS[1]])
    n_cached = len(list(tmp_path.rglob("*.tensors")))
    assert n_cached == (0 if part == "encoder" else 2)


def test_a_point_head_that_overflows_is_named() -> None:
    model = _overflowing("point head")
    query, anchor = Mast3rEngine(model, "seeded", TensorStore(), 64).encode(list(PHOTOS))
    view1, _ = model.decode(query.encoded(), anchor.encoded())
    with pytest.raises(ModelError, match="the point head gave numbers that are not finite"):
        model.points(view1, 1)


def test_nan_in_float32_blames_the_weights() -> None:
    engine = seeded_engine()
    engine.model.enc_norm.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="the encoder .* in float32: the weights are damaged"):
        engine.encode(PHOTOS[:1])


@pytest.fixture
def settings_of_torch() -> Iterator[None]:
    """Restored afterwards; monkeypatch cannot, as torch answers for them without having them as attributes."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    yield
    convolutions.allow_tf32, products.allow_tf32 = before


@pytest.mark.usefixtures("settings_of_torch")
@pytest.mark.parametrize("before", [True, False])
def test_float32_is_exact_inside_and_the_settings_come_back(before: bool) -> None:
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    convolutions.allow_tf32 = products.allow_tf32 = before

    @full_float32()
    def fail() -> None:
        assert not convolutions.allow_tf32
        assert not products.allow_tf32
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (convolutions.allow_tf32, products.allow_tf32) == (before, before)


@pytest.mark.usefixtures("settings_of_torch")
def test_the_network_runs_in_exact_float32() -> None:
    torch.backends.cudnn.allow_tf32 = True
    engine, seen = seeded_engine(), list[bool]()
    for part in (engine.model.patch_embed, engine.model.downstream_head1.dpt, engine.model.dec_blocks[0]):
        part.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    query, anchor = engine.encode(PHOTOS)
    view1, _ = engine.model.decode(query.encoded(), anchor.encoded())
    engine.model.points(view1, 1)
    assert seen == [False] * 3
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("device", ["meta", "mps", "xpu", "cuda:-1", "cuda:x", "cpu:0", "gpu", ""])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(ConfigError, match="is not one of auto, cpu, cuda, cuda:N"):
        torch_device(Runtime(device=device))


def test_an_index_beyond_the_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device(Runtime(device="cuda:1")) == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="CUDA devices are cuda:0 to cuda:1"):
        torch_device(Runtime(device="cuda:2"))
