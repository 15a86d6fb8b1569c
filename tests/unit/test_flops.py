"""The analytic counts against the products of the traced programs, loops times their trips."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

from fsa_jax import flops
from fsa_jax.configs import T5Config
from fsa_jax.model.decoding import decode_step, init_cache, start
from fsa_jax.model.t5 import T5, init_params

CONFIG = T5Config(
    vocab_size=90, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_decoder_layers=3, num_heads=4
)
GATED = CONFIG.replace(feed_forward_proj='gated-gelu', tie_word_embeddings=False, vocab_padding=6)
B, S, T = 2, 11, 7


def counted(function, *arguments) -> int:
    """Operations of all dots in the unoptimised HLO of a function."""
    text = jax.jit(function).lower(*arguments).as_text('hlo')
    return Program(text).operations()


class Program:
    """HLO text, as much of it as counting dots needs."""

    def __init__(self, text: str):
        self.computations: dict[str, list[str]] = {}
        for line in text.splitlines()[1:]:
            if head := re.match(r'(ENTRY )?%?([\w.\-]+) .*\{$', line):
                lines = self.computations['ENTRY' if head[1] else head[2]] = []
            elif ' = ' in line:
                lines.append(line.strip().removeprefix('ROOT '))

    def operations(self, name: str = 'ENTRY') -> int:
        shapes, total = {}, 0
        for line in self.computations[name]:
            if array := re.match(r'%?([\w.\-]+) = \w+\[([\d,]*)\]', line):
                shapes[array[1]] = [int(n) for n in array[2].split(',') if n]
            if dot := re.search(r' dot\(%?([\w.\-]+), .*lhs_contracting_dims=\{([\d,]+)\}', line):
                summed = [shapes[dot[1]][int(axis)] for axis in dot[2].split(',')]
                total += 2 * math.prod(shapes[array[1]]) * math.prod(summed)
            elif loop := re.search(r'condition=%?([\w.\-]+), body=%?([\w.\-]+)', line):
                total += self.trips(loop[1]) * self.operations(loop[2])
            elif call := re.search(r' call\(.*to_apply=%?([\w.\-]+)', line):
                total += self.operations(call[1])
            elif branches := re.search(r' conditional\(.*branch_computations=\{(.*?)\}', line):
                # Of a product that differs by platform only this platform's branch is lowered.
                names = branches[1].replace('%', '').split(', ')
                total += max(self.operations(branch) for branch in names)
            else:
                assert ' conditional(' not in line
        return total

    def trips(self, condition: str) -> int:
        """A scan counts from 0 to the one constant of its condition."""
        (limit,) = re.findall(r'constant\((\d+)\)', '\n'.join(self.computations[condition]))
        return int(limit)


def inputs():
    return jnp.ones((B, S), jnp.int32), jnp.ones((B, T), jnp.int32)


def abstract_params(config):
    return jax.eval_shape(lambda: init_params(config, jax.random.key(0)))


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
