"""The errors of the simulator: pixel noise that is not white, depth whose error is smooth and shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

WAVES = 48


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A random smooth function of unit variance: a sum of random waves (Rahimi and Recht 2007)."""

    frequencies: Float
    """(D, WAVES)."""
    phases: Float
    """(C, WAVES) for C independent channels."""

    @classmethod
    def draw(cls, rng: np.random.Generator, dimensions: int, length: float, channels: int) -> SmoothField:
        """Correlation exp(−d²/2·length²) in expectation; length in the unit of the argument."""
        return cls(rng.normal(0.0, 1.0 / length, (dimensions, WAVES)), rng.uniform(0, 2 * np.pi, (channels, WAVES)))

    def __call__(self, positions: Float) -> Float:
        """(N, C) values at positions (N, D)."""
        angle = positions @ self.frequencies
        waves = np.cos(angle[:, None, :] + self.phases[None])
        value: Float = waves.sum(axis=2) * np.sqrt(2.0 / WAVES)
        return value


@dataclass(frozen=True)
class MatchNoise:
    """Pixel noise of a learned matcher on 512 px images."""

    white_px: float = 0.8
    coarse_px: float = 2.0
    coarse_share: float = 0.15
    anchor_field_px: float = 0.6
    anchor_field_per_m_px: float = 0.08
    query_field_px: float = 0.6
    principal_point_px: float = 1.5
    field_length_px: float = 60.0
    outlier_share: tuple[float, float] = (0.10, 0.30)

    def white(self, rng: np.random.Generator, n: int) -> Float:
        """(n, 2) px: fine noise for most matches, coarse for some."""
        sigma = np.where(rng.random(n) < self.coarse_share, self.coarse_px, self.white_px)
        noise: Float = rng.normal(0.0, 1.0, (n, 2)) * sigma[:, None]
        return noise


@dataclass(frozen=True)
class DepthNoise:
    """Log-depth error of a network: b + a·log(d/12) + smooth(shared in the world, own in the image) + white."""

    scale_sigma: float = 0.2
    """m, the standard deviation of b: 0.1 excellent, 0.2 good, 0.4 bad."""
    shared: float = 0.7
    """Part of the variance of all but the white noise that neighbouring anchors have in common."""
    white_share: float = 0.12
    smooth_share: float = 0.4
    slope_share: float = 0.4
    """Standard deviations of white noise, smooth error and a, in units of m."""
    world_length_m: float = 6.0
    image_length_px: float = 80.0
    """Correlation lengths of the smooth error, shared and own."""


@dataclass(frozen=True, eq=False)
class AnchorDepthError:
    """The error that one anchor's predicted depth makes, as a function of the point and its pixel."""

    noise: DepthNoise
    offset: float
    slope: float
    world_field: SmoothField
    image_field: SmoothField

    def predict(self, rng: np.random.Generator, z_m: Float, points_m: Float, px: Float) -> Float:
        """(N,) predicted z-depth in metres for true depth z_m of world points seen at px."""
        n, m = self.noise, self.noise.scale_sigma
        shared, own = self.world_field(points_m)[:, 0], self.image_field(px)[:, 0]
        smooth = n.smooth_share * m * (np.sqrt(n.shared) * shared + np.sqrt(1 - n.shared) * own)
        white = n.white_share * m * rng.normal(0.0, 1.0, len(z_m))
        predicted: Float = z_m * np.exp(self.offset + self.slope * np.log(z_m / 12.0) + smooth + white)
        return predicted


def draw_depth_errors(rng: np.random.Generator, noise: DepthNoise, count: int) -> list[AnchorDepthError]:
    """Errors of `count` anchors of one scene; offsets and slopes share the part `shared` of their variance too."""
    world_field = SmoothField.draw(rng, 3, noise.world_length_m, 1)
    m, rho = noise.scale_sigma, noise.shared
    common = rng.normal(0.0, 1.0, 2)
    errors = []
    for _ in range(count):
        own = np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.normal(0.0, 1.0, 2)
        image_field = SmoothField.draw(rng, 2, noise.image_length_px, 1)
        errors.append(
            AnchorDepthError(noise, float(m * own[0]), float(noise.slope_share * m * own[1]), world_field, image_field)
        )
    return errors
