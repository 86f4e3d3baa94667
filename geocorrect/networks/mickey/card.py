"""MicKey's card: what the weights are, where they come from, what they may be used for."""

from __future__ import annotations

from geocorrect.networks.cards import Licence, ModelCard, RemoteFile, Task

MICKEY_LICENCE = Licence(
    "Niantic MicKey, non-commercial use only; method patent pending; no use by or for commercial entities (backbone "
    "DINOv2: Apache-2.0)",
    "https://github.com/nianticlabs/mickey/blob/main/LICENSE",
    commercial=False,
    short="Niantic, non-commercial",
)

MICKEY = ModelCard(
    name="mickey",
    title="MicKey on DINOv2 ViT-L/14 (Map-free, curriculum)",
    task=Task.MATCHING,
    hub_id=None,
    files=(
        RemoteFile(
            "mickey_weights.zip",
            "https://storage.googleapis.com/niantic-lon-static/research/mickey/assets/mickey_weights.zip",
        ),
        RemoteFile(
            "dinov2_vitl14_pretrain.pth",
            "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        ),
    ),
    size_mb=1600,
    memory_mb=2200,
    licence=MICKEY_LICENCE,
    code="geocorrect (Apache-2.0)",
    alternative="eloftr",
    depth_alternative="depth_anything_v2_outdoor_small",
    valid_range_m=(0.3, 60.0),
    relative_depth_sigma=0.3,
)
