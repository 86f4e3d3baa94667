"""Lens distortion on the projection plane: radial, tangential and thin-prism terms, and the exact inverse.

With ρ² = u² + v²,

    D(u, v) = (u, v)·(1 + k1 ρ² + k2 ρ⁴ + …) / (1 + q1 ρ² + q2 ρ⁴ + …)
            + (2 p1 uv + p2 (ρ² + 2u²),  2 p2 uv + p1 (ρ² + 2v²))
            + (s0 ρ² + s1 ρ⁴,  s2 ρ² + s3 ρ⁴)

(OpenCV's and OpenSfM's convention; the denominator is OpenCV's k4, k5, k6). Such maps fold: beyond some radius they
bring points back into the picture. `Distortion.max_radius` is the radius inside which that cannot happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

MAX_ITERATIONS = 200
_EPS = float(np.finfo(np.float64).eps)
_BEFORE_POLE = 1 - 1e-4
"""Share of the radius of a pole that is used: the map is 10⁴ plane units long there, and no picture reaches so far."""


@dataclass(frozen=True)
class Distortion:
    """Coefficients of the distortion and the map that they give."""

    radial: tuple[float, ...] = ()
    """k1, k2, …"""
    tangential: tuple[float, float] = (0.0, 0.0)
    """p1, p2."""
    prism: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """s0, s1, s2, s3."""
    denominator: tuple[float, ...] = ()
    """q1, q2, …: divide the radial part."""

    @cached_property
    def is_identity(self) -> bool:
        """Every coefficient is zero."""
        return self.is_radial and not any(self.radial) and not any(self.denominator)

    @cached_property
    def is_radial(self) -> bool:
        """No tangential and no prism term: the direction from the centre is kept."""
        return not any(self.tangential) and not any(self.prism)

    @cached_property
    def max_radius(self) -> float:
        """Radius of the disc on which the map is one-to-one; inf when it never folds.

        The map is injective on a convex set where the symmetric part of its Jacobian is positive definite
        (Gale and Nikaido 1965). The radial part N/D has the eigenvalues N/D and (ρN/D)' = ((ρN)'D − ρND')/D²; the
        tangential part lowers them by at most 6|p|ρ, the prism part by at most 2(|s0,s2| + 2|s1,s3|ρ²)ρ. Purely
        radial: exactly the first extremum of ρN/D, or the pole before it.
        """
        rho = Polynomial([0.0, 1.0])
        above, below = (Polynomial((1.0, *terms))(rho**2) for terms in (self.radial, self.denominator))
        slope = (rho * above).deriv() * below - rho * above * below.deriv()
        s0, s1, s2, s3 = self.prism
        loss = Polynomial([0.0, 6 * np.hypot(*self.tangential) + 2 * np.hypot(s0, s2), 0.0, 4 * np.hypot(s1, s3)])
        limits = slope - loss * below**2, above - loss * below
        pole = _first_positive_root(below) * _BEFORE_POLE
        return min(pole, *(_first_positive_root(limit) for limit in limits))

    @cached_property
    def max_distorted_radius(self) -> float:
        """Radial part of the map at `max_radius`; inf when it never folds."""
        limit = self.max_radius
        return limit if np.isinf(limit) else float(self._radial_map(np.array([limit]))[0][0])

    def distort(self, plane: Float) -> Float:
        """D of (N, 2) plane points; not limited to `max_radius`."""
        if self.is_identity:
            return plane
        u, v = plane[:, 0], plane[:, 1]
        rho2 = u * u + v * v
        factor = self._factor(rho2)
        out = np.empty_like(plane)
        out[:, 0], out[:, 1] = u * factor, v * factor
        if not self.is_radial:
            (p1, p2), (s0, s1, s2, s3) = self.tangential, self.prism
            uv2 = 2 * u * v
            out[:, 0] += p1 * uv2 + p2 * (rho2 + 2 * u * u) + rho2 * (s0 + s1 * rho2)
            out[:, 1] += p2 * uv2 + p1 * (rho2 + 2 * v * v) + rho2 * (s2 + s3 * rho2)
        return out

    def jacobian(self, plane: Float) -> Float:
        """(N, 2, 2) derivative of `distort`."""
        u, v = plane[:, 0], plane[:, 1]
        rho2 = u * u + v * v
        factor = self._factor(rho2)
        twice_slope = 2 * self._factor_slope(rho2, factor)
        (p1, p2), (s0, s1, s2, s3) = self.tangential, self.prism
        prism_u, prism_v = 2 * (s0 + 2 * s1 * rho2), 2 * (s2 + 2 * s3 * rho2)
        cross = u * v * twice_slope + 2 * (p1 * u + p2 * v)
        out = np.empty((len(plane), 2, 2))
        out[:, 0, 0] = factor + u * u * twice_slope + 2 * p1 * v + 6 * p2 * u + prism_u * u
        out[:, 0, 1] = cross + prism_u * v
        out[:, 1, 0] = cross + prism_v * u
        out[:, 1, 1] = factor + v * v * twice_slope + 2 * p2 * u + 6 * p1 * v + prism_v * v
        return out

    def undistort(self, distorted: Float) -> tuple[Float, Mask]:
        """(N, 2) plane points inside `max_radius` whose image under `distort` is given, and where there is one."""
        if self.is_identity:
            return distorted, np.isfinite(distorted[:, 0]) & np.isfinite(distorted[:, 1])
        radius = np.hypot(distorted[:, 0], distorted[:, 1])
        finite = np.isfinite(radius)
        inside = finite & (radius <= self.max_distorted_radius)
        start = self._undistorted_radius(np.where(inside, radius, min(self.max_distorted_radius, 1.0)))
        scale = np.divide(start, radius, out=np.ones_like(radius), where=inside & (radius > 0))
        plane = np.where(inside[:, None], distorted * scale[:, None], 0.0)
        if self.is_radial:
            return plane, inside
        return self._newton(plane, np.where(finite[:, None], distorted, np.nan))

    def _factor(self, rho2: Float) -> Float:
        """(1 + k1ρ² + …) / (1 + q1ρ² + …)."""
        above = _horner((1.0, *self.radial), rho2)
        return above / _horner((1.0, *self.denominator), rho2) if self.denominator else above

    def _factor_slope(self, rho2: Float, factor: Float) -> Float:
        """Exact derivative of the factor, which is given, by ρ²."""
        above, below = (
            _horner([i * k for i, k in enumerate(terms, start=1)], rho2) for terms in (self.radial, self.denominator)
        )
        if not self.denominator:
            return above
        slope: Float = (above - factor * below) / _horner((1.0, *self.denominator), rho2)
        return slope

    def _radial_map(self, rho: Float) -> tuple[Float, Float]:
        """ρ times the factor, and the exact derivative by ρ."""
        rho2 = rho * rho
        factor = self._factor(rho2)
        return rho * factor, factor + 2 * rho2 * self._factor_slope(rho2, factor)

    def _undistorted_radius(self, target: Float) -> Float:
        """Solve the increasing radial map for ρ in [0, max_radius]: Newton, kept in a shrinking bracket.

        A step that leaves the bracket, or is not half as long as the one before, is replaced by a bisection.
        """
        low, high = np.zeros_like(target), self._upper_bracket(target)
        rho = np.minimum(target, high)
        length = high.copy()
        settled = np.zeros(len(target), bool)
        for _ in range(MAX_ITERATIONS):
            value, slope = self._radial_map(rho)
            error = value - target
            low, high = np.where(error < 0, rho, low), np.where(error > 0, rho, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.where(error == 0, 0.0, error / slope)
            following = rho - step
            wanting = ~((following >= low) & (following <= high) & (np.abs(step) <= 0.5 * length))
            newly = np.abs(step) <= 2 * _EPS * rho
            following = np.where(wanting & ~newly, 0.5 * (low + high), following)
            length = np.abs(following - rho)
            rho = np.where(settled, rho, following)
            settled |= newly | (length <= _EPS * rho)
            if settled.all():
                break
        return rho

    def _upper_bracket(self, target: Float) -> Float:
        """Radii whose image is at least `target`."""
        if np.isfinite(self.max_radius):
            return np.full_like(target, self.max_radius)
        high = np.maximum(target, 1.0)
        # Far out the last term of a polynomial rules: start near its own solution.
        if self.radial[-1:] > (0.0,) and not any(self.denominator):
            high = np.minimum(high, np.maximum((target / self.radial[-1]) ** (1 / (2 * len(self.radial) + 1)), 1.0))
        while (short := self._radial_map(high)[0] < target).any():
            high[short] *= 2
        return high

    def _newton(self, plane: Float, target: Float) -> tuple[Float, Mask]:
        """2-D Newton on the full map with step halving; points that do not settle inside the disc are refused."""
        plane = plane.copy()
        valid = np.isfinite(target).all(axis=1)
        todo = np.flatnonzero(valid)
        tolerance = 16 * _EPS * (1 + np.abs(target).max(axis=1))
        for _ in range(MAX_ITERATIONS):
            error = self.distort(plane[todo]) - target[todo]
            size = np.hypot(error[:, 0], error[:, 1])
            open_ = size > tolerance[todo]
            todo, error, size = todo[open_], error[open_], size[open_]
            if todo.size == 0:
                break
            step = _solve_2x2(self.jacobian(plane[todo]), error)
            moved, improved = self._best_step(plane[todo], step, target[todo], size)
            plane[todo] = moved
            todo = todo[improved]
        # What stalled at the tolerance of rounding has converged; the rest has no solution on the disc.
        residual = np.abs(self.distort(plane) - target).max(axis=1)
        valid &= residual < 1e3 * tolerance
        return plane, valid

    def _best_step(self, plane: Float, step: Float, target: Float, size: Float) -> tuple[Float, Mask]:
        """Take the longest of step, step/2, step/4, … that lowers the residual inside the disc; and where one does."""
        best = plane.copy()
        pending = np.ones(len(plane), bool)
        for halvings in range(12):
            trial = plane[pending] - step[pending] * 0.5**halvings
            error = self.distort(trial) - target[pending]
            good = np.hypot(error[:, 0], error[:, 1]) < size[pending]
            good &= np.hypot(trial[:, 0], trial[:, 1]) <= self.max_radius
            where = np.flatnonzero(pending)
            best[where[good]] = trial[good]
            pending[where[good]] = False
            if not pending.any():
                break
        return best, ~pending


def _horner(coefficients: list[float] | tuple[float, ...], x: Float) -> Float:
    """Polynomial c0 + c1 x + c2 x² + … at x."""
    value = np.zeros_like(x)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def _first_positive_root(polynomial: Polynomial) -> float:
    """Smallest positive root of 1 + c1 ρ + c2 ρ² + …, inf when there is none.

    Solved for 1/ρ, so that vanishing high coefficients (k3 = 1e-300) need no special case.
    """
    coefficients = np.asarray(polynomial.coef, np.float64)
    roots = np.roots(coefficients / coefficients[0])
    # A double root comes out as a nearly real pair; counting it as a root errs on the safe side.
    real = roots.real[np.abs(roots.imag) < 1e-7 * np.abs(roots)]
    largest = float(real.max(initial=0.0))
    return 1.0 / largest if largest > 1e-12 else float("inf")


def _solve_2x2(matrix: Float, right: Float) -> Float:
    """(N, 2) solutions of (N, 2, 2) systems by Cramer's rule."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    determinant = a * d - b * c
    determinant = np.where(np.abs(determinant) < 1e-300, np.nan, determinant)
    x = (d * right[:, 0] - b * right[:, 1]) / determinant
    y = (a * right[:, 1] - c * right[:, 0]) / determinant
    return np.stack([x, y], axis=1)
