"""Error of MASt3R in float32, bfloat16 and float16 against float64, with random weights, on this machine.

    python benchmarks/precision.py [--size tiny|small|full] [--device cpu] [--pairs 3]

The network is the one of the product, weights converted once, point heads in float32. The reference runs the same code
in float64, heads included; the rotary angles, taken in float32, are the same for all. Random weights say what the
arithmetic does to the numbers; what it does to matches of real photos needs the real weights. *identical matches*
compares the reciprocal match lists, *within 2 px* counts those of the reference whose pixel of the first picture leads
to within two pixels of the same place in the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from geocorrect.networks.mast3r.model import DecodedView, Mast3r
from geocorrect.networks.mast3r.reciprocal import DescriptorPair, reciprocal_matches
from geocorrect.networks.mast3r.sizes import Mast3rSizes

SIZES = {
    "tiny": (
        Mast3rSizes(64, 2, 2, 48, 4, 3, (8, 12, 16, 24), 16, 8, descriptor_hidden_dim=14),
        (96, 128),
    ),
    "small": (
        Mast3rSizes(256, 12, 4, 192, 12, 3, (24, 48, 96, 192), 64, 32, descriptor_hidden_dim=1792),
        (192, 256),
    ),
    "full": (Mast3rSizes(), (384, 512)),
}
"""Sizes of the network, and (height, width) of the images."""
PRECISIONS = ("float32", "bfloat16", "float16")
SEED_PX = 8


@dataclass(frozen=True, eq=False)
class Outputs:
    """What one pair gives: all in float64 on the CPU."""

    tokens: Tensor
    decoded: Tensor
    descriptors: tuple[Tensor, Tensor]
    log_confidence: Tensor
    xyz_m: Tensor


def random_weights(sizes: Mast3rSizes) -> Mast3r:
    """Seeded weights of a scale that keeps activations finite; float32."""
    with torch.device("meta"):
        model = Mast3r(sizes)
    model = model.to_empty(device="cpu").eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.fill_(1.0)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.05, generator=generator)
        else:
            fan_in = parameter[0].numel() if parameter.ndim > 1 else parameter.numel()
            parameter.normal_(0.0, 0.6 / fan_in**0.5, generator=generator)
    return model


def random_pictures(size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Two pictures (1, 3, H, W) in [−1, 1] with structure at several scales, the second shifted and noisier."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        torch.nn.functional.interpolate(
            torch.randn(1, 3, size[0] // scale, size[1] // scale, generator=generator), size, mode="bicubic"
        )
        for scale in (32, 8, 2)
    ]
    first = 0.35 * torch.stack(layers).sum(dim=0)
    second = first.roll((3, 5), (2, 3)) + 0.1 * torch.randn(first.shape, generator=generator)
    return first.clamp(-1, 1), second.clamp(-1, 1)


@contextmanager
def heads_in_float64() -> Iterator[None]:
    """The product casts heads and activations to float32; the reference must not."""
    with mock.patch.object(Tensor, "float", Tensor.double):
        yield


def run(model: Mast3r, pictures: tuple[Tensor, Tensor]) -> Outputs:
    """One pair through all parts."""
    first, second = (model.encode(picture) for picture in pictures)
    view1, view2 = model.decode(first, second)
    described = model.descriptors(view1, 1), model.descriptors(view2, 2)
    points = model.points(DecodedView(view1.encoded, view1.hooked), 1)
    return Outputs(
        first.tokens.double().cpu(),
        view1.hooked[-1].double().cpu(),
        (described[0].descriptor[0].double().cpu(), described[1].descriptor[0].double().cpu()),
        described[0].confidence[0].double().log().cpu(),
        points.xyz_m[0].double().cpu(),
    )


def errors(found: Outputs, reference: Outputs) -> dict[str, float]:
    """How far one precision is off."""
    chord = (found.descriptors[0] - reference.descriptors[0]).norm(dim=-1)
    depth = (found.xyz_m[..., 2] - reference.xyz_m[..., 2]).abs() / reference.xyz_m.norm(dim=-1)
    ours, theirs = (
        reciprocal_matches(DescriptorPair(*(part.float() for part in one.descriptors)), SEED_PX)
        for one in (found, reference)
    )
    lists = [set(map(tuple, torch.cat([m.a_xy, m.b_xy], 1).tolist())) for m in (ours, theirs)]
    return {
        "tokens, relative norm": float((found.tokens - reference.tokens).norm() / reference.tokens.norm()),
        "decoder, relative norm": float((found.decoded - reference.decoded).norm() / reference.decoded.norm()),
        "descriptor, degrees (median)": float((2.0 * (chord / 2.0).asin()).rad2deg().median()),
        "log confidence, median": float((found.log_confidence - reference.log_confidence).abs().median()),
        "depth over distance, median": float(depth.median()),
        "identical matches": len(lists[0] & lists[1]) / max(len(lists[1]), 1),
        "within 2 px": _found_again(found, theirs.a_xy, theirs.b_xy),
    }


def _found_again(found: Outputs, a_xy: Tensor, b_xy: Tensor) -> float:
    """Share of the reference's matches whose pixel of a leads to within two pixels of the same place in b."""
    pair = DescriptorPair(*(part.float() for part in found.descriptors))
    linear = pair.b_of_a(a_xy[:, 1] * pair.a_size[1] + a_xy[:, 0])
    again_xy = torch.stack([linear % pair.b_size[1], linear // pair.b_size[1]], dim=1)
    offset = (again_xy - b_xy).double().norm(dim=1)
    return float((offset <= 2.0).double().mean())


@torch.inference_mode()
def measure(size: str, device: str, pairs: int) -> dict[str, dict[str, list[float]]]:
    """Errors of every precision, a value per pair."""
    sizes, shape = SIZES[size]
    model = random_weights(sizes)
    state = {key: value.clone() for key, value in model.state_dict().items()} if size != "full" else model.state_dict()
    pictures = [random_pictures(shape, seed) for seed in range(pairs)]
    reference_model = Mast3r(sizes).eval().requires_grad_(False)
    reference_model.load_state_dict(state)
    with heads_in_float64():
        reference_model.double()
        references = [run(reference_model, pair) for pair in pictures]
    del reference_model
    table: dict[str, dict[str, list[float]]] = {}
    for precision in PRECISIONS:
        model = Mast3r(sizes).eval().requires_grad_(False)
        model.load_state_dict(state)
        model = model.use_dtype(getattr(torch, precision)).to(device)
        rows = [errors(run(model, pair), wanted) for pair, wanted in zip(pictures, references, strict=True)]
        table[precision] = {name: [row[name] for row in rows] for name in rows[0]}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="the small network on one pair; figures mean little")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(size="small", pairs=1)
    table: dict[str, Any] = measure(arguments.size, arguments.device, arguments.pairs)
    if arguments.json:
        print(json.dumps(table, indent=2))
        return
    print(
        f"{arguments.size}, {arguments.device}, torch {torch.__version__}: median (min–max) of {arguments.pairs} pairs"
    )
    for precision, columns in table.items():
        for name, values in columns.items():
            print(f"  {precision:9s} {name:30s} {statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})")


if __name__ == "__main__":
    main()
