"""What must not change the numbers: scanning, remat, packing, padding, the cache. And what must."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, PartitionSpec

from fsa_jax.configs import T5Config
from fsa_jax.errors import UserError
from fsa_jax.model import axes
from fsa_jax.model.decoding import decode_step, init_cache, start
from fsa_jax.model.relative_bias import buckets_of_distances
from fsa_jax.model.t5 import T5, init_params, param_axes

TIED = T5Config(
    vocab_size=61, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_decoder_layers=3, num_heads=2
)
UNTIED = TIED.replace(feed_forward_proj='gated-gelu', tie_word_embeddings=False)
KEY = jax.random.key(7)


@pytest.fixture(scope='module')
def params():
    """Parameters with relative biases and norms that leave a mark."""

    def strong(path, x):
        names = [p.key for p in path]
        return x + 3 * jax.random.normal(KEY, x.shape) if 'relative_attention_bias' in names else x

    return jax.tree_util.tree_map_with_path(strong, init_params(TIED, jax.random.key(0)))


def tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(2, 61, shape).astype(np.int32)


def logits(config, params, source, target, **more):
    return jax.jit(
        lambda params: T5(config).apply(
            {'params': params}, encoder_input_tokens=source, decoder_input_tokens=target, **more
        )
    )(params)


def loss_and_gradient(config, params):
    """With dropout: the same masks whatever the layers' loop looks like."""

    def loss(params):
        out = T5(config).apply(
            {'params': params},
            tokens(2, 9),
            tokens(2, 6, seed=1),
            deterministic=False,
            rngs={'dropout': KEY},
        )
        return jnp.mean(jax.nn.logsumexp(out, axis=-1))

    return jax.jit(jax.value_and_grad(loss))(params)


def assert_close(ours, expected, tolerance=1e-6):
    """max|a-b| / max|b| per tensor."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert np.abs(a - b).max() <= tolerance * max(np.abs(b).max(), 1e-9)


@pytest.fixture(scope='module')
def plain(params):
    return loss_and_gradient(TIED.replace(dropout_rate=0.3), params)


@pytest.mark.parametrize(
    ('unroll', 'remat'), [(True, 'none'), (False, 'minimal'), (False, 'full'), (True, 'full')]
)
def test_scan_and_remat_change_no_number(params, plain, unroll, remat):
    config = TIED.replace(dropout_rate=0.3, unroll=unroll, remat=remat)
    assert_close(loss_and_gradient(config, params), plain)


def masks(jaxpr, times=1) -> Counter:
    """Leading axes of all random draws of a program (one word may serve several elements of the
    last axis), with how often each is drawn."""
    found = Counter()
    for equation in jaxpr.eqns:
        if equation.primitive.name == 'random_bits':
            found[equation.outvars[0].aval.shape[:-1]] += times
        trips = times * equation.params.get('length', 1)  # a scan draws anew in each layer
        for inner in equation.params.values():
            if hasattr(inner, 'jaxpr'):
                found += masks(inner.jaxpr, trips)
    return found


def keys_of_layers(jaxpr) -> list[int]:
    """The lengths of the arrays of random keys that scans run over."""
    return [
        x.aval.shape[0]
        for equation in jaxpr.eqns
        if equation.primitive.name == 'scan'
        for x in equation.invars[equation.params['num_consts'] + equation.params['num_carry'] :]
        if jax.dtypes.issubdtype(x.aval.dtype, jax.dtypes.prng_key)
    ]


def test_dropout_stands_where_torch_has_it(monkeypatch):
    """As many masks of each shape as transformers' T5 draws in training."""
    torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
    theirs = transformers.T5Config(
        vocab_size=61,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=2,
        attn_implementation='eager',
    )
    model = transformers.T5ForConditionalGeneration(theirs).train()
    drawn = Counter()

    def dropout(x, *_, **__):
        drawn[tuple(x.shape[:-1])] += 1
        return x

    monkeypatch.setattr(torch.nn.functional, 'dropout', dropout)
    source, target = tokens(2, 9), tokens(2, 6, seed=1)
    model(input_ids=torch.tensor(source), decoder_input_ids=torch.tensor(target))

    def ours(params):
        return T5(TIED).apply(
            {'params': params}, source, target, deterministic=False, rngs={'dropout': KEY}
        )

    abstract = jax.eval_shape(lambda: init_params(TIED, KEY))
    program = jax.make_jaxpr(ours)(abstract).jaxpr
    assert masks(program) == drawn
    assert keys_of_layers(program) == [2, 3], 'each layer has a key of its own'


def test_packed_row_equals_separate_rows(params):
    """Two pairs in one row, with empty slots at its end, against each pair alone."""
    sources, targets = (
        [tokens(1, 5), tokens(1, 8, seed=1)],
        [
            tokens(1, 4, seed=2),
            tokens(1, 6, seed=3),
        ],
    )
    alone = [logits(TIED, params, s, t) for s, t in zip(sources, targets)]

    def row(parts, slots):
        ids, segments, positions = (np.zeros((1, slots), np.int32) for _ in range(3))
        begin = 0
        for number, part in enumerate(parts, 1):
            end = begin + part.shape[1]
            ids[0, begin:end], segments[0, begin:end] = part[0], number
            positions[0, begin:end] = np.arange(part.shape[1])
            begin = end
        return ids, segments, positions

    source, source_segments, source_positions = row(sources, 16)
    target, target_segments, target_positions = row(targets, 12)
    segments = {
        'encoder_segment_ids': source_segments,
        'decoder_segment_ids': target_segments,
    }
    positions = {'encoder_positions': source_positions, 'decoder_positions': target_positions}
    for inputs in (segments, segments | positions):
        packed = logits(TIED, params, source, target, **inputs)
        assert_close(packed[:, :4], alone[0], 2e-6)
        assert_close(packed[:, 4:10], alone[1], 2e-6)


def test_relative_positions_come_from_positions(params):
    """A row whose two segments are interleaved: only positions tell how far tokens are apart."""
    source, target = tokens(1, 6), tokens(1, 5, seed=1)
    alone = logits(TIED, params, source, target)
    wide = np.zeros((1, 12), np.int32)
    wide[:, ::2] = source
    segments = np.tile(np.array([1, 2], np.int32), 6)[None]
    positions = np.repeat(np.arange(6, dtype=np.int32), 2)[None]
    inputs = {
        'encoder_segment_ids': segments,
        'decoder_segment_ids': np.ones((1, 5), np.int32),
        'decoder_positions': np.arange(5, dtype=np.int32)[None],
    }
    given = logits(TIED, params, wide, target, **inputs, encoder_positions=positions)
    assert_close(given, alone, 2e-6)
    slots = logits(TIED, params, wide, target, **inputs)
    assert np.abs(slots - alone).max() > 1e-3


def test_padding_changes_no_logit(params):
    source, target = tokens(2, 7), tokens(2, 5, seed=1)
    padded = np.pad(source, ((0, 0), (0, 4)))
    assert_close(logits(TIED, params, padded, target), logits(TIED, params, source, target), 2e-6)


def test_later_targets_change_no_earlier_logit(params):
    target = tokens(1, 6)
    other = target.copy()
    other[0, 4] = (other[0, 4] + 7) % 61
    a, b = (logits(TIED, params, tokens(1, 5), t) for t in (target, other))
    assert_close(a[:, :4], b[:, :4], 0.0)
    assert np.abs(a[:, 4:] - b[:, 4:]).max() > 1e-3


def test_segment_ids_of_one_side_are_refused(params):
    with pytest.raises(UserError, match='encoder_segment_ids and decoder_segment_ids'):
        logits(TIED, params, tokens(1, 3), tokens(1, 3), encoder_segment_ids=np.ones((1, 3)))


@pytest.mark.parametrize('config', [TIED, UNTIED])
def test_vocabulary_padding(config):
    """Padding rows are zero, get no gradient, and no logit is theirs; all else is as without."""
    wide = config.replace(vocab_padding=3)
    small, large = init_params(config, KEY), init_params(wide, KEY)
    tables = [large['token_embedder']['embedding']]
    tables += [] if config.tie_word_embeddings else [large['lm_head']['embedding']]
    for table in tables:
        assert table.shape == (64, 16)
        assert not table[61:].any()

    def loss(params, config):
        out = T5(config).apply({'params': params}, tokens(2, 5), tokens(2, 4))
        assert out.shape == (2, 4, 61)
        return jnp.mean(jax.nn.logsumexp(out, axis=-1))

    gradient_of = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    expected, gradient = gradient_of(small, config)
    value, padded = gradient_of(large, wide)
    assert_close(value, expected)
    cut = jax.tree.map(lambda p, g: p[: len(g)], padded, gradient)
    assert_close(cut, gradient, 1e-5)
    assert not padded['token_embedder']['embedding'][61:].any()

    scores = T5(wide).apply({'params': large}, jnp.ones((1, 4, 16)), method='padded_logits')
    assert scores.shape == (1, 4, 64)
    assert (scores[..., 61:] == -1e9).all()


def test_ids_beyond_the_table_are_not_taken_for_others(params):
    assert np.isnan(logits(TIED, params, np.full((1, 3), 61, np.int32), tokens(1, 2))).all()


@pytest.mark.parametrize('config', [TIED, UNTIED.replace(dtype='bfloat16')])
def test_axes_of_every_parameter(config):
    params, names = init_params(config, KEY), param_axes(config)
    shapes = jax.tree.map(lambda x: len(x.shape), params)
    is_names = {'is_leaf': lambda x: isinstance(x, tuple)}
    assert jax.tree.map(len, names, **is_names) == shapes
    for path, leaf in jax.tree_util.tree_leaves_with_path(names, **is_names):
        assert set(leaf) <= set(axes.PARAMETER_AXES)
        assert (leaf[0] == axes.LAYERS) == ('layers' in [p.key for p in path])
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))


def test_axes_are_sizes_of_the_config():
    """Each name stands for one size, whatever the tensor."""
    config = TIED.replace(vocab_padding=3)
    sizes = {'vocab': 64, 'embed': 16, 'joined_kv': 8, 'mlp': 24, 'heads': 2, 'norm': 16}
    sizes |= {'relpos_buckets': 32}
    params = jax.eval_shape(lambda: init_params(config, KEY))
    is_names = {'is_leaf': lambda x: isinstance(x, tuple)}
    for x, names in zip(jax.tree.leaves(params), jax.tree.leaves(param_axes(config), **is_names)):
        for size, name in zip(x.shape, names):
            assert size == sizes.get(name, size)


@pytest.mark.parametrize('config', [TIED, UNTIED, TIED.replace(dtype='bfloat16')])
def test_cached_steps_equal_the_whole(config):
    params = init_params(config, KEY)
    source, target = tokens(3, 7), tokens(3, 6, seed=1)
    source[1, 3:] = 0
    whole = logits(config, params, source, target)

    @jax.jit
    def steps(params):
        fixed = start(config, params, source, 8)  # two slots are never used

        def step(cache, index):
            out, cache = decode_step(config, fixed, cache, jnp.asarray(target)[:, index], index)
            return cache, out

        return jax.lax.scan(step, init_cache(config, 3, 8), jnp.arange(6))[1]

    tolerance = 2e-6 if config.dtype == 'float32' else 0.03
    assert_close(steps(params).swapaxes(0, 1), whole, tolerance)


def test_beams_share_the_cross_attention_of_their_input():
    params, source = init_params(TIED, KEY), tokens(2, 5)
    target = tokens(6, 4, seed=1)  # three beams of each of two inputs
    whole = logits(TIED, params, np.repeat(source, 3, axis=0), target)
    fixed = jax.jit(start, static_argnums=(0, 3))(TIED, params, source, 4)
    cache, step = init_cache(TIED, 6, 4), jax.jit(decode_step, static_argnums=0)
    for index in range(4):
        out, cache = step(TIED, fixed, cache, target[:, index], index)
        assert_close(out, whole[:, index], 2e-6)


def test_seeds_in_one_program():
    """A leading axis over params is a vmap away."""
    keys = jax.random.split(KEY, 3)
    stacked = jax.vmap(lambda key: init_params(TIED, key))(keys)
    together = jax.vmap(lambda params: logits(TIED, params, tokens(2, 5), tokens(2, 4)))(stacked)
    alone = logits(TIED, init_params(TIED, keys[1]), tokens(2, 5), tokens(2, 4))
    assert_close(together[1], alone, 1e-5)


def test_constraints_hold_under_a_mesh_and_only_there():
    rules = [('activation_batch', 'data')]
    x = jnp.ones((2, 3))
    assert axes.constrain(x, axes.BATCH, None) is x
    mesh = jax.make_mesh((1,), ('data',), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
        jaxpr = jax.make_jaxpr(lambda x: axes.constrain(x, axes.BATCH, None))(x)
    (equation,) = jaxpr.eqns
    assert equation.params['sharding'].spec == PartitionSpec('data', None)


def test_buckets_that_no_distance_could_have_are_refused():
    """The least that is allowed gives a bucket to every distance, in the encoder and in the decoder."""
    for knobs in ({'relative_attention_max_distance': 16}, {'relative_attention_num_buckets': 2}):
        with pytest.raises(UserError, match=r'T5Config\.relative_attention'):
            T5Config(**knobs)
    least = T5Config(relative_attention_num_buckets=4, relative_attention_max_distance=3)
    # The decoder has all of the buckets, the encoder half of them for each sign.
    for buckets in (4, 2):
        found = buckets_of_distances(buckets, least.relative_attention_max_distance)
        assert found[:2].tolist() == [0, 1]
        assert found.min() == 0
        assert found.max() < buckets
