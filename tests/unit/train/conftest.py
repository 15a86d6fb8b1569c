"""Small models compile in half the time when XLA does not optimise them."""

import pytest

from tests import training


@pytest.fixture(scope='package', autouse=True)
def quick_compiles():
    """XLA compiles without most optimisations while these tests run."""
    with training.quick_compiles():
        yield
