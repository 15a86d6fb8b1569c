"""Programs that are compared with those of others are compiled as users compile them."""

import os

import jax
import pytest

from tests.conftest import QUICK_LOOPS

# XLA reads its flags once a process, when it is first used: pytest that collects these tests does not set them.
if os.environ['XLA_FLAGS'] == QUICK_LOOPS:
    del os.environ['XLA_FLAGS']


# Not of the package: where a folder has no __init__.py, pytest ends that with the session.
@pytest.fixture(scope='module', autouse=True)
def optimised_programs():
    """XLA optimises while these tests run; elsewhere it does not (tests/conftest.py)."""
    before = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', False)
    yield
    jax.config.update('jax_disable_most_optimizations', before)
