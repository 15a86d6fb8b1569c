"""The analytic counts against the products of the traced programs, loops times their trips."""

import jax
import jax.numpy as jnp
import pytest

from fsa_jax import flops
from fsa_jax.configs import MeshConfig, OptimizerConfig, RowsConfig, T5Config, TrainConfig
from fsa_jax.model.decoding import decode_step, init_cache, start
from fsa_jax.model.t5 import T5, abstract_params
from fsa_jax.partition import Partition
from fsa_jax.plan import hlo, program, traffic

CONFIG = T5Config(
    vocab_size=90, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_decoder_layers=3, num_heads=4
)
GATED = CONFIG.replace(feed_forward_proj='gated-gelu', tie_word_embeddings=False, vocab_padding=6)
B, S, T = 2, 11, 7


def counted(function, *arguments) -> int:
    """Operations of all dots in the unoptimised HLO of a function."""
    return traffic.dot_operations(hlo.parse(jax.jit(function).lower(*arguments).as_text('hlo')))


def inputs():
    return jnp.ones((B, S), jnp.int32), jnp.ones((B, T), jnp.int32)


@pytest.mark.parametrize('config', [CONFIG, GATED, CONFIG.replace(unroll=True)])
def test_forward(config):
    def forward(params):
        return T5(config).apply({'params': params}, *inputs())

    assert flops.forward(config, B, S, T) == pytest.approx(
        counted(forward, abstract_params(config)), rel=0.02
    )


@pytest.mark.parametrize(
    'config', [GATED, CONFIG.replace(remat='minimal'), CONFIG.replace(remat='full')]
)
def test_train_step(config):
    def loss(params, key):
        logits = T5(config).apply(
            {'params': params}, *inputs(), deterministic=False, rngs={'dropout': key}
        )
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1))

    expected = counted(jax.grad(loss), abstract_params(config), jax.random.key(0))
    ours = flops.train_step(config, B, S, T) + flops.rematerialised(config, B, S, T)
    assert ours == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ('layout', 'microbatches', 'remat'),
    [('packed', 1, 'none'), ('pairs', 3, 'full'), ('packed', 2, 'minimal')],
)
def test_the_step_of_a_run(layout, microbatches, remat):
    """The very program that `fsa train` compiles, losses in pieces and optimizer included."""
    model = CONFIG.replace(remat=remat, dropout_rate=0.1)
    lengths = {'encoder_length': 11, 'decoder_length': 7}
    rows = RowsConfig(layout=layout, batch_size=6, microbatches=microbatches, **lengths)
    knobs = program.Knobs(TrainConfig(), model, rows, OptimizerConfig(), MeshConfig())
    lowered = program.lower(knobs, Partition.from_config(MeshConfig(), jax.devices()[:1]))
    expected = traffic.dot_operations(hlo.parse(lowered.as_text('hlo')))
    ours = flops.train_step(model, 6, 11, 7) + flops.rematerialised(model, 6, 11, 7)
    assert ours == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize('beams', [1, 3])
def test_decode(beams):
    def generate(params):
        fixed = start(CONFIG, params, inputs()[0], T)

        def step(carry, index):
            tokens, cache = carry
            logits, cache = decode_step(CONFIG, fixed, cache, tokens, index)
            return (jnp.argmax(logits, -1).astype(jnp.int32), cache), ()

        first = jnp.zeros(B * beams, jnp.int32), init_cache(CONFIG, B * beams, T)
        return jax.lax.scan(step, first, jnp.arange(T))[0][0]

    assert flops.decode(CONFIG, B, S, T, beams) == pytest.approx(
        counted(generate, abstract_params(CONFIG)), rel=0.02
    )


def test_one_layer_by_hand():
    """d_model 2, one head of 3, d_ff 5, vocabulary 7, one token on each side."""
    config = T5Config(
        vocab_size=7, d_model=2, d_kv=3, d_ff=5, num_layers=1, num_decoder_layers=1, num_heads=1
    )
    block = 4 * 2 * 3 + 2 * 3 + 2 * 2 * 5  # four projections, scores and sum, two of the mlp
    cross = 4 * 2 * 3 + 2 * 3
    assert flops.forward(config, 1, 1, 1) == 2 * (block + block + cross + 2 * 7)
