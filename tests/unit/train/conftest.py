"""Small models compile in half the time when XLA does not optimise them."""

import jax
import pytest


@pytest.fixture(scope='package', autouse=True)
def quick_compiles():
    """XLA compiles without most optimisations while these tests run."""
    before = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', True)
    yield
    jax.config.update('jax_disable_most_optimizations', before)
