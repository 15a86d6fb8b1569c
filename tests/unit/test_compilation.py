"""Where compiled programs are kept."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from fsa_jax.compilation import cache_programs, topology
from fsa_jax.errors import UserError


@pytest.fixture
def restored():
    names = ('dir', 'min_compile_time_secs', 'min_entry_size_bytes')
    names = [f'jax_{"compilation" if n == "dir" else "persistent"}_cache_{n}' for n in names]
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.parametrize('scheme', ['', 'file://'])
def test_programs_lie_in_a_folder_of_their_topology(restored, tmp_path, scheme):
    cache_programs(f'{scheme}{tmp_path}')
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    compilation_cache.reset_cache()
    jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8))).block_until_ready()
    assert [path.name for path in tmp_path.iterdir()] == [topology()] == ['cpu-1-1']
    assert list((tmp_path / topology()).glob('*-cache'))


def test_another_store_is_refused():
    with pytest.raises(UserError, match=r"expected a folder, file:// or gs://; got 'ftp://x/y'"):
        cache_programs('ftp://x/y')
