"""Decoding: filters against transformers, draws against the distribution, loops by hand."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from fsa_jax.configs import DecodeConfig, T5Config
from fsa_jax.decode import Generator, beam, stepwise
from fsa_jax.model.t5 import init_params
from tests.processes import environment

CONFIG = T5Config(
    vocab_size=64,
    d_model=32,
    d_kv=8,
    d_ff=64,
    num_layers=1,
    num_decoder_layers=1,
    num_heads=4,
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,  # random tied weights only repeat one id
)


@pytest.fixture(scope='module')
def params():
    return jax.tree.map(lambda x: 1.5 * x, init_params(CONFIG, jax.random.key(0)))


@pytest.fixture(scope='module')
def inputs():
    rng = np.random.default_rng(0)
    return [[*rng.integers(3, 64, n).tolist(), 1] for n in rng.integers(1, 60, 21)]


# ---------------------------------------------------------------------------------------------
# Filters and draws


@pytest.mark.parametrize(
    ('top_k', 'top_p'), [(0, 1.0), (5, 1.0), (0, 0.7), (9, 0.5), (0, 0.0), (99, 0.9)]
)
def test_filters_keep_what_transformers_keeps(top_k, top_p):
    torch = pytest.importorskip('torch')
    processors = pytest.importorskip('transformers').generation.logits_process
    logits = np.random.default_rng(1).normal(0, 3, (50, 40)).astype(np.float32)
    expected = torch.tensor(logits)
    if top_k:
        expected = processors.TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = processors.TopPLogitsWarper(top_p)(None, expected)
    ours = stepwise.filter_logits(jnp.asarray(logits), top_k=top_k, top_p=top_p)
    np.testing.assert_array_equal(np.asarray(ours), expected.numpy())


def test_draws_follow_the_filtered_distribution():
    logits = jnp.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])
    draws = 20_000
    choose = stepwise.sampler(jnp.arange(draws), 3, temperature=0.7, top_k=5, top_p=0.96)
    chosen, _ = choose(jnp.tile(logits, (draws, 1)), jnp.int32(4), ())
    counts = np.bincount(chosen, minlength=6)
    # softmax of logits / 0.7 is .700 .168 .082 .040 .010 .001: the first four reach .96.
    expected = np.exp(np.array([2.0, 1.0, 0.5, 0.0]) / 0.7)
    expected = expected / expected.sum() * draws
    assert counts[4:].sum() == 0
    assert scipy.stats.chisquare(counts[:4], expected).pvalue > 1e-3


def test_draws_of_rows_and_steps_are_independent():
    flat = jnp.zeros((2000, 2))
    choose = stepwise.sampler(jnp.arange(2000), 0, temperature=1.0, top_k=0, top_p=1.0)
    first, second = (choose(flat, jnp.int32(step), ())[0] for step in (0, 1))
    table = np.zeros((2, 2))
    np.add.at(table, (np.asarray(first), np.asarray(second)), 1)
    assert scipy.stats.chisquare(table.reshape(-1)).pvalue > 1e-3


# ---------------------------------------------------------------------------------------------
# Loops, over a Markov chain in place of the model

END, A, B, C = 1, 2, 3, 4


@pytest.fixture
def chain(monkeypatch):
    """Makes the loops follow log-probabilities [from, to]; returns the list of steps taken."""
    steps = []

    def make(probabilities):
        table = jnp.log(jnp.asarray(probabilities, jnp.float32) + 1e-30)

        def decode_step(config, fixed, cache, tokens, index):
            jax.debug.callback(lambda i: steps.append(int(i)), index)
            return table[tokens], cache

        for module in (stepwise, beam):
            monkeypatch.setattr(module, 'decode_step', decode_step)
        return steps

    return make


def rows(**probabilities):
    """A 5 x 5 table; from the start id 0, A, B and C."""
    table = np.zeros((5, 5))
    table[END, END] = 1
    for name, targets in probabilities.items():
        source = {'start': 0, 'a': A, 'b': B, 'c': C}[name]
        for target, p in targets.items():
            table[source, target] = p
    return table


# The likeliest first step (A, .6) leads to a flat continuation, the other (B, .4) to a sure one:
# greedy takes A A' of .6 x .34, beam search B C of .4 x 1.
CHAIN = rows(start={A: 0.6, B: 0.4}, a={A: 0.34, B: 0.33, C: 0.33}, b={C: 1.0}, c={END: 1.0})


def test_beam_search_finds_what_greedy_misses(chain):
    chain(CHAIN)
    real = jnp.ones(1, bool)
    greedy = stepwise.decode(CONFIG, None, real, 3, stepwise.greedy)[0]
    assert greedy.tolist() == [[A, A, A]]
    best = beam.decode(CONFIG, None, real, 3, num_beams=2, length_penalty=0.0, early_stopping=False)
    assert best.tolist() == [[B, C, END]]


def test_length_penalty_prefers_length(chain):
    # END at once has .5; A A END has .5 x .9 x .8 = .36: per id .5 against .36 ** (1/3) = .71.
    chain(rows(start={END: 0.5, A: 0.5}, a={B: 0.9}, b={END: 0.8}))
    found = {
        penalty: beam.decode(
            CONFIG,
            None,
            jnp.ones(1, bool),
            4,
            num_beams=2,
            length_penalty=penalty,
            early_stopping=False,
        ).tolist()
        for penalty in (0.0, 1.0)
    }
    assert found == {0.0: [[END, 0, 0, 0]], 1.0: [[A, B, END, 0]]}


@pytest.mark.parametrize('method', ['greedy', 'beam'])
def test_the_loop_ends_with_its_last_row(chain, method):
    steps = chain(rows(start={A: 1.0}, a={B: 1.0}, b={END: 1.0}))
    real = jnp.array([True, True, False])  # the third only fills the batch
    if method == 'greedy':
        ids = stepwise.decode(CONFIG, None, real, 50, stepwise.greedy)[0]
    else:
        ids = beam.decode(
            CONFIG, None, real, 50, num_beams=2, length_penalty=1.0, early_stopping=True
        )
    jax.effects_barrier()
    assert ids[:2, :4].tolist() == [[A, B, END, 0]] * 2
    assert max(steps) < 5


# ---------------------------------------------------------------------------------------------
# The generator


@pytest.mark.parametrize('method', ['greedy', 'sample', 'beam'])
def test_a_row_does_not_depend_on_its_batch(params, inputs, method):
    decode = DecodeConfig(method=method, max_new_tokens=12, batch_size=8, num_beams=2)
    whole = Generator(CONFIG, decode).generate(params, inputs)
    alone = Generator(CONFIG, decode).generate(params, inputs[7:9], rows=[7, 8])
    assert alone == whole[7:9]
    assert len({tuple(ids) for ids in whole}) > 2


def test_few_programs_for_many_lengths_and_none_for_new_params(params, inputs):
    generator = Generator(CONFIG, DecodeConfig(max_new_tokens=3, batch_size=4))
    generator.generate(params, inputs)
    assert generator._decode._cache_size() == 2  # inputs of up to 32 ids, and of up to 64
    first = generator.generate(params, inputs)
    second = generator.generate(jax.tree.map(lambda x: -x, params), inputs)
    assert generator._decode._cache_size() == 2
    assert first != second


def test_cut_at_the_end_and_limited(params, inputs):
    generator = Generator(CONFIG, DecodeConfig(method='sample', max_new_tokens=30))
    outputs = generator.generate(params, inputs)
    assert all(1 not in ids for ids in outputs)
    assert {len(ids) for ids in outputs} != {30}
    assert all(len(ids) <= 4 for ids in generator.generate(params, inputs, 4))
    assert generator.generate(params, []) == []


def test_bfloat16_is_a_knob(params, inputs):
    generator = Generator(CONFIG, DecodeConfig(dtype='bfloat16', max_new_tokens=5))
    assert generator.config.dtype == 'bfloat16'
    assert len(generator.generate(params, inputs)) == len(inputs)


_MESHES = """
import jax, numpy as np
from fsa_jax.configs import DecodeConfig, MeshConfig, T5Config
from fsa_jax.decode import Generator
from fsa_jax.model.t5 import init_params
from tests.processes import environment
from fsa_jax.partition import Partition

config = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_decoder_layers=1,
                  num_heads=4, tie_word_embeddings=False)
params = jax.tree.map(lambda x: 1.5 * x, init_params(config, jax.random.key(0)))
inputs = [[*range(3, 5 + i), 1] for i in range(13)]
for method, mesh in (('sample', MeshConfig(data=2, fsdp=2, tensor=2, preset='fsdp_tp')),
                     ('beam', MeshConfig(data=4, fsdp=2, preset='fsdp'))):
    decode = DecodeConfig(method=method, max_new_tokens=10, batch_size=16, num_beams=2)
    one = Generator(config, decode).generate(params, inputs)
    partition = Partition.from_config(mesh)
    spread = jax.device_put(params, partition.params(config))
    assert Generator(config, decode, partition).generate(spread, inputs) == one, (method, mesh)
    assert len(set(map(tuple, one))) > 1, one
text = ''
program = (generator := Generator(config, decode, partition))._decode
def keep(*arguments, **options):
    global text
    text = program.lower(*arguments, **options).compile().as_text()
    return program(*arguments, **options)
generator._decode = keep
generator.generate(spread, inputs)
gathered = [line for line in text.splitlines() if 'all-gather' in line and '[32,4,10,8]' in line]
assert text and not gathered, gathered  # the cache of all beams: 16 inputs x 2
print('equal on', jax.device_count())
"""


def test_eight_devices_generate_what_one_does():
    done = subprocess.run(
        [sys.executable, '-c', _MESHES], env=environment(8), capture_output=True, text=True
    )
    assert done.stdout == 'equal on 8\n', done.stderr


def test_the_likeliest_id_is_argmax_and_of_equals_the_smallest():
    logits = np.random.default_rng(0).integers(0, 5, (64, 40)).astype(np.float32)
    logits[0] = 3.0
    found = jax.jit(stepwise.likeliest)(logits)
    np.testing.assert_array_equal(found, np.argmax(logits, axis=-1))
    assert found.dtype == np.int32
