"""Batches: what a row looks like, that SeqIO would make the same, and that layouts agree."""

import numpy as np
import pytest

from fsa_jax.configs import RowsConfig
from fsa_jax.data.rows import Rows
from fsa_jax.data.store import TokenBatch, TokenStore
from fsa_jax.data.store_writer import StoreWriter
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError

SIDES = ('encoder', 'decoder')


def random_pairs(n: int, seed: int = 0, longest=(12, 20)) -> list[tuple[list[int], list[int]]]:
    rng = np.random.default_rng(seed)

    def side(most):
        return [*rng.integers(3, 150, rng.integers(0, most)).tolist(), 1]

    return [(side(longest[0]), side(longest[1])) for _ in range(n)]


@pytest.fixture
def store(tmp_path, tiny_spiece):
    vocabulary = Vocabulary(tiny_spiece)

    def make(pairs, task='t', rate=1.0) -> TokenStore:
        with StoreWriter(
            tmp_path / task, vocabulary, task=task, split='train', rate=rate
        ) as writer:
            writer.write(TokenBatch.from_pairs(pairs))
        return TokenStore.open(tmp_path / task)

    return make


def pairs_of(batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The pairs in a batch, packed or not, sorted; reads segment ids alone where there are any."""
    found = []
    inputs, targets = batch['encoder_input_tokens'], batch['decoder_target_tokens']
    for row in range(len(inputs)):
        if 'encoder_segment_ids' not in batch:
            if batch['decoder_loss_weights'][row].any():
                ends = [int(np.flatnonzero(side[row] == 1)[0]) + 1 for side in (inputs, targets)]
                found.append(
                    tuple(tuple(s[row, :e].tolist()) for s, e in zip((inputs, targets), ends))
                )
            continue
        segments = [batch[f'{side}_segment_ids'][row] for side in SIDES]
        for segment in range(1, segments[0].max() + 1):
            pair = (inputs[row][segments[0] == segment], targets[row][segments[1] == segment])
            found.append(tuple(tuple(side.tolist()) for side in pair))
    return sorted(found)


def epoch_of(rows: Rows, epoch: int = 0) -> list:
    first = sum(rows.steps_per_epoch(e) for e in range(epoch))
    steps = range(first, first + rows.steps_per_epoch(epoch))
    return sorted(pair for step in steps for pair in pairs_of(rows.batch_at(step)))


def as_tuples(pairs) -> list:
    return sorted((tuple(inputs), tuple(targets)) for inputs, targets in pairs)


def test_the_packed_row_of_the_docstring(store):
    stores = {
        'a': store([([7, 8, 5, 1], [3, 9, 1])], 'a'),
        'b': store([([2, 1], [1])], 'b', rate=0.0),
        'c': store([([8, 4, 1], [4, 1])], 'c'),
    }
    config = RowsConfig(encoder_length=8, decoder_length=8, batch_size=1, shuffle=False)
    batch = Rows(stores, config).batch_at(0)
    assert {name: array.tolist() for name, array in batch.items()} == {
        'encoder_input_tokens': [[7, 8, 5, 1, 8, 4, 1, 0]],
        'encoder_segment_ids': [[1, 1, 1, 1, 2, 2, 2, 0]],
        'encoder_positions': [[0, 1, 2, 3, 0, 1, 2, 0]],
        'decoder_target_tokens': [[3, 9, 1, 4, 1, 0, 0, 0]],
        'decoder_input_tokens': [[0, 3, 9, 0, 4, 0, 0, 0]],
        'decoder_loss_weights': [[1, 1, 1, 1, 1, 0, 0, 0]],
        'decoder_segment_ids': [[1, 1, 1, 2, 2, 0, 0, 0]],
        'decoder_positions': [[0, 1, 2, 0, 1, 0, 0, 0]],
        'decoder_task_ids': [[0, 0, 0, 2, 2, 0, 0, 0]],
    }
    assert {array.dtype.name for array in batch.values()} == {'int32', 'float32'}
    assert batch['decoder_loss_weights'].dtype == np.float32


def test_the_pairs_rows_of_the_docstring(store):
    stores = {'a': store([([7, 8, 5, 1], [3, 9, 1])], 'a'), 'c': store([([8, 4, 1], [4, 1])], 'c')}
    config = RowsConfig(layout='pairs', batch_size=3, shuffle=False)
    batch = Rows(stores, config).batch_at(0)
    assert {name: array[:, :4].tolist() for name, array in batch.items()} == {
        'encoder_input_tokens': [[7, 8, 5, 1], [8, 4, 1, 0], [0, 0, 0, 0]],
        'decoder_target_tokens': [[3, 9, 1, 0], [4, 1, 0, 0], [0, 0, 0, 0]],
        'decoder_input_tokens': [[0, 3, 9, 1], [0, 4, 1, 0], [0, 0, 0, 0]],
        'decoder_loss_weights': [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
        'decoder_task_ids': [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
    }


@pytest.mark.parametrize('layout', ['packed', 'pairs'])
def test_every_pair_once_an_epoch_in_another_order(store, layout):
    pairs = random_pairs(101)
    config = RowsConfig(layout=layout, encoder_length=24, decoder_length=40, batch_size=8)
    rows = Rows({'t': store(pairs)}, config)
    assert epoch_of(rows) == epoch_of(rows, 1) == as_tuples(pairs)
    first, second = rows.batch_at(0), rows.batch_at(rows.steps_per_epoch(0))
    assert not np.array_equal(first['encoder_input_tokens'], second['encoder_input_tokens'])
    assert sum(rows.pairs_at(step) for step in range(rows.steps_per_epoch())) == 101
    last = rows.steps_per_epoch() - 1
    assert rows.epoch_at(last) == (0, last)
    assert rows.epoch_at(last + 1) == (1, 0)


@pytest.mark.parametrize('layout', ['packed', 'pairs'])
def test_a_batch_depends_on_its_step_alone(store, layout):
    stores = {'a': store(random_pairs(60), 'a'), 'b': store(random_pairs(31, 1), 'b')}
    config = RowsConfig(
        layout=layout, encoder_length=24, decoder_length=40, batch_size=8, rates={'a': 1, 'b': 2}
    )
    rows = Rows(stores, config)
    batches = [rows.batch_at(step) for step in range(40)]
    assert rows.epoch_at(39)[0] > 1
    for step in (39, 3, 20):
        resumed = Rows(stores, config).batch_at(step)
        for name, array in batches[step].items():
            np.testing.assert_array_equal(resumed[name], array)
    other = Rows(stores, config.replace(seed=7)).batch_at(3)['encoder_input_tokens']
    assert not np.array_equal(other[:, :8], batches[3]['encoder_input_tokens'][:, :8])


def test_hosts_read_their_own_rows_of_one_batch(store):
    for layout in ('packed', 'pairs'):
        config = RowsConfig(layout=layout, encoder_length=24, decoder_length=40, batch_size=8)
        rows = Rows({'t': store(random_pairs(30), layout)}, config)
        for step in range(rows.steps_per_epoch()):
            whole = rows.batch_at(step)
            halves = [rows.batch_at(step, slice(0, 4)), rows.batch_at(step, slice(4, 8))]
            for name, array in whole.items():
                np.testing.assert_array_equal(np.concatenate([h[name] for h in halves]), array)


def test_rates_apply_and_tasks_are_told_apart(store):
    stores = {'a': store(random_pairs(50), 'a'), 'b': store(random_pairs(10, 1), 'b')}
    config = RowsConfig(
        layout='pairs', batch_size=10, rates={'a': 3, 'b': 2}, epoch='total', encoder_length=0
    )
    rows = Rows(stores, config)
    tasks = [
        int(task)
        for step in range(rows.steps_per_epoch())
        for task in rows.batch_at(step)['decoder_task_ids'].max(axis=1)
    ]
    assert (len(tasks), sum(tasks)) == (60, 24)
    largest = Rows(stores, config.replace(epoch='largest'))
    assert largest.steps_per_epoch() == 9  # 50 / 0.6 pairs
    counted = Rows(stores, config.replace(epoch='steps', epoch_steps=4))
    assert counted.steps_per_epoch() == 4
    assert counted.epoch_at(13) == (3, 1)
    np.testing.assert_array_equal(
        counted.batch_at(13)['encoder_input_tokens'], rows.batch_at(13)['encoder_input_tokens']
    )


def test_once_reads_every_pair_whatever_the_rates(store):
    pairs = random_pairs(20), random_pairs(5, 1)
    stores = {'a': store(pairs[0], 'a', rate=0.0), 'b': store(pairs[1], 'b', rate=9.0)}
    config = RowsConfig(encoder_length=24, decoder_length=40, batch_size=4, rates={'a': 0, 'b': 1})
    for layout in ('packed', 'pairs'):
        rows = Rows.once(stores, config.replace(layout=layout))
        assert epoch_of(rows) == as_tuples(pairs[0] + pairs[1])


def test_unfit_rates_are_refused(store):
    stores = {'a': store(random_pairs(5), 'a'), 'b': store([], 'b')}
    for rates, message in (
        ({'a': 1.0}, r"not \['b'\]"),
        ({'a': 1.0, 'b': 1.0}, "'b' wants pairs of an empty store"),
        ({'a': -1.0, 'b': 0.0}, "'a' is below 0"),
        ({'a': 0.0, 'b': 0.0}, 'has a rate above 0'),
        ({'a': 1.0, 'b': 0.0, 'aa': 1.0}, r"no task 'aa' among a, b \(did you mean 'a'"),
    ):
        with pytest.raises(UserError, match=message):
            Rows(stores, RowsConfig(rates=rates))


def test_pairs_have_few_shapes_that_hold_the_longest(store):
    pairs = random_pairs(300, longest=(60, 100))
    config = RowsConfig(layout='pairs', batch_size=4, encoder_length=0, decoder_length=0, buckets=3)
    rows = Rows({'t': store(pairs)}, config)
    batches = [rows.batch_at(step) for step in range(rows.steps_per_epoch())]
    for name in ('encoder_input_tokens', 'decoder_target_tokens'):
        assert 1 < len({batch[name].shape[1] for batch in batches}) <= 3
        assert min(batch[name].any(axis=0).sum() for batch in batches) < 40
    assert epoch_of(rows) == as_tuples(pairs)


def test_a_longer_pair_is_cut_to_the_row_and_said(store):
    pairs = [([5] * 9 + [1], [6] * 3 + [1]), ([5, 1], [6] * 8 + [1])]
    for layout in ('packed', 'pairs'):
        config = RowsConfig(layout=layout, encoder_length=6, decoder_length=5, batch_size=2)
        rows = Rows({'t': store(pairs, layout)}, config)
        cut = [([5] * 5 + [1], [6] * 3 + [1]), ([5, 1], [6] * 4 + [1])]
        assert epoch_of(rows) == as_tuples(cut)
        assert rows.cut == 2
        assert '2 pairs are longer than RowsConfig.encoder_length' in rows.describe()


def test_fill_is_the_share_of_slots_with_a_token(store):
    rows = Rows(
        {'t': store(random_pairs(70))},
        RowsConfig(encoder_length=24, decoder_length=40, batch_size=1),
    )
    batches = [rows.batch_at(step) for step in range(rows.steps_per_epoch())]
    real = [np.mean([(b[f'{side}_segment_ids'] > 0).mean() for b in batches]) for side in SIDES]
    fill = rows.fill()
    assert (fill.encoder, fill.decoder) == pytest.approx(tuple(real))
    assert fill.total == pytest.approx((24 * real[0] + 40 * real[1]) / 64)
    assert f'{70 / fill.rows:.1f} pairs a row, fill {fill.total:.2f}' in rows.describe()


def test_fill_of_pairs_counts_the_padded_shapes(store):
    config = RowsConfig(layout='pairs', encoder_length=24, decoder_length=40, batch_size=8)
    rows = Rows({'t': store(random_pairs(70))}, config)
    batches = [rows.batch_at(step) for step in range(rows.steps_per_epoch())]
    weights = [batch['decoder_loss_weights'] for batch in batches]
    share = sum(w.sum() for w in weights) / sum(w.size for w in weights)
    assert rows.fill().decoder == pytest.approx(share)


def test_seqio_would_make_the_same_batch(store):
    """SeqIO's own converters on the same pairs: equal without packing; with it the same pairs,
    and rows of the same make. Which pairs share a row is ours to choose."""
    seqio = pytest.importorskip('seqio')
    import tensorflow as tf

    pairs = random_pairs(40)
    lengths = {'inputs': 24, 'targets': 40}

    def converted(pack: bool) -> dict[str, np.ndarray]:
        dataset = tf.data.Dataset.from_generator(
            lambda: ({'inputs': i, 'targets': t} for i, t in pairs),
            output_signature={name: tf.TensorSpec([None], tf.int32) for name in lengths},
        )
        dataset = seqio.EncDecFeatureConverter(pack=pack)(dataset, task_feature_lengths=lengths)
        rows = list(dataset.as_numpy_iterator())
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    config = RowsConfig(
        encoder_length=24, decoder_length=40, batch_size=40, shuffle=False, layout='pairs'
    )
    stores = {'t': store(pairs)}
    theirs, ours = converted(pack=False), Rows(stores, config).batch_at(0)
    assert theirs.keys() == ours.keys() - {'decoder_task_ids'}
    for name, array in theirs.items():
        width = ours[name].shape[1]
        np.testing.assert_array_equal(array[:, :width], ours[name], err_msg=name)
        assert not array[:, width:].any() or name == 'decoder_input_tokens'

    theirs, ours = converted(pack=True), Rows(stores, config.replace(layout='packed')).batch_at(0)
    assert theirs.keys() == ours.keys() - {'decoder_task_ids'}
    assert pairs_of(theirs) == pairs_of(ours) == as_tuples(pairs)
    for batch in (theirs, ours):
        _check_features_follow_from_tokens_and_segments(batch)


def _check_features_follow_from_tokens_and_segments(batch) -> None:
    """Positions, decoder inputs and weights, spelt out from tokens and segment ids."""
    for side in SIDES:
        segments, positions = batch[f'{side}_segment_ids'], batch[f'{side}_positions']
        for row, slot in np.argwhere(segments > 0):
            first = np.flatnonzero(segments[row] == segments[row, slot])[0]
            assert positions[row, slot] == slot - first
    segments, targets = batch['decoder_segment_ids'], batch['decoder_target_tokens']
    for row, slot in np.argwhere(segments > 0):
        same = slot > 0 and segments[row, slot - 1] == segments[row, slot]
        expected = targets[row, slot - 1] if same else 0
        assert batch['decoder_input_tokens'][row, slot] == expected
    np.testing.assert_array_equal(batch['decoder_loss_weights'], segments > 0)


def test_both_layouts_give_the_same_loss_and_gradient(store):
    """Summed over a set of pairs, to 1e-5 relative: a packed pair sees nothing of its neighbours."""
    import jax
    import jax.numpy as jnp

    from fsa_jax.configs import T5Config
    from fsa_jax.model.t5 import T5, init_params

    model = T5Config(
        vocab_size=261,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
    )
    params = init_params(model, jax.random.key(0))

    @jax.jit
    @jax.value_and_grad
    def loss(params, batch):
        inputs = {k: v for k, v in batch.items() if k.startswith(('encoder', 'decoder_input'))}
        inputs |= {k: v for k, v in batch.items() if k.endswith(('segment_ids', 'positions'))}
        logits = T5(model).apply({'params': params}, deterministic=True, **inputs)
        log_p = jax.nn.log_softmax(logits)
        target = jnp.take_along_axis(log_p, batch['decoder_target_tokens'][..., None], -1)[..., 0]
        return -(target * batch['decoder_loss_weights']).sum()

    stores = {'t': store(random_pairs(23))}
    totals = []
    for layout in ('packed', 'pairs'):
        config = RowsConfig(
            layout=layout, encoder_length=32, decoder_length=48, batch_size=5, buckets=1
        )
        rows = Rows(stores, config)
        parts = [loss(params, rows.batch_at(step)) for step in range(rows.steps_per_epoch())]
        totals.append(jax.tree.map(lambda *x: np.sum(np.stack(x), axis=0), *parts))
    for packed, paired in zip(*map(jax.tree.leaves, totals)):
        assert np.abs(packed - paired).max() <= 1e-5 * np.abs(paired).max()


def test_a_fraction_of_the_pairs_is_seeded_and_nested(store):
    stores = {'t': store([([10 + i, 1], [5, 1]) for i in range(40)])}

    def seen(fraction, seed, epoch=0):
        config = RowsConfig(layout='pairs', batch_size=4, train_fraction=fraction, seed=seed)
        return epoch_of(Rows(stores, config), epoch)

    small, large = seen(0.1, seed=1), seen(0.5, seed=1)
    assert sorted(small) == sorted(seen(0.1, seed=1, epoch=1))
    assert (len(small), len(large), len(seen(1.0, seed=1))) == (4, 20, 40)
    assert set(small) < set(large)
    assert set(small) != set(seen(0.1, seed=2))
