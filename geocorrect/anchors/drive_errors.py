"""What the anchors of a drive err by alike: the clock of its cameras, and how each further camera is mounted.

A record that is late by τ stands where the camera was τ later: wrong by velocity × τ and turned by yaw rate × τ. A
camera whose mounting is wrong turns and shifts all its records alike in its own axes. What the neighbours see of an
anchor is off by its own part less those of the neighbours, so that both show where the motion changes and where one
camera sees what another does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from geocorrect.anchors.neighbour_view import NeighbourView
from geocorrect.records import Anchor

Float = NDArray[np.float64]

MIN_OF_CAMERA = 10
"""Anchors that a camera must have for a mounting of its own."""
MAX_STEP_S = 3.0
"""Between two anchors of a camera, for a velocity."""
PRIOR = {"clock": 0.5, "lever": 0.5, "rotation": np.radians(3.0)}
"""Standard deviation of each unknown before anything is seen: s, m, rad."""
FALSE_ALARM = 6e-5
"""Probability that an error is found where there is none: four sigmas, as no real drive is quite the model. KITTI raw
0002: a clock 6 ms off at 3.1 sigmas would widen all positions to 5 cm, where photos err by 1 cm."""
DEGREES = 4.0
"""Of Student's t, by which contradictions are weighed: what is not yet named must not count in full."""
ITERATIONS = 8
"""Of the weights."""


@dataclass(frozen=True, eq=False)
class DriveModel:
    """The unknowns of a drive, and what they do to its anchors."""

    effects: Mapping[str, Float]
    """By anchor (6, P): error of its record (m, rad, world side) per unit of each unknown."""
    record_sigma: Float = field(default_factory=lambda: np.zeros(6))
    """(6,) stated standard deviation of a record: m, rad."""
    cameras: tuple[str, ...] = ()
    """The first, which defines the rig, and those that have a mounting of their own; then P = 1 + 6 each further one:
    clock s, lever m, rotation rad in the axes of the camera."""

    @property
    def prior_sigma(self) -> Float:
        """(P,) of the unknowns."""
        mounting = [PRIOR["lever"]] * 3 + [PRIOR["rotation"]] * 3
        return np.array([PRIOR["clock"], *mounting * (len(self.cameras) - 1)])


@dataclass(frozen=True, eq=False)
class DriveErrors:
    """What was found of a drive."""

    noise: tuple[float, float]
    """Factors on the stated noise of position and rotation; nan where fewer than ten anchors tell."""
    upper: tuple[float, float]
    """What they may well be at most, which is what photos are localised with."""
    values: Float
    """(P,) the unknowns of its `DriveModel`, 0 where they are not distinct from nothing."""
    covariance: Float
    """(P, P) of the estimate."""

    @property
    def clock_s(self) -> tuple[float, float]:
        """Offset of the clock and its standard deviation: how much later than the picture the record is."""
        return float(self.values[0]), float(np.sqrt(self.covariance[0, 0]))

    def common(self, effect: Float) -> Float:
        """(6, 6) covariance of what an anchor with that (6, P) effect and those around it err by alike.

        Which of two cameras is mounted as it says cannot be told: half of the squared difference, along every axis.
        """
        shifts = self.values[1:].reshape(-1, 2, 3)
        mounting = np.zeros(2)
        if len(shifts):
            mounting = 0.5 * (shifts**2).sum(axis=2).mean(axis=0)
        clock_s, sigma_s = self.clock_s
        late = effect[:, 0] * np.hypot(clock_s, sigma_s if clock_s else 0.0)
        total: Float = np.diag(np.repeat(mounting, 3)) + np.outer(late, late)
        return total


def camera_of(anchor: Anchor) -> str:
    """Name of the camera that took an anchor: pictures of one folder with one lens are of one."""
    c = anchor.camera
    lens = (c.projection, c.width, c.height, c.focal_x_px, c.focal_y_px, c.principal_x_px, c.principal_y_px)
    return f"{anchor.path.parent} {(*lens, *c.distortion)}"


def drive_models(anchors: Iterable[Anchor], position_m: float, rotation_deg: float) -> dict[str, DriveModel]:
    """The model of every drive, by its name, with the stated noise of a record."""
    record_sigma = np.repeat([position_m, np.radians(rotation_deg)], 3)
    drives: dict[str, dict[str, list[Anchor]]] = defaultdict(lambda: defaultdict(list))
    for anchor in anchors:
        drives[f"{anchor.dataset}/{anchor.drive_id or ''}"][camera_of(anchor)].append(anchor)
    return {name: _model(cameras, record_sigma) for name, cameras in drives.items()}


def _model(by_camera: Mapping[str, Sequence[Anchor]], record_sigma: Float) -> DriveModel:
    cameras = [name for name, taken in sorted(by_camera.items()) if len(taken) >= MIN_OF_CAMERA]
    effects = {}
    for name, taken in by_camera.items():
        for anchor, rates in zip(taken, _rates(taken), strict=True):
            effect = np.zeros((6, 1 + 6 * max(len(cameras) - 1, 0)))
            effect[:, 0] = rates
            if name in cameras[1:]:
                at = 1 + 6 * (cameras.index(name) - 1)
                axes = anchor.world_from_cam.rotation.as_matrix()
                effect[:3, at : at + 3] = effect[3:, at + 3 : at + 6] = axes
            effects[anchor.id] = effect
    return DriveModel(effects, record_sigma, tuple(cameras) or tuple(by_camera)[:1])


def _rates(anchors: Sequence[Anchor]) -> Float:
    """(N, 6) velocity m/s and rotation rate rad/s of the anchors of one camera, world side; 0 where unknown.

    Unknown to all where several are of one moment: faces of a panorama, or times that are rounded.
    """
    rates = np.zeros((len(anchors), 6))
    timed = [(anchor.captured_at.timestamp(), row) for row, anchor in enumerate(anchors) if anchor.captured_at]
    timed.sort()
    if len({when for when, _ in timed}) < len(timed):
        return rates
    for k, (_, row) in enumerate(timed):
        around = [other for other in timed[max(k - 1, 0) : k + 2] if abs(other[0] - timed[k][0]) <= MAX_STEP_S]
        (start_s, first), (end_s, last) = around[0], around[-1]
        if end_s > start_s:
            step = anchors[last].world_from_cam.minus(anchors[first].world_from_cam)
            rates[row] = step / (end_s - start_s)
    return rates


def estimate(views: Mapping[str, NeighbourView], model: DriveModel, noise: tuple[float, float]) -> tuple[Float, Float]:
    """The unknowns of a drive (P,), 0 where they are not distinct from nothing, and their covariance (P, P).

    Robust weights; the covariance counts that the noise of a record is in its neighbours' views, too.

    Args:
        views: of its anchors.
        model: of the drive.
        noise: factors on the stated noise of position and rotation.
    """
    prior = model.prior_sigma
    none = np.zeros((6, len(prior)))
    effects, records = [none], {name: row for row, name in enumerate(views)}
    for name, view in views.items():
        around = sum((s @ model.effects.get(n, none) for n, s in view.by_neighbour.items()), none)
        effects.append(model.effects[name] - around)
        for n in view.by_neighbour:
            records.setdefault(n, len(records))
    effect = np.array(effects[1:]).reshape(-1, *none.shape)
    shift = np.array([view.shift for view in views.values()]).reshape(-1, 6)
    information = np.array([np.linalg.inv(view.covariance(noise)) for view in views.values()]).reshape(-1, 6, 6)
    gain = np.swapaxes(effect, 1, 2) @ information
    for _ in range(ITERATIONS):
        inverse = np.linalg.inv((gain @ effect).sum(axis=0) + np.diag(prior**-2))
        values = inverse @ np.einsum("npi,ni->p", gain, shift)
        left = shift - effect @ values
        weight = (DEGREES + 6) / (DEGREES + np.einsum("ni,nij,nj->n", left, information, left))
        gain = weight[:, None, None] * np.swapaxes(effect, 1, 2) @ information
    of_records = np.zeros((len(prior), len(records), 6))
    spread = np.diag(prior**-2)
    for g, (name, view) in zip(gain, views.items(), strict=True):
        of_records[:, records[name]] += g
        for n, s in view.by_neighbour.items():
            of_records[:, records[n]] -= g @ s
        spread += g @ view.measured @ g.T
    of_records *= np.repeat(noise, 3) * model.record_sigma
    spread += np.einsum("pni,qni->pq", of_records, of_records)
    covariance = inverse @ spread @ inverse
    return _distinct(values, covariance), covariance


def _distinct(values: Float, covariance: Float) -> Float:
    """The values, 0 for the parts (clock; lever and rotation of each camera) that may as well be nothing."""
    kept = np.zeros_like(values)
    for part in (slice(0, 1), *(slice(at, at + 3) for at in range(1, len(values), 3))):
        distance2 = float(values[part] @ np.linalg.solve(covariance[part, part], values[part]))
        if distance2 > chi2.ppf(1 - FALSE_ALARM, part.stop - part.start):
            kept[part] = values[part]
    return kept
