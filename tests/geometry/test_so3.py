"""Rotations of the solvers' inner loops against numpy's cross product and scipy's rotations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geocorrect.geometry import so3

ANGLES = st.lists(st.floats(-0.8, 0.8), min_size=3, max_size=3)


def test_skew_is_the_cross_product_for_one_vector_and_for_stacks() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 4, 5, 3))
    np.testing.assert_allclose(np.einsum("...ij,...j->...i", so3.skew(a), b), np.cross(a, b))
    np.testing.assert_array_equal(so3.skew(a[1, 2]), so3.skew(a)[1, 2])


@given(st.lists(ANGLES, min_size=1, max_size=4))
def test_exp_is_scipys_and_log_leads_back(rows: list[list[float]]) -> None:
    vectors = np.array(rows)
    matrices = so3.exp(vectors)
    np.testing.assert_allclose(matrices, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(so3.log(matrices), vectors, atol=1e-9)


def test_no_turn_is_exact() -> None:
    np.testing.assert_array_equal(so3.exp(np.zeros((2, 3))), np.tile(np.eye(3), (2, 1, 1)))
    np.testing.assert_array_equal(so3.log(np.tile(np.eye(3), (2, 1, 1))), np.zeros((2, 3)))
