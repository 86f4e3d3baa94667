"""MASt3R at full size with random weights: CPU-seconds and wall time per stage, plain against localisation mode.

    python benchmarks/mast3r.py [--anchors 8] [--repeats 3] [--precision float32] [--device cuda]
        [--compile] [--official CHECKOUT]

*Plain* is one ordered pair as a general-purpose implementation runs it: both images encoded, explicit softmax
attention, rotary tables built at every forward, all four heads, matching by blocks of 8192 × 8192 with maxima over both
axes. *Localisation* is what the matcher does: anchors' tokens cached, the query encoded once, k anchors decoded in one
batch, descriptor heads only, one-sided exact searches. All ratios compare CPU-seconds of one run on one machine.
`--official` adds the authors' code, from a checkout that you have made and whose licence (CC BY-NC-SA 4.0) you accept,
on the same weights. `--compile` repeats the localisation with torch.compile, its first call told apart. Errors of the
number formats: `benchmarks/precision.py`. On CUDA every stage ends with a synchronisation, wall time counts, and
peak memory is then that of the device.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from geocorrect.networks.mast3r import model as network
from geocorrect.networks.mast3r.model import DecodedView, Encoded, Mast3r
from geocorrect.networks.mast3r.reciprocal import (
    DescriptorPair,
    PixelMatches,
    coarse_admissible,
    most_similar,
    reciprocal_matches,
)
from geocorrect.networks.mast3r.sizes import PATCH_PX, Mast3rSizes

WIDTH, HEIGHT = 512, 384
SUBSAMPLE_PX = 8


@dataclass
class Stage:
    """Times of one stage over the repeats."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """Median and spread."""
        spread = max(self.cpu_s) - min(self.cpu_s)
        return {
            "cpu_s": round(statistics.median(self.cpu_s), 3),
            "cpu_spread_s": round(spread, 3),
            "wall_s": round(statistics.median(self.wall_s), 3),
        }


class Clock:
    """Measures named stages; peak memory of the process beside them."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.peak_memory_gb: dict[str, float] = {}

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work, note its times, give its result."""
        usage, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        result = work()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        now = resource.getrusage(resource.RUSAGE_SELF)
        stage = self.stages.setdefault(name, Stage())
        stage.cpu_s.append(now.ru_utime + now.ru_stime - usage.ru_utime - usage.ru_stime)
        stage.wall_s.append(time.perf_counter() - wall)
        print(f"{name}: {stage.cpu_s[-1]:.2f} CPU-s, {stage.wall_s[-1]:.2f} s", file=sys.stderr, flush=True)
        return result

    def note_memory(self, name: str) -> None:
        """Peak memory until now, of the device or else of the process, with weights; the first note of a name stays."""
        on_device = torch.cuda.is_initialized()
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        peak = torch.cuda.max_memory_allocated() / 1e9 if on_device else resident
        self.peak_memory_gb.setdefault(name, round(peak, 2))

    def median_cpu_s(self, *names: str) -> float:
        """Sum of the stages' medians."""
        return sum(statistics.median(self.stages[name].cpu_s) for name in names)


def random_model(precision: str, device: str) -> Mast3r:
    """Full size, seeded weights of a scale that keeps activations finite, without initialising twice."""
    with torch.device("meta"):
        model = Mast3r(Mast3rSizes())
    model = model.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif "norm" in name:
            parameter.fill_(1.0)
        else:
            fan_in = parameter[0].numel() if parameter.ndim > 1 else parameter.numel()
            parameter.normal_(0.0, 0.6 / fan_in**0.5, generator=generator)
    return model.use_dtype(getattr(torch, precision)).to(device)


def explicit_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention in three steps, as networks are written before they are optimised."""
    similarity = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
    return similarity.softmax(dim=-1) @ value


@contextmanager
def unoptimised() -> Iterator[None]:
    """The same network with explicit attention and rotary tables computed at every forward."""
    with (
        mock.patch.object(network.functional, "scaled_dot_product_attention", explicit_attention),
        mock.patch.object(network, "rotary_table", network.rotary_table.__wrapped__),
    ):
        yield


def measure_plain(model: Mast3r, clock: Clock, images: Tensor) -> None:
    with unoptimised():
        both = clock.measure("plain: encode 2 images", lambda: model.encode(images[:2]))
        first, second = (Encoded(both.tokens[i : i + 1], both.grid) for i in (0, 1))
        view1, view2 = clock.measure("plain: decode", lambda: model.decode(first, second))
        clock.measure(
            "plain: all heads",
            lambda: [
                head(view, number)
                for view, number in ((view1, 1), (view2, 2))
                for head in (model.descriptors, model.points)
            ],
        )


def measure_localisation(
    model: Mast3r, clock: Clock, images: Tensor, cached: Tensor, name: str = "localisation"
) -> None:
    """One query, k anchors whose tokens (k, N, D) are in the cache."""
    anchors = Encoded(cached, (HEIGHT // PATCH_PX, WIDTH // PATCH_PX))
    query = clock.measure(f"{name}: encode the query", lambda: model.encode(images[:1]))
    view1, view2 = clock.measure(f"{name}: decode k pairs", lambda: model.decode(query, anchors))
    clock.measure(f"{name}: descriptors of k pairs", lambda: _describe_pairs(model, view1, view2))
    if model.device.type == "cuda":  # where memory allows
        clock.measure(f"{name}: descriptors of k pairs at once", lambda: _describe_at_once(model, view1, view2))


def _describe_pairs(model: Mast3r, view1: DecodedView, view2: DecodedView) -> None:
    """Pair by pair, as the matcher does: a pair is matched before the next one's descriptors exist."""
    for position in range(len(view2.hooked[-1])):
        model.descriptors(view1.at(position), 1)
        model.descriptors(view2.at(position), 2)


def _describe_at_once(model: Mast3r, view1: DecodedView, view2: DecodedView) -> None:
    model.descriptors(view1, 1)
    model.descriptors(view2, 2)


def measure_compiled(model: Mast3r, clock: Clock, images: Tensor, cached: Tensor, repeats: int) -> None:
    """The same, compiled. The first calls compile, for one pair and for k, and are noted as stages of their own."""
    model.compile_blocks()
    measure_localisation(model, clock, images, cached, "compiling")
    for _ in range(repeats):
        measure_localisation(model, clock, images, cached, "compiled")


def synthetic_fields(device: str) -> tuple[Tensor, Tensor]:
    """Descriptor fields of two views that differ by a shift and noise."""
    generator = torch.Generator().manual_seed(11)
    a = torch.randn(HEIGHT, WIDTH, 24, generator=generator)
    b = a.roll((3, 5), (0, 1)) + 0.6 * torch.randn(HEIGHT, WIDTH, 24, generator=generator)
    return _unit(a).to(device), _unit(b).to(device)


def smooth_fields(device: str) -> tuple[Tensor, Tensor]:
    """The same with structure of 8 pixels, without which nothing coarse can be compared."""
    generator = torch.Generator().manual_seed(12)
    coarse = torch.randn(1, 24, HEIGHT // 8, WIDTH // 8, generator=generator)
    a = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic")[0].permute(1, 2, 0)
    a = _unit(a + 0.1 * torch.randn(HEIGHT, WIDTH, 24, generator=generator))
    b = _unit(a.roll((6, 10), (0, 1)) + 0.05 * torch.randn(HEIGHT, WIDTH, 24, generator=generator))
    return a.to(device), b.to(device)


def _unit(field: Tensor) -> Tensor:
    return torch.nn.functional.normalize(field, dim=-1)


def measure_restricted(clock: Clock, fields: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Matching with `coarse_patches`, beside the full search of the same fields: share of its matches by name."""
    full = match_set(
        clock.measure("smooth fields: match", lambda: reciprocal_matches(DescriptorPair(*fields), SUBSAMPLE_PX))
    )
    shares = {}
    for keep in (1, 3):
        found = clock.measure(f"smooth fields: match, coarse_patches = {keep}", partial(_restricted, fields, keep))
        shares[f"with the full search, coarse_patches = {keep}"] = len(match_set(found) & full) / len(full)
    return shares


def _restricted(fields: tuple[Tensor, Tensor], keep: int) -> PixelMatches:
    return reciprocal_matches(DescriptorPair(*fields, coarse_admissible(*fields, keep)), SUBSAMPLE_PX)


def both_axes_by_blocks(queries: Tensor, targets: Tensor, block: int = 8192) -> Tensor:
    """Nearest target by blocks of 8192 × 8192 with maxima over both axes, of which one is used (MODELS §1.12)."""
    best = torch.full((len(queries),), -torch.inf, device=queries.device)
    index = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for row in range(0, len(queries), block):
        for column in range(0, len(targets), block):
            similarity = queries[row : row + block] @ targets[column : column + block].T
            value, at = similarity.max(dim=1)
            similarity.max(dim=0)
            better = value > best[row : row + block]
            best[row : row + block][better] = value[better]
            index[row : row + block][better] = at[better] + column
    return index


def measure_matching(clock: Clock, fields: tuple[Tensor, Tensor]) -> PixelMatches:
    """Our way of matching."""
    found = clock.measure("localisation: match", lambda: reciprocal_matches(DescriptorPair(*fields), SUBSAMPLE_PX))
    assert isinstance(found, PixelMatches)
    return found


def measure_plain_matching(clock: Clock, fields: tuple[Tensor, Tensor], found: PixelMatches) -> float:
    """The plain way; the share of its matches that `found` has too."""
    with mock.patch("geocorrect.networks.mast3r.reciprocal.most_similar", both_axes_by_blocks):
        plain = clock.measure("plain: match", lambda: reciprocal_matches(DescriptorPair(*fields), SUBSAMPLE_PX))
    theirs = match_set(plain)
    return len(match_set(found) & theirs) / len(theirs)


def match_set(matches: PixelMatches) -> set[tuple[int, ...]]:
    """(x, y) of both pictures of every match."""
    return set(map(tuple, torch.cat([matches.a_xy, matches.b_xy], 1).tolist()))


def measure_official(
    checkout: Path, model: Mast3r, clock: Clock, images: Tensor, fields: tuple[Tensor, Tensor]
) -> set[tuple[int, ...]]:
    """The authors' network and matcher through their public interface, on our weights; their matches."""
    sys.path.insert(0, str(checkout))
    from mast3r.fast_nn import fast_reciprocal_NNs
    from mast3r.model import AsymmetricMASt3R

    infinity = float("inf")
    official = AsymmetricMASt3R(
        pos_embed="RoPE100",
        patch_embed_cls="PatchEmbedDust3R",
        img_size=(512, 512),
        head_type="catmlp+dpt",
        output_mode="pts3d+desc24",
        depth_mode=("exp", -infinity, infinity),
        conf_mode=("exp", 1, infinity),
        enc_embed_dim=1024,
        enc_depth=24,
        enc_num_heads=16,
        dec_embed_dim=768,
        dec_depth=12,
        dec_num_heads=12,
        two_confs=True,
        desc_conf_mode=("exp", 0, infinity),
        landscape_only=False,
    ).eval()
    official.load_state_dict(model.state_dict(), strict=False)
    shape = torch.tensor([[HEIGHT, WIDTH]])
    views = [{"img": images[i : i + 1], "true_shape": shape, "instance": [str(i)], "idx": i} for i in (0, 1)]
    clock.measure("official: forward", lambda: official(*views))
    a_xy, b_xy = clock.measure(
        "official: match",
        lambda: fast_reciprocal_NNs(
            *fields, subsample_or_initxy1=SUBSAMPLE_PX, device="cpu", dist="dot", block_size=2**13
        ),
    )
    return {(*a, *b) for a, b in zip(a_xy.tolist(), b_xy.tolist(), strict=True)}


def summary(clock: Clock, k: int, identical: dict[str, float]) -> dict[str, Any]:
    plain = clock.median_cpu_s("plain: encode 2 images", "plain: decode", "plain: all heads")
    shared = clock.median_cpu_s("localisation: encode the query")
    pairs = clock.median_cpu_s("localisation: decode k pairs", "localisation: descriptors of k pairs")
    ratios = {
        "forward_per_pair_vs_plain": (shared + pairs) / k / plain,
        "matching_vs_plain": clock.median_cpu_s("localisation: match") / clock.median_cpu_s("plain: match"),
    }
    if "compiled: decode k pairs" in clock.stages:
        stages = ("encode the query", "decode k pairs", "descriptors of k pairs")
        compiled = clock.median_cpu_s(*(f"compiled: {stage}" for stage in stages))
        ratios["compiled_forward_vs_localisation"] = compiled / (shared + pairs)
        ratios["compiled_forward_per_pair_vs_plain"] = compiled / k / plain
    if "official: forward" in clock.stages:
        ratios["forward_per_pair_vs_official"] = (shared + pairs) / k / clock.median_cpu_s("official: forward")
        ratios["matching_vs_official"] = clock.median_cpu_s("localisation: match") / clock.median_cpu_s(
            "official: match"
        )
    return {
        "anchors": k,
        "size": f"{WIDTH}x{HEIGHT}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "stages": {name: stage.row() for name, stage in clock.stages.items()},
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "identical_matches": {name: round(share, 5) for name, share in identical.items()},
        "peak_memory_gb": clock.peak_memory_gb,
    }


def print_table(result: dict[str, Any], repeats: int) -> None:
    print(f"MASt3R {result['size']}, k = {result['anchors']}, {result['threads']} threads, median of {repeats} runs")
    for name, row in result["stages"].items():
        print(f"  {name:40s} {row['cpu_s']:8.2f} CPU-s (spread {row['cpu_spread_s']:.2f})  {row['wall_s']:8.2f} s wall")
    for name, value in result["ratios"].items():
        print(f"  {name:40s} {value:8.3f}")
    print(f"  identical matches: {result['identical_matches']}, peak memory in GB: {result['peak_memory_gb']}")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anchors", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--official", type=Path, help="checkout of the authors' code")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="two anchors, once: says that it runs, not how fast")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.anchors, arguments.repeats = 2, 1
    if arguments.official and arguments.device != "cpu":
        parser.error("--official compares CPU-seconds; leave --device at cpu")
    clock, fields = Clock(), synthetic_fields(arguments.device)
    identical: dict[str, float] = {}
    model = random_model(arguments.precision, arguments.device)
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) * 2 - 1
    # Anchors' tokens come from the cache: their values do not matter here, only their number.
    cached = torch.randn(arguments.anchors, HEIGHT * WIDTH // PATCH_PX**2, Mast3rSizes().encoder_dim)
    cached = cached.to(model.device, model.dtype)
    most_similar(fields[0][0], fields[1][0])
    model.encode(images[:1, :, :64, :64])
    for _ in range(arguments.repeats):
        measure_localisation(model, clock, images, cached)
        found = measure_matching(clock, fields)
        identical |= measure_restricted(clock, smooth_fields(arguments.device))
        clock.note_memory("localisation")
        measure_plain(model, clock, images)
        identical["with the plain way"] = measure_plain_matching(clock, fields, found)
        clock.note_memory("with the plain way")
        if arguments.official:
            theirs = measure_official(arguments.official, model, clock, images, fields)
            identical["with the official code"] = len(match_set(found) & theirs) / len(theirs)
    if arguments.compile:
        measure_compiled(model, clock, images, cached, arguments.repeats)
        clock.note_memory("compiled")
    result = summary(clock, arguments.anchors, identical) | {
        "precision": arguments.precision,
        "device": arguments.device,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print_table(result, arguments.repeats)


if __name__ == "__main__":
    main()
