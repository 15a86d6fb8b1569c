"""Products in bfloat16, summed in float32, on this backend, fully optimised: what it cannot run, fails here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsa_jax.configs import T5Config
from fsa_jax.model.products import einsum
from fsa_jax.model.t5 import T5, init_params

SIZES = {'b': 3, 't': 5, 's': 7, 'h': 2, 'k': 4, 'i': 6, 'o': 8, 'd': 6, 'v': 9}
SPECS = ['bti,io->bto', 'bthk,bhsk->bhts', 'bhts,bhsk->bthk', 'btd,vd->btv']


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('spec', SPECS)
def test_products_and_gradients(spec, dtype):
    """Against numpy in float64, of operands that bfloat16 holds exactly."""
    rng = np.random.default_rng(0)
    operands, out = spec.split('->')
    a, b = operands.split(',')
    x, y, g = (
        rng.integers(-8, 9, [SIZES[i] for i in letters]).astype(np.float32)
        for letters in (a, b, out)
    )
    product, gradients = jax.jit(
        lambda x, y: jax.vjp(lambda x, y: einsum(spec, x, y, dtype), x, y)
    )(x, y)
    dx, dy = gradients(g)
    assert {product.dtype, dx.dtype, dy.dtype} == {np.dtype('float32')}
    np.testing.assert_array_equal(product, np.einsum(spec, x, y))
    np.testing.assert_array_equal(dx, np.einsum(f'{out},{b}->{a}', g, y))
    np.testing.assert_array_equal(dy, np.einsum(f'{a},{out}->{b}', x, g))


def test_sums_are_float32():
    """4097 / 256 needs more bits than bfloat16 has."""
    x = jnp.ones((1, 1, 4097))
    product = einsum('bti,io->bto', x, jnp.full((4097, 1), 1 / 256), 'bfloat16')
    assert product.item() == 4097 / 256


@pytest.mark.parametrize(('source', 'target'), [(7, 5), (16, 1)])
def test_bfloat16_model(source, target):
    """Every product of a model in its surroundings; gradients in float32, near enough."""
    config = T5Config(
        vocab_size=61,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=1,
        num_decoder_layers=2,
        num_heads=2,
    )
    params = init_params(config, jax.random.key(7))
    rng = np.random.default_rng(0)
    tokens = [rng.integers(2, 61, (3, length)).astype(np.int32) for length in (source, target)]

    def run(config):
        def loss(params):
            out = T5(config).apply({'params': params}, *tokens)
            assert out.dtype == jnp.float32
            return jnp.mean(jax.nn.logsumexp(out, axis=-1))

        value, gradients = jax.jit(jax.value_and_grad(loss))(params)
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(gradients))
        return value, np.concatenate([np.ravel(x) for x in jax.tree.leaves(gradients)])

    (value, gradients), (expected, exact) = run(config.replace(dtype='bfloat16')), run(config)
    assert abs(value - expected) <= 0.01 * expected
    cosine = gradients @ exact / np.linalg.norm(gradients) / np.linalg.norm(exact)
    assert cosine > 0.99
