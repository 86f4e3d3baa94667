"""What the results of many photos say together about the lens of every kind of device."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocorrect.catalog.run import ResultFilter
from geocorrect.catalog.store import Catalog
from geocorrect.errors import Status
from geocorrect.localize.joint.device_lens import LEAST_FOCAL_SIGMA, Agreed, DeviceLens, agreed
from geocorrect.localize.joint.lens import LENS_SIGMAS
from geocorrect.localize.options import JointOptions
from geocorrect.records import Image

Float = NDArray[np.float64]

MIN_PHOTOS = 5
"""With fewer, nothing is said of their device."""
NOTABLE_SIGMAS = 3.0
"""A principal point or bend nearer to the stated one is not changed: it would carry noise to all photos."""
VALUES = ("focal_px", "principal_x_px", "principal_y_px", "bend")
CHUNK = 1000


@dataclass(frozen=True)
class DeviceFinding:
    """The lens of a kind of device, as its photos found it."""

    make: str
    model: str
    width: int
    height: int
    n_photos: int
    log_focal: Agreed
    """Logarithm of the focal length in pixels."""
    principal_x_px: Agreed
    principal_y_px: Agreed
    """Less the stated principal point."""
    bend: Agreed
    """Distortion beyond the stated one."""
    principal_px: tuple[float, float]
    """Median of what the photos state."""
    focal_px: float
    """The same of the focal length."""
    stated_sigmas: float
    """How far it is from the found one, in standard deviations of both."""

    def lens(self, configured: Sequence[DeviceLens] = ()) -> DeviceLens:
        """To be stated in the configuration; configured: what was when the photos were localised."""
        before = [one for one in configured if one.key == (self.make, self.model, self.width, self.height)]
        x, y = (
            found.value if abs(found.value) > NOTABLE_SIGMAS * found.sigma else 0.0
            for found in (self.principal_x_px, self.principal_y_px)
        )
        bend = self.bend.value if abs(self.bend.value) > NOTABLE_SIGMAS * self.bend.sigma else 0.0
        return DeviceLens(
            self.make,
            self.model,
            self.width,
            self.height,
            round(float(np.exp(self.log_focal.value)) / max(self.width, self.height), 5),
            round(max(self.log_focal.sigma, LEAST_FOCAL_SIGMA), 4),
            (round(self.principal_px[0] + x, 2), round(self.principal_px[1] + y, 2)) if x or y else None,
            round(sum(one.bend for one in before) + bend, 5),
            before[0].readout_s if before else None,
        )

    def as_row(self) -> dict[str, Any]:
        """Plain values for a table or --json."""
        row = asdict(self) | {
            "found_focal_px": float(np.exp(self.log_focal.value)),
            "focal_sigma": self.log_focal.sigma,
        }
        del row["log_focal"]
        return row


def device_findings(catalog: Catalog) -> list[DeviceFinding]:
    """Of every kind of device (make, model, size) with enough accepted photos, most photos first."""
    photos: dict[tuple[str, str, int, int], list[list[float]]] = defaultdict(list)
    for image, lens in _lenses(catalog):
        assert image.camera is not None
        c = image.camera
        sigma = c.focal_sigma if np.isfinite(c.focal_sigma) else JointOptions().focal_sigma
        stated = [c.focal_x_px, c.principal_x_px, c.principal_y_px, sigma]
        found = [lens[name] for name in (*VALUES, *LENS_SIGMAS)]
        photos[image.device_make or "", image.device_model or "", c.width, c.height].append(stated + found)
    found_of = [_finding(key, np.array(rows)) for key, rows in photos.items() if len(rows) >= MIN_PHOTOS]
    return sorted(found_of, key=lambda finding: -finding.n_photos)


def _lenses(catalog: Catalog) -> Iterator[tuple[Image, Mapping[str, float]]]:
    """Accepted photos with what their matches say of the lens."""
    results = catalog.results(ResultFilter(status=(Status.ACCEPTED,)))
    while chunk := list(islice(results, CHUNK)):
        images = catalog.images([stored.image_id for stored in chunk])
        for stored in chunk:
            image, lens = images[stored.image_id], stored.result.evidence.lens
            if lens and image.camera is not None:
                yield image, lens


def _finding(key: tuple[str, str, int, int], rows: Float) -> DeviceFinding:
    # Photos of one device state different focal lengths where a reconstruction estimated them: what is found is not
    # compared with each photo's own.
    stated, sigma, sigmas = rows[:, :3], rows[:, 3], rows[:, 8:]
    x_px, y_px = (agreed(rows[:, 4 + k] - stated[:, k], sigmas[:, k]) for k in (1, 2))
    focal = agreed(np.log(rows[:, 4]), sigmas[:, 0])
    apart = np.abs(np.log(stated[:, 0]) - focal.value) / np.hypot(sigma, focal.sigma)
    usual_px = np.median(stated, axis=0)
    return DeviceFinding(
        *key, len(rows), focal, x_px, y_px, agreed(rows[:, 7], sigmas[:, 3]),
        (float(usual_px[1]), float(usual_px[2])), float(usual_px[0]), float(np.median(apart)),
    )  # fmt: skip


def device_lines(findings: Sequence[DeviceFinding]) -> list[str]:
    """A line per device, for people."""
    if not findings:
        return [f"no kind of device has {MIN_PHOTOS} accepted photos whose lens was looked at"]
    return [_line(finding) for finding in findings]


def _line(found: DeviceFinding) -> str:
    name = f"{found.make} {found.model}".strip() or "unknown device"
    focal, x, y, bend = found.log_focal, found.principal_x_px, found.principal_y_px, found.bend
    verdict = "contradicts" if found.stated_sigmas > NOTABLE_SIGMAS else "agrees with"
    parts = (
        f"{name}, {found.width}×{found.height}, {found.n_photos} photos: focal length {np.exp(focal.value):.1f} px "
        f"± {100 * focal.sigma:.2f} %, {verdict} {found.focal_px:.1f} px as stated ({found.stated_sigmas:.1f} sigmas)",
        f"photos differ by {focal.spread:.1f} times what they state",
        f"principal point {x.value:+.1f}, {y.value:+.1f} px ± {x.sigma:.1f}, {y.sigma:.1f}",
        f"bend {bend.value:+.4f} ± {bend.sigma:.4f}",
    )
    return "; ".join(parts)


def lens_toml(lens: DeviceLens) -> str:
    """The lines that state a lens in the configuration."""
    values = {name: value for name, value in asdict(lens).items() if value is not None}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["[[camera.lenses]]", *lines, ""])
