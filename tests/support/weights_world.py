"""Small random models of the real classes, laid out and adopted like fetched weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geocorrect.networks import weights
from geocorrect.networks.cards import CARDS
from geocorrect.networks.runtime import Runtime
from geocorrect.networks.weights import ModelAccess, verify


def runtime_with(folder: Path, name: str, write: Callable[[Path], Any]) -> Runtime:
    """A runtime whose weights folder holds the model that `write` puts into its own folder, licence accepted."""
    (folder / name).mkdir(parents=True)
    write(folder / name)
    access = ModelAccess(folder)
    # These files are not the published ones, whose sha256 the card states.
    unpinned = replace(CARDS[name], files=tuple(replace(file, sha256=None) for file in CARDS[name].files))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "CARDS", {**CARDS, name: unpinned})
        verify(name, access, accept_licence=True)
    return Runtime(device="cpu", access=access)


def depth_anything(folder: Path, estimation: str = "metric", max_depth: int = 80) -> None:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(1)
    backbone = Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=24,
        neck_hidden_sizes=[4, 8, 12, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
        depth_estimation_type=estimation,
        max_depth=max_depth,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)


KITTI_BINS = {"n_bins": 8, "min_depth": 0.001, "max_depth": 80.0, "name": "kitti"}
NYU_BINS = {"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}


def zoedepth(folder: Path) -> None:
    from transformers import ZoeDepthForDepthEstimation

    ZoeDepthForDepthEstimation(_zoedepth_config([KITTI_BINS])).save_pretrained(folder)


def zoedepth_two_heads(folder: Path, chosen: str) -> None:
    """Both heads; the classifier names `chosen`, nyu (indoor) or kitti, for every photo."""
    from transformers import ZoeDepthForDepthEstimation

    heads = [NYU_BINS, KITTI_BINS]
    model = ZoeDepthForDepthEstimation(_zoedepth_config(heads))
    with torch.no_grad():
        bias = model.metric_head.mlp_classifier.linear2.bias
        bias.copy_(torch.tensor([100.0 * (head["name"] == chosen) for head in heads]))
    model.save_pretrained(folder)


def _zoedepth_config(bins: list[dict[str, Any]]) -> Any:
    from transformers import BeitConfig, ZoeDepthConfig

    torch.manual_seed(2)
    backbone = BeitConfig(
        image_size=384,
        num_hidden_layers=4,
        hidden_size=24,
        intermediate_size=48,
        num_attention_heads=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    return ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[4, 8, 12, 16],
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_relative_features=4,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 1, 1],
        bin_configurations=bins,
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,  # fixed by the classifier behind it
        patch_transformer_intermediate_size=32,
        patch_transformer_num_attention_heads=4,
    )


def depth_pro(folder: Path) -> None:
    from transformers import DepthProConfig, DepthProForDepthEstimation, Dinov2Config

    torch.manual_seed(3)
    # The network cuts its 1536-pixel input into 384-pixel patches; smaller patches make a smaller fixed input.
    vit = {"hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 4, "image_size": 16}
    config = DepthProConfig(
        patch_size=16,
        intermediate_hook_ids=[2, 1],
        intermediate_feature_dims=[8, 8],
        scaled_images_feature_dims=[8, 8, 8],
        fusion_hidden_size=8,
        merge_padding_value=1,
        use_fov_model=True,
        image_model_config=Dinov2Config(**vit),
        patch_model_config=Dinov2Config(**vit),
        fov_model_config=Dinov2Config(**vit),
    )
    DepthProForDepthEstimation(config).save_pretrained(folder)


def eloftr(folder: Path) -> None:
    from transformers import EfficientLoFTRConfig, EfficientLoFTRForKeypointMatching

    torch.manual_seed(4)
    config = EfficientLoFTRConfig(
        stage_num_blocks=[1, 1, 1],
        out_features=[32, 32, 128],
        stage_stride=[2, 2, 2],
        hidden_size=128,
        num_attention_layers=2,
        num_attention_heads=8,
        coarse_matching_threshold=0.0,
        initializer_range=0.02,
    )
    EfficientLoFTRForKeypointMatching(config).save_pretrained(folder)


def lightglue_superpoint(folder: Path) -> None:
    from transformers import LightGlueConfig, LightGlueForKeypointMatching, SuperPointConfig

    torch.manual_seed(5)
    detector = SuperPointConfig(
        encoder_hidden_sizes=[8, 8, 16, 16],
        decoder_hidden_size=16,
        keypoint_decoder_dim=65,
        descriptor_decoder_dim=16,
        max_keypoints=64,
        keypoint_threshold=0.0,
    )
    config = LightGlueConfig(
        keypoint_detector_config=detector,
        descriptor_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        filter_threshold=0.0,
    )
    LightGlueForKeypointMatching(config).save_pretrained(folder)


PUBLISHED_KEYS = Path(__file__).parents[1] / "match" / "published_keys.json"
"""Names and shapes of the tensors in the files that the authors published, as found in the files themselves."""


def published(file_name: str, network: Any, prefix: str = "") -> dict[str, Any]:
    """A state dict with the published names, filled from a random network of kornia where it has the tensor."""
    state, filled = network.state_dict(), {}
    for key, shape in json.loads(PUBLISHED_KEYS.read_text())[file_name].items():
        ours = re.sub(r"^(self_attn|cross_attn)\.(\d+)", r"transformers.\2.\1", prefix + key)
        tensor = state.get(ours, torch.zeros(shape))
        assert list(tensor.shape) == shape, key
        filled[key] = tensor
    return filled


def lightglue(features: Any = None) -> Any:
    from kornia.feature import LightGlue

    return LightGlue(features=features, weights=None, input_dim=128)


def lightglue_disk(folder: Path) -> None:
    """DISK and LightGlue at their real size, with random weights under the names of the authors' files."""
    from kornia.feature import DISK

    torch.manual_seed(6)
    torch.save({"extractor": published("disk.pth", DISK(desc_dim=128))}, folder / "disk.pth")
    torch.save(published("disk_lightglue.pth", lightglue()), folder / "disk_lightglue.pth")


def aliked_lightglue(folder: Path) -> None:
    """ALIKED and LightGlue, likewise."""
    from kornia.feature import ALIKED

    torch.manual_seed(7)
    torch.save(published("aliked-n16.pth", ALIKED("aliked-n16")), folder / "aliked-n16.pth")
    torch.save(published("aliked_lightglue.pth", lightglue()), folder / "aliked_lightglue.pth")


def xfeat(folder: Path) -> None:
    """XFeat, likewise."""
    from kornia.feature import XFeat

    torch.manual_seed(8)
    torch.save(published("xfeat.pt", XFeat(), "net."), folder / "xfeat.pt")
