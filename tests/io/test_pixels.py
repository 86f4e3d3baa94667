"""Files become pixels: orientation undone once, damaged files named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from geocorrect.errors import InputError
from geocorrect.io.pixels import read_image


@pytest.fixture
def raw() -> np.ndarray:
    """Raw sensor pixels (4×6) whose corners are all different."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:], pixels[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return pixels


@pytest.mark.parametrize(("orientation", "clockwise_turns"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_upright_pixels_come_back_as_the_sensor_saw_them(
    tmp_path: Path, raw: np.ndarray, orientation: int, clockwise_turns: int
) -> None:
    """EXIF 6 means: turn the sensor's picture 90° clockwise to see it upright; the provider has done that."""
    upright = np.rot90(raw, -clockwise_turns)
    path = tmp_path / "photo.png"
    PillowImage.fromarray(np.ascontiguousarray(upright)).save(path)
    assert np.array_equal(read_image(path, orientation), raw)


def test_the_files_own_orientation_tag_is_ignored(tmp_path: Path, raw: np.ndarray) -> None:
    path = tmp_path / "photo.jpg"
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.fromarray(raw).save(path, exif=exif, quality=95)
    assert read_image(path).shape == raw.shape


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_damaged_files_are_named(tmp_path: Path, raw: np.ndarray, suffix: str) -> None:
    whole = cv2.imencode(suffix, np.repeat(np.repeat(raw, 8, 0), 8, 1))[1].tobytes()
    for name, content in {"empty": b"", "half": whole[: len(whole) // 2], "text": b"<html>gone</html>"}.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}{suffix}"):
            read_image(path)


def test_missing_file_and_mirrored_orientation_are_refused(tmp_path: Path, raw: np.ndarray) -> None:
    with pytest.raises(InputError, match="no such"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(InputError, match="mirrored"):
        read_image(tmp_path / "absent.jpg", exif_orientation=5)
