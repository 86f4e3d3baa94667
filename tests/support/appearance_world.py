"""A street of anchors with pictures of their own, and a tiny network whose two views are alike.

With equal weights for both views, a photo that repeats an anchor's picture matches it pixel by pixel, whatever the
weights; so a run from the command line has a known answer without real weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file

from geocorrect.geometry.frame import Frame
from geocorrect.networks.mast3r.model import Mast3r
from geocorrect.networks.mast3r.sizes import Mast3rSizes
from geocorrect.networks.weights import ModelAccess, accept

WIDTH, HEIGHT, FOCAL_PX = 160, 128, 160.0
ORIGIN = Frame("street", 12.5, 41.9, 60.0)
SPACING_M = 4.0
SIZES = Mast3rSizes(
    encoder_dim=64,
    encoder_depth=2,
    encoder_heads=1,
    decoder_dim=64,
    decoder_depth=4,
    decoder_heads=1,
    dpt_layer_dims=(8, 12, 16, 24),
    dpt_feature_dim=16,
    dpt_last_dim=8,
    descriptor_hidden_dim=64,
)
CONFIGURATION = """
[match]
matcher = "mast3r"
[match.mast3r]
checkpoint = "alike.safetensors"
long_side_px = 160
[match.mast3r.rules]
min_confidence = 0.0
subsample_px = 4
[depth]
source = "files"
[depth.files]
folder = "depth"
common_log_sigma = 0.01
log_sigma = 0.02
[models]
device = "cpu"
[models.access]
folder = "weights"
[retrieve]
max_candidates = 2
"""


@dataclass(frozen=True)
class AppearanceWorld:
    """Where everything lies. anchors: the table; photos: the folder to import."""

    folder: Path
    anchors: Path
    photos: Path
    config: Path

    def configure(self, appearance: str) -> None:
        """Write the configuration with these settings of [retrieve.appearance]."""
        self.config.write_text(f"{CONFIGURATION}[retrieve.appearance]\n{appearance}\n")


def picture(seed: int) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8 with structure from blocks to pixels."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(random.normal(size=(HEIGHT // scale, WIDTH // scale, 3)), (WIDTH, HEIGHT)) for scale in (32, 8, 2)
    ]
    return np.clip(128 + 38 * np.sum(layers, axis=0), 0, 255).astype(np.uint8)


def east_m(number: int) -> float:
    """Where anchor `number` stands, in metres east of the origin."""
    return SPACING_M * number


def build(folder: Path, count: int = 12) -> AppearanceWorld:
    """Anchors that look north, their depth, the network, and an empty folder for photos."""
    for name in ("anchors", "depth", "photos"):
        (folder / name).mkdir(parents=True)
    rows = ["id,file,lon_deg,lat_deg,height_m,heading_deg,pitch_deg,roll_deg,width,height,fx,fy,cx,cy"]
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    for number in range(count):
        PillowImage.fromarray(picture(number)).save(folder / "anchors" / f"{number}.png")
        depth_m = 10.0 + 3.0 * np.sin(3 * x + number) * np.cos(2 * y)
        np.save(folder / "depth" / f"a{number}.npy", depth_m.astype(np.float32))
        lon, lat, height = ORIGIN.wgs84_from_enu(np.array([east_m(number), 0.0, 0.0]))
        camera = f"{WIDTH},{HEIGHT},{FOCAL_PX},{FOCAL_PX},{(WIDTH - 1) / 2},{(HEIGHT - 1) / 2}"
        rows.append(f"a{number},{number}.png,{lon:.9f},{lat:.9f},{height:.3f},0,0,0,{camera}")
    table = folder / "anchors" / "anchors.csv"
    table.write_text("\n".join(rows) + "\n")
    torch.manual_seed(4)
    network = Mast3r(SIZES)
    network.dec_blocks2.load_state_dict(network.dec_blocks.state_dict())
    network.downstream_head2.load_state_dict(network.downstream_head1.state_dict())
    save_file(network.state_dict(), folder / "alike.safetensors")
    accept("mast3r", ModelAccess(folder / "weights"))
    return AppearanceWorld(folder, table, folder / "photos", folder / "geocorrect.toml")


def take_photo(world: AppearanceWorld, name: str, number: int, reported_east_m: float | None) -> None:
    """A photo of what anchor `number` shows, a little brighter; reported somewhere on the street, or nowhere."""
    exif = PillowImage.Exif()
    exif[0x0110] = "One"
    exif.get_ifd(0x8769)[0xA405] = round(36 * FOCAL_PX / WIDTH)
    if reported_east_m is not None:
        lon, lat, _ = ORIGIN.wgs84_from_enu(np.array([reported_east_m, 0.0, 0.0]))
        gps = exif.get_ifd(0x8825)
        gps[1], gps[2], gps[3], gps[4] = "N", _sexagesimal(lat), "E", _sexagesimal(lon)
    brighter = np.clip(picture(number).astype(int) + 2, 0, 255).astype(np.uint8)
    PillowImage.fromarray(brighter).save(world.photos / name, quality=98, subsampling=0, exif=exif)


def _sexagesimal(angle_deg: float) -> tuple[float, float, float]:
    minutes = angle_deg % 1.0 * 60.0
    return float(int(angle_deg)), float(int(minutes)), minutes % 1.0 * 60.0
