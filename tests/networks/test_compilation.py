"""Compiled networks give the numbers of the plain ones; where nothing can be compiled, one message says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import weights_world
from support.mast3r_world import TINY_HEAD_DIMS, random_photo, seeded_engine, seeded_model

from geocorrect.depth.monocular import DepthAnythingOptions, build_depth_anything
from geocorrect.errors import ConfigError
from geocorrect.geometry.camera import Camera
from geocorrect.match.mast3r import Mast3rMatcher
from geocorrect.networks.mast3r import loading
from geocorrect.networks.mast3r.engine import Mast3rEngine
from geocorrect.networks.mast3r.loading import load_engine
from geocorrect.networks.mast3r.rules import MatchingRules
from geocorrect.networks.runtime import Runtime, require_compiler, require_working_compiler
from geocorrect.networks.weights import FOLDER_VARIABLE, ModelAccess, accept

COMPILED = Runtime(device="cpu", compile=True)
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler on this machine"
)
# Of torch's own modules, when its compiler is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def _licence_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    accept("mast3r", ModelAccess())


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mast3rEngine:
    """The tiny network, compiled, through the same door as the real one."""
    from safetensors.torch import save_file

    monkeypatch.setattr(loading.assemble, "__defaults__", (TINY_HEAD_DIMS,))
    monkeypatch.setattr(loading.load_mast3r, "__defaults__", (TINY_HEAD_DIMS,))
    save_file(seeded_model().state_dict(), tmp_path / "tiny.safetensors")
    return load_engine(COMPILED, 64, tmp_path / "tiny.safetensors")


@pytest.mark.long
@needs_compiler
def test_compiled_tokens_equal_the_plain_ones(engine: Mast3rEngine) -> None:
    photo = random_photo(64, 48)
    (compiled,), (plain,) = engine.encode([photo]), seeded_engine().encode([photo])
    torch.testing.assert_close(compiled.tokens, plain.tokens, rtol=1e-4, atol=1e-5)
    assert engine.model.enc_blocks[0]._compiled_call_impl is not None


@needs_compiler
@pytest.mark.slow
def test_compiled_matches_equal_the_plain_ones_at_every_size(engine: Mast3rEngine) -> None:
    rules = MatchingRules(min_confidence=0.0, border_px=0)
    for size in ((64, 48), (48, 64), (64, 64)):
        query, anchor = random_photo(*size), random_photo(*size, 1)
        (compiled,) = Mast3rMatcher(engine, rules).match(query, [anchor])
        (plain,) = Mast3rMatcher(seeded_engine(), rules).match(query, [anchor])
        np.testing.assert_array_equal(compiled.query_px, plain.query_px)
        np.testing.assert_allclose(compiled.score, plain.score, rtol=1e-4)


@needs_compiler
@pytest.mark.slow
def test_compiled_depth_equals_the_plain_one(tmp_path: Path) -> None:
    name = "depth_anything_v2_outdoor_large"
    runtime = weights_world.runtime_with(tmp_path, name, weights_world.depth_anything)
    photo = random_photo(64, 48)
    camera = Camera.pinhole(64, 48, 60.0, 60.0, 31.5, 23.5)
    plain, compiled = (
        build_depth_anything(DepthAnythingOptions(replace(runtime, compile=compile_it), short_side_px=56))
        for compile_it in (False, True)
    )
    found, expected = (source.depth_of(photo, camera).z_m for source in (compiled, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_missing_compiler_is_reported_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    require_compiler(replace(COMPILED, compile=False))
    (tmp_path / "some.pth").write_bytes(b"never read")
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, but g\+\+ or clang\+\+ is not here; install one"):
        load_engine(COMPILED, 64, tmp_path / "some.pth")


def test_a_compiler_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object, **settings: object) -> object:
        raise RuntimeError("g++: internal error\nmore")

    monkeypatch.setattr(torch, "compile", lambda function: failing)
    with pytest.raises(ConfigError, match=r"cannot compile for cpu \(g\+\+: internal error\); .* compile = false"):
        require_working_compiler(torch.device("cpu"))
