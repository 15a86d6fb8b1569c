"""Programs that are compared with those of others are compiled as users compile them."""

import jax
import pytest


# Not of the package: where a folder has no __init__.py, pytest ends that with the session.
@pytest.fixture(scope='module', autouse=True)
def optimised_programs():
    """XLA optimises while these tests run; elsewhere it does not (tests/conftest.py)."""
    before = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', False)
    yield
    jax.config.update('jax_disable_most_optimizations', before)
