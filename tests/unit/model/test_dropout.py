"""Dropout: the share that is dropped, what is left, and that neighbours are dropped independently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsa_jax.model.layers import Dropout, _product


def dropped(rate: float, shape: tuple[int, ...], dtype=jnp.float32) -> np.ndarray:
    layer = Dropout(rate, deterministic=False)
    x = jnp.ones(shape, dtype)
    return layer.apply({}, x, rngs={'dropout': jax.random.key(0)})


@pytest.mark.parametrize(('rate', 'width'), [(0.1, 400), (0.1, 401), (0.37, 64)])
def test_share_mean_and_independence(rate, width):
    y = np.asarray(dropped(rate, (2000, width)))
    zero, (kept,) = y == 0, np.unique(y[y != 0])
    deviations = 5 / np.sqrt(y.size)
    assert abs(zero.mean() - rate) < deviations
    assert abs(kept - 1 / (1 - rate)) < 1e-4
    assert abs(y.mean() - 1) < deviations
    # two elements share a random word: neither tells of the other
    assert abs((zero[:, 0:-1:2] & zero[:, 1::2]).mean() - rate**2) < 2 * deviations


def test_nothing_and_everything():
    x = jnp.ones((2, 3))
    assert (Dropout(0.5, deterministic=True).apply({}, x) == 1).all()
    assert (dropped(0.0, (2, 3)) == 1).all()
    assert (dropped(1.0, (2, 3)) == 0).all()
    assert dropped(0.1, (2, 3), jnp.bfloat16).dtype == jnp.bfloat16


def test_products_of_words_have_64_bits():
    x = [0, 1, 2**31 + 12345, 2**32 - 1]
    high, low = _product(jnp.array(x, jnp.uint32), 4_000_000_007)
    assert [(int(h) << 32) + int(w) for h, w in zip(high, low)] == [n * 4_000_000_007 for n in x]
