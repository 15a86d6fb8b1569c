"""How microbatches are averaged, and how batches reach the devices."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsa_jax.configs import MeshConfig, RowsConfig, T5Config, TrainConfig
from fsa_jax.data.rows import Rows
from fsa_jax.data.store import PackedFolder
from fsa_jax.model.t5 import abstract_params
from fsa_jax.partition import Partition
from fsa_jax.train.feed import Feed, local_rows, prefetch
from fsa_jax.train.state import TrainState
from fsa_jax.train.step import (
    Loss,
    Sums,
    compiler_options,
    gradients,
    microbatch_scales,
    train_step,
)
from fsa_jax.train.validate import mean_losses
from tests import training

WEIGHTS = jnp.array([[[1, 1, 1, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]], jnp.float32)


def test_scales_of_microbatches():
    """3, 1 and 0 tokens: by hand. A microbatch of padding rows alone is no microbatch."""
    np.testing.assert_allclose(microbatch_scales(WEIGHTS, 'tokens'), [1 / 4, 1 / 4, 1 / 4])
    np.testing.assert_allclose(microbatch_scales(WEIGHTS, 'microbatch'), [1 / 6, 1 / 2, 0])


@pytest.mark.parametrize(
    ('average', 'gradient'),
    [('tokens', (2 + 3 + 4 + 10) / 4), ('microbatch', ((2 + 3 + 4) / 3 + 10) / 2)],
)
def test_a_step_follows_the_averaged_gradient(average, gradient):
    """The loss of a token is w * x, for x of 2, 3, 4 in one microbatch and 10 in the other."""
    x = jnp.array([[[2, 3, 4, 7]], [[10, 7, 7, 7]], [[7, 7, 7, 7]]], jnp.float32)

    def loss(params, batch, scale, key):
        summed = jnp.sum(params['w'] * batch['x'] * batch['decoder_loss_weights'])
        return scale * summed, Sums(summed[None], jnp.sum(batch['decoder_loss_weights'])[None])

    sgd, params = optax.sgd(1.0), {'w': jnp.float32(0)}
    state = TrainState.create(params, sgd)
    batch = {'x': x, 'decoder_loss_weights': WEIGHTS}
    after, metrics = train_step(partial(gradients, loss), sgd, average, 0, state, batch)
    assert after.params['w'] == pytest.approx(-gradient)
    assert metrics.grad_norm == pytest.approx(gradient)
    assert metrics.sums.tokens == 4
    assert after.step == 1


def test_each_step_and_each_microbatch_has_its_own_dropout_key():
    keys = []

    def loss(params, batch, scale, key):
        jax.debug.callback(
            lambda drawn: keys.append(tuple(drawn.tolist())), jax.random.key_data(key)
        )
        return params['w'] * 0, Sums(jnp.zeros(1), jnp.zeros(1))

    sgd, params = optax.sgd(1.0), {'w': jnp.float32(0)}
    for step in (0, 1):
        state = TrainState(jnp.int32(step), params, sgd.init(params))
        batch = {'decoder_loss_weights': WEIGHTS}
        train_step(partial(gradients, loss), sgd, 'tokens', 0, state, batch)
    jax.effects_barrier()
    assert len(set(keys)) == 2 * len(WEIGHTS)


def test_mean_losses_weigh_tasks_by_their_tokens():
    sums = Sums(jnp.array([6.0, 1.0, 0.0]), jnp.array([3.0, 1.0, 0.0]))
    assert mean_losses(sums, ['a', 'b', 'c']) == {'loss': 7 / 4, 'loss/a': 2.0, 'loss/b': 1.0}
    assert mean_losses(Sums(jnp.ones(1), jnp.ones(1)), ['a']) == {'loss': 1.0}


def test_the_feed_gives_the_rows_of_the_plan_as_microbatches(tmp_path, tiny_spiece):
    packed = PackedFolder(training.pack(tmp_path / 'p', tiny_spiece, train=12))
    config = RowsConfig(layout='pairs', batch_size=8, microbatches=2, buckets=1)
    rows = Rows(packed.stores('train'), config)
    fed = Feed(rows, Partition.from_config(MeshConfig())).at(1)
    expected = rows.batch_at(1)
    assert expected.keys() == fed.arrays.keys()
    for name, x in expected.items():
        np.testing.assert_array_equal(fed.arrays[name], x.reshape(2, 4, -1))
    assert (fed.pairs, fed.epoch, fed.ends_epoch) == (4, 0, True)  # 12 = 8 + 4: a short last batch
    real = sum(len(x) for pair in map(packed.store('t', 'train').pair, range(12)) for x in pair)
    assert sum(Feed(rows, Partition.from_config(MeshConfig())).at(i).tokens for i in (0, 1)) == real


def test_a_process_reads_the_rows_of_its_devices():
    sharding = Partition.from_config(MeshConfig()).microbatches
    np.testing.assert_array_equal(local_rows(sharding, (3, 2)), np.arange(6))


def test_prefetch_keeps_order_and_passes_errors_on():
    assert list(prefetch(lambda i: i * i, range(7))) == [i * i for i in range(7)]

    def fails_at_3(i):
        if i == 3:
            raise KeyError(i)
        return i

    made = prefetch(fails_at_3, range(9))
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(made)


def test_activations_are_constrained_in_the_context_of_a_partition():
    """Flax drops its constraints in silence where no mesh or no rules are in force."""
    partition = Partition.from_config(MeshConfig())
    config = T5Config(**training.STUDENT)
    loss = Loss(config, TrainConfig(), 1, partition)
    tokens = jax.ShapeDtypeStruct((4, 8), jnp.int32)
    names = ('encoder_input_tokens', 'decoder_input_tokens', 'decoder_target_tokens')
    batch = dict.fromkeys((*names, 'decoder_task_ids'), tokens)
    batch['decoder_loss_weights'] = jax.ShapeDtypeStruct((4, 8), jnp.float32)

    def constraints():
        lowered = jax.jit(lambda p, b: loss(p, b)).lower(abstract_params(config), batch)
        return [line for line in lowered.as_text().splitlines() if 'sharding_constraint' in line]

    assert not constraints()
    with partition.context():
        spread = [line for line in constraints() if '"data", "fsdp"' in line]
    assert len(spread) > 10  # embeddings, and heads, mlp and residuals of the scanned layers


def test_options_of_the_compilers():
    """On GPUs sums in one order if asked for, by an option that XLA knows; on TPUs none but for remat."""

    def options(platform: str, remat: str = 'none', kind: str = '', **knobs):
        device = SimpleNamespace(platform=platform, device_kind=kind)
        partition = SimpleNamespace(device=device)
        return compiler_options(TrainConfig(**knobs), T5Config(remat=remat), partition)

    asked = options('gpu')
    assert asked == {'xla_gpu_deterministic_ops': True}
    assert jax.jit(jnp.sin, compiler_options=asked)(0.0) == 0.0
    with pytest.raises(Exception, match='No such compile option'):
        jax.jit(jnp.cos, compiler_options={'xla_gpu_no_such_option': True})(0.0)
    assert options('gpu', deterministic=False) == options('cpu') == options('tpu') == {}
    assert options('tpu', 'full') == options('cpu', 'minimal') == {}
    unfused = {'xla_tpu_dot_dot_fusion': False}
    assert options('tpu', 'minimal') == options('tpu', 'full', 'TPU v6 lite') == unfused
    assert options('tpu', 'none', 'TPU v6 lite') == {}
