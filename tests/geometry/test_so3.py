"""Small turns of the solver against scipy's rotations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geocorrect.geometry import so3 as turns

ANGLES = st.lists(st.floats(-0.8, 0.8), min_size=3, max_size=3)


@given(st.lists(ANGLES, min_size=1, max_size=4))
def test_matrices_are_scipys_and_vectors_lead_back(rows: list[list[float]]) -> None:
    vectors = np.array(rows)
    matrices = turns.matrices(vectors)
    np.testing.assert_allclose(matrices, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(turns.vectors(matrices), vectors, atol=1e-9)


def test_no_turn_is_exact() -> None:
    np.testing.assert_array_equal(turns.matrices(np.zeros((2, 3))), np.tile(np.eye(3), (2, 1, 1)))
    np.testing.assert_array_equal(turns.vectors(np.tile(np.eye(3), (2, 1, 1))), np.zeros((2, 3)))


def test_skew_is_the_cross_product_of_one_vector_and_of_stacks() -> None:
    v, w = np.random.default_rng(0).normal(size=(2, 4, 2, 3))
    np.testing.assert_allclose((turns.skew(v) @ w[..., None])[..., 0], np.cross(v, w), atol=1e-12)
    np.testing.assert_array_equal(turns.skew(v[0, 0]), turns.skew(v)[0, 0])
