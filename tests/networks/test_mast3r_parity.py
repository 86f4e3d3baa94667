"""The numbers of the official code, tensor by tensor and match by match."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.mast3r_world import assert_equal_to, encode

from geocorrect.networks.mast3r.engine import network_image, place, trained_size
from geocorrect.networks.mast3r.matching import crop_pairs
from geocorrect.networks.mast3r.model import Descriptors, Encoded, Mast3r, rotary_table, rotate
from geocorrect.networks.mast3r.reciprocal import (
    DescriptorPair,
    PixelMatches,
    reciprocal_matches,
    smaller_confidence,
)

pytestmark = pytest.mark.data

CASES = {"A": ("L1", "L2"), "B": ("P1", "L2"), "C": ("P1", "P2"), "Aswap": ("L2", "L1")}


def _views(model: Mast3r, official: dict[str, np.ndarray], case: str) -> tuple[Encoded, Encoded]:
    first, second = (encode(model, official[f"img_{name}"]) for name in CASES[case])
    return first, second


@pytest.mark.parametrize("case", CASES)
def test_every_output_of_both_views(tiny: Mast3r, official: dict[str, np.ndarray], case: str) -> None:
    views = _views(tiny, official, case)
    for number, (encoded, decoded) in enumerate(zip(views, tiny.decode(*views), strict=True), start=1):
        assert_equal_to(encoded.tokens[0], official[f"{case}_enc{number}"])
        points, descriptors = tiny.points(decoded, number), tiny.descriptors(decoded, number)
        for name, found in (
            ("pts3d", points.xyz_m),
            ("conf", points.confidence),
            ("desc", descriptors.descriptor),
            ("desc_conf", descriptors.confidence),
        ):
            expected = official[f"{case}_{name}{number}"]
            step = found.shape[1] // expected.shape[0]  # some were stored at every second or fourth pixel
            assert_equal_to(found[0, ::step, ::step], expected)


def test_tokens_after_every_decoder_layer(tiny: Mast3r, official: dict[str, np.ndarray]) -> None:
    layers = list(tiny.decoder_layers(*_views(tiny, official, "A")))
    assert len(layers) == 4
    for number, tokens in enumerate(layers, start=1):
        for view in (1, 2):
            assert_equal_to(tokens[view - 1][0], official[f"A_dec{view}_{number}"])


def _described(model: Mast3r, official: dict[str, np.ndarray], case: str) -> tuple[Descriptors, Descriptors]:
    view1, view2 = model.decode(*_views(model, official, case))
    return model.descriptors(view1, 1), model.descriptors(view2, 2)


def _assert_same_list(found: PixelMatches, expected_a: np.ndarray, expected_b: np.ndarray) -> None:
    np.testing.assert_array_equal(found.a_xy.numpy(), expected_a)
    np.testing.assert_array_equal(found.b_xy.numpy(), expected_b)


@pytest.mark.parametrize("case", ["A", "B"])
@pytest.mark.parametrize("subsample_px", [8, 4, 2])
def test_match_lists_in_both_directions(
    tiny: Mast3r, official: dict[str, np.ndarray], case: str, subsample_px: int
) -> None:
    a, b = (one.descriptor[0] for one in _described(tiny, official, case))
    for direction, seen in (("fwd", DescriptorPair(a, b)), ("bwd", DescriptorPair(b, a))):
        name = f"{case}_match_S{subsample_px}_{direction}_xy"
        _assert_same_list(reciprocal_matches(seen, subsample_px), official[f"{name}1"], official[f"{name}2"])


def _returning(pair: DescriptorPair, seeds_xy: torch.Tensor, tolerance_px: float) -> PixelMatches:
    """Pixels of a from which a → b → a comes back closer than the tolerance, as the official code takes them."""
    (a_height, a_width), (_, b_width) = pair.a_size, pair.b_size
    seeds = (seeds_xy[:, 1] * a_width + seeds_xy[:, 0]).unique()
    at_b = pair.b_of_a(seeds)
    a_xy, b_xy, back_xy = (
        torch.stack([at % width, at // width], dim=1)
        for at, width in ((seeds, a_width), (at_b, b_width), (pair.a_of_b(at_b), a_width))
    )
    assert a_xy[:, 1].max() < a_height
    kept = (back_xy - a_xy).double().norm(dim=1) < tolerance_px
    return PixelMatches(a_xy[kept], b_xy[kept])


@pytest.mark.parametrize("case", ["A", "B"])
def test_given_points(tiny: Mast3r, official: dict[str, np.ndarray], case: str) -> None:
    seeds = np.stack([official[f"{case}_tol5_seed_{axis}"] for axis in "xy"], axis=1).astype(np.int64)
    pair = DescriptorPair(*(one.descriptor[0] for one in _described(tiny, official, case)))
    found = _returning(pair, torch.from_numpy(seeds), tolerance_px=5.0)
    _assert_same_list(found, official[f"{case}_tol5_xy1"], official[f"{case}_tol5_xy2"])


def test_matches_seeded_on_both_views(tiny: Mast3r, official: dict[str, np.ndarray]) -> None:
    first, second = _described(tiny, official, "A")
    a, b = first.descriptor[0], second.descriptor[0]
    forward, backward = (reciprocal_matches(DescriptorPair(*fields), 4) for fields in ((a, b), (b, a)))
    rows = torch.cat([torch.cat([forward.a_xy, forward.b_xy], 1), torch.cat([backward.b_xy, backward.a_xy], 1)])
    ax, ay, bx, by = torch.tensor(sorted({(ay, ax, by, bx) for ax, ay, bx, by in rows.tolist()}))[:, [1, 0, 3, 2]].T
    united = PixelMatches(torch.stack([ax, ay], 1), torch.stack([bx, by], 1))
    _assert_same_list(united, official["A_nonsym_S4_xy1"], official["A_nonsym_S4_xy2"])
    assert_equal_to(smaller_confidence(united, first.confidence[0], second.confidence[0]), official["A_nonsym_S4_conf"])


@pytest.fixture(scope="module")
def synthetic(operations: dict[str, np.ndarray]) -> DescriptorPair:
    """The seeded descriptor fields of the stored matcher cases."""
    random = np.random.RandomState(11)
    a = random.standard_normal((60, 80, 24))
    b = np.roll(a, (3, 5), axis=(0, 1)) + 0.6 * random.standard_normal(a.shape)
    fields = [(f / np.linalg.norm(f, axis=2, keepdims=True)).astype(np.float32) for f in (a, b)]
    np.testing.assert_allclose(fields[0][0, 0], operations["A_corner"], rtol=1e-6)
    np.testing.assert_allclose(fields[1][-1, -1], operations["B_corner"], rtol=1e-6)
    return DescriptorPair(*(torch.from_numpy(f) for f in fields))


@pytest.mark.parametrize("subsample_px", [8, 4, 3])
def test_reciprocal_matching_of_synthetic_fields(
    synthetic: DescriptorPair, operations: dict[str, np.ndarray], subsample_px: int
) -> None:
    name = f"S{subsample_px}_xy"
    _assert_same_list(reciprocal_matches(synthetic, subsample_px), operations[f"{name}1"], operations[f"{name}2"])


def test_given_points_of_synthetic_fields(synthetic: DescriptorPair, operations: dict[str, np.ndarray]) -> None:
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij")
    everything = torch.stack([columns.flatten(), rows.flatten()], dim=1)
    found = _returning(synthetic, everything, tolerance_px=5.0)
    _assert_same_list(found, operations["tol5_all_xy1"], operations["tol5_all_xy2"])


def test_rotary_positions(operations: dict[str, np.ndarray]) -> None:
    tokens, positions = torch.from_numpy(operations["rope_in"]), operations["rope_pos"][0]
    rows, columns = positions.max(axis=0) + 1
    table = rotary_table((int(rows), int(columns)), tokens.shape[-1], tokens.dtype, tokens.device)
    linear = torch.from_numpy(positions[:, 0] * columns + positions[:, 1])
    found = rotate(tokens, (table[0][linear], table[1][linear]))
    np.testing.assert_allclose(found.numpy(), operations["rope_out"], atol=2e-6)


@pytest.mark.parametrize("case", ["down", "up", "portrait", "square", "odd"])
def test_resized_and_cropped_pixels_are_exact(operations: dict[str, np.ndarray], case: str) -> None:
    found, placement = network_image(operations[f"pre_{case}_src"], long_side_px=64)
    np.testing.assert_array_equal(found, operations[f"pre_{case}_out"])
    assert placement.size == (found.shape[1], found.shape[0])


def test_size_table(operations: dict[str, np.ndarray]) -> None:
    for width, height, expected_width, expected_height in operations["pre_size_table_512"].tolist():
        assert place(width, height).size == (expected_width, expected_height)


def test_nearest_training_resolution(operations: dict[str, np.ndarray]) -> None:
    for height, width, expected_height, expected_width in operations["hw_table"].tolist():
        assert trained_size(width, height) == (expected_width, expected_height)


def test_crop_pairs_of_large_images(operations: dict[str, np.ndarray]) -> None:
    height1, width1, height2, width2 = operations["c2f_shapes"].tolist()
    crops = [(width, height) for height, width in operations["c2f_forced"].tolist()]
    found = crop_pairs(
        operations["c2f_p1"], operations["c2f_p2"], ((width1, height1), (width2, height2)), (crops[0], crops[1])
    )
    for side, expected in (("a", operations["c2f_crops1"]), ("b", operations["c2f_crops2"])):
        windows = [getattr(pair, side) for pair in found]
        corners = [(w.left, w.top, w.left + w.width, w.top + w.height) for w in windows]
        assert corners == [tuple(row) for row in expected.tolist()]
