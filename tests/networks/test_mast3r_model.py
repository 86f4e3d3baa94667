"""The short cuts give the numbers of the long way; full size has the official shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.mast3r_world import encode, random_photo, seeded_engine

from geocorrect.networks.mast3r.engine import Mast3rEngine, to_tensor
from geocorrect.networks.mast3r.model import Encoded, Mast3r
from geocorrect.networks.mast3r.sizes import Mast3rSizes
from geocorrect.networks.store import TensorStore


def _images(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    return [random_photo(width, height, seed) for seed in range(count)]


def test_one_query_decoded_with_a_batch_equals_pair_by_pair(seeded: Mast3r) -> None:
    query, *anchors = _images(4)
    encoded = encode(seeded, query)
    together = seeded.encode(to_tensor(anchors))
    view1, view2 = seeded.decode(encoded, together)
    batch = seeded.descriptors(view1, 1), seeded.descriptors(view2, 2)
    for index, anchor in enumerate(anchors):
        alone1, alone2 = seeded.decode(encoded, encode(seeded, anchor))
        for number, view in ((1, alone1), (2, alone2)):
            alone = seeded.descriptors(view, number)
            torch.testing.assert_close(batch[number - 1].descriptor[index], alone.descriptor[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(batch[number - 1].confidence[index], alone.confidence[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            seeded.points(view1, 1).xyz_m[index], seeded.points(alone1, 1).xyz_m[0], rtol=1e-4, atol=1e-5
        )


def test_the_views_are_not_interchangeable(seeded: Mast3r) -> None:
    first, second = (encode(seeded, image) for image in _images(2))
    straight, swapped = seeded.decode(first, second)[0], seeded.decode(second, first)[1]
    assert not torch.allclose(seeded.descriptors(straight, 1).descriptor, seeded.descriptors(swapped, 2).descriptor)


def test_descriptors_are_unit_vectors_and_confidences_positive(seeded: Mast3r) -> None:
    view1, _ = seeded.decode(*(encode(seeded, image) for image in _images(2)))
    found = seeded.descriptors(view1, 1)
    torch.testing.assert_close(torch.linalg.vector_norm(found.descriptor, dim=-1), torch.ones(1, 48, 64))
    assert (found.confidence > 0).all()
    assert (seeded.points(view1, 1).confidence > 1).all()


def test_cached_tokens_give_the_same_descriptors(engine: Mast3rEngine) -> None:
    photos = [random_photo(100, 75, 1), random_photo(80, 60, 2), random_photo(60, 80, 3)]
    fresh = engine.encode(photos)
    again = engine.encode(photos[::-1])[::-1]
    for one, other, photo in zip(fresh, again, photos, strict=True):
        assert one.tokens is other.tokens
        alone = seeded_engine().encode([photo])[0]
        torch.testing.assert_close(one.tokens, alone.tokens, rtol=1e-4, atol=1e-5)


def test_encoder_runs_once_per_photo(engine: Mast3rEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode_batch = engine.model.encode

    def counting(images: torch.Tensor) -> Encoded:
        seen.append(len(images))
        return encode_batch(images)

    monkeypatch.setattr(engine.model, "encode", counting)
    query, *anchors = _images(4)
    engine.encode([query, *anchors, query])
    engine.encode([query, *anchors])
    assert seen == [4]


def test_tokens_survive_the_process_on_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    photo = random_photo(64, 48)
    written = seeded_engine(TensorStore(folder)).encode([photo])[0]
    engine = seeded_engine(TensorStore(folder))
    engine.model.encode = None  # type: ignore[assignment,method-assign]  # must not be needed
    read = engine.encode([photo])[0]
    assert torch.equal(written.tokens, read.tokens)


def test_decoding_mixed_sizes_keeps_the_order(engine: Mast3rEngine) -> None:
    query, *anchors = engine.encode(
        [random_photo(64, 48), random_photo(48, 64, 1), random_photo(64, 48, 2), random_photo(48, 64, 3)]
    )
    seen = {}
    for decoded in engine.decode([(query, anchor) for anchor in anchors], batch_size=2):
        for position, index in enumerate(decoded.indices):
            seen[index] = decoded.view2.hooked[-1][position]
    for index, anchor in enumerate(anchors):
        alone = engine.model.decode(query.encoded(), anchor.encoded())[1].hooked[-1][0]
        torch.testing.assert_close(seen[index], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(seeded: Mast3r, dtype: torch.dtype) -> None:
    images = _images(2)
    exact = [encode(seeded, image) for image in images]
    low = Mast3r(seeded.sizes)
    low.load_state_dict(seeded.state_dict())
    low = low.eval().requires_grad_(False).use_dtype(dtype)
    rough = [encode(low, image) for image in images]
    assert rough[0].tokens.dtype is dtype
    error = torch.linalg.vector_norm(rough[0].tokens.float() - exact[0].tokens)
    assert error < 0.03 * torch.linalg.vector_norm(exact[0].tokens)
    found = low.descriptors(low.decode(*rough)[0], 1)
    assert found.descriptor.dtype is torch.float32
    similarity = (found.descriptor * seeded.descriptors(seeded.decode(*exact)[0], 1).descriptor).sum(-1)
    assert similarity.median() > 0.99
    points = low.points(low.decode(*rough)[0], 1)
    assert points.xyz_m.dtype is torch.float32


def test_image_sides_must_be_multiples_of_the_patch(seeded: Mast3r) -> None:
    with pytest.raises(ValueError, match="50×48 is not a multiple of 16"):
        seeded.encode(torch.zeros(1, 3, 48, 50))


def test_full_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = Mast3r(Mast3rSizes())
    assert sum(parameter.numel() for parameter in model.parameters()) == 688_638_856
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert len(shapes) == 1009
    for key, shape in {
        "patch_embed.proj.weight": (1024, 3, 16, 16),
        "mask_token": (1, 1, 768),
        "enc_blocks.23.attn.qkv.weight": (3072, 1024),
        "enc_blocks.0.mlp.fc1.weight": (4096, 1024),
        "decoder_embed.weight": (768, 1024),
        "dec_blocks.11.cross_attn.projk.bias": (768,),
        "dec_blocks2.11.norm_y.weight": (768,),
        "downstream_head1.head_local_features.fc1.weight": (7168, 1792),
        "downstream_head2.head_local_features.fc2.weight": (6400, 7168),
        "downstream_head1.dpt.act_postprocess.0.1.weight": (96, 96, 4, 4),
        "downstream_head1.dpt.act_postprocess.3.1.weight": (768, 768, 3, 3),
        "downstream_head2.dpt.scratch.layer4_rn.weight": (256, 768, 3, 3),
        "downstream_head2.dpt.scratch.refinenet4.resConfUnit1.conv2.bias": (256,),
        "downstream_head1.dpt.head.4.weight": (4, 128, 1, 1),
    }.items():
        assert shapes[key] == shape
    parts = {"dec_blocks.": 113.44, "downstream_head1.dpt": 20.20, "downstream_head2.head_local_features": 58.73}
    for prefix, millions in parts.items():
        numbers = sum(p.numel() for key, p in model.named_parameters() if key.startswith(prefix))
        assert numbers / 1e6 == pytest.approx(millions, abs=0.01)


def test_hooks_follow_the_depth() -> None:
    assert Mast3rSizes().hooks == (0, 6, 9, 12)
    assert replace(Mast3rSizes(), decoder_depth=4).hooks == (0, 2, 3, 4)


def test_the_same_pair_may_be_asked_for_twice(engine: Mast3rEngine) -> None:
    """One picture may be an anchor twice, in two drives; its tokens are then one tensor."""
    query, anchor = engine.encode([random_photo(64, 48), random_photo(64, 48, 1)])
    (alone,) = engine.decode([(query, anchor)])
    (twice,) = engine.decode([(query, anchor), (query, anchor)])
    assert twice.indices == [0, 1]
    for position in (0, 1):
        for view, expected in ((twice.view1, alone.view1), (twice.view2, alone.view2)):
            found = engine.model.descriptors(view.at(position), 1).descriptor
            torch.testing.assert_close(found, engine.model.descriptors(expected, 1).descriptor)
