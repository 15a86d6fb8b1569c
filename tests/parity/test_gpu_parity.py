"""The model, the training step and the generator on an NVIDIA GPU against the same on the CPU, in float32."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsa_jax.configs import DecodeConfig, MeshConfig, T5Config
from fsa_jax.decode import Generator
from fsa_jax.model.t5 import T5, init_params
from fsa_jax.partition import Partition
from fsa_jax.train.job import prepare
from fsa_jax.train.seeds import SeedGroup
from fsa_jax.train.step import compile_train_step
from tests import training

pytestmark = pytest.mark.gpu

CONFIG = T5Config(
    vocab_size=101, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4
)


def gpus() -> list[jax.Device]:
    """The NVIDIA GPUs, or the test is skipped."""
    try:
        return jax.devices('cuda')
    except RuntimeError as error:
        pytest.skip(f'no NVIDIA GPU for JAX (extra cuda): {str(error).splitlines()[0][:80]}')


def relative_error(a, b) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())


@pytest.mark.parametrize('feed_forward', ['relu', 'gated-gelu'])
def test_logits_and_gradients(feed_forward):
    device = gpus()[0]
    config = CONFIG.replace(
        feed_forward_proj=feed_forward, tie_word_embeddings=feed_forward == 'relu'
    )
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, 101, (3, 17)), rng.integers(2, 101, (3, 11))
    weights = rng.normal(size=(3, 11, 101)).astype(np.float32)

    def loss(params):
        logits = T5(config).apply({'params': params}, *map(jnp.asarray, tokens))
        return jnp.sum(logits * weights), logits

    found = []
    for place in (device, jax.devices('cpu')[0]):
        with jax.default_device(place):
            params = jax.device_put(init_params(config, jax.random.key(0)), place)
            (_, logits), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
            found.append((logits, grads))
    (logits, grads), (expected, expected_grads) = found
    assert logits.devices() == {device}
    assert relative_error(logits, expected) < 2e-5
    for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(expected_grads)):
        assert relative_error(ours, theirs) < 1e-4


@pytest.fixture
def configs(tmp_path, tiny_spiece):
    """TrainConfig, T5Config, RowsConfig, OptimizerConfig of five steps of a small student."""
    packed = training.pack(tmp_path / 'packed', tiny_spiece)

    def with_knobs(**knobs):
        knobs = {'steps': 5, 'batch_size': 16, 'validation_split': ''} | knobs
        return training.configs(packed, tmp_path / 'xla', **knobs)[:4]

    return with_knobs


def losses(job, steps: int) -> list[float]:
    """Of the first steps of a job, on the devices of its mesh."""
    with job.partition.context():
        step = compile_train_step(job.loss, job.optimizer, job.train, job.partition, job.shardings)
        state, found = job.start(), []
        for number in range(steps):
            batch = job.rows.batch_at(number)
            place = partial(jax.device_put, device=job.partition.microbatches)
            state, metrics = step(state, {k: place(x[None]) for k, x in batch.items()})
            found.append(float(metrics.objective))
    return found


def test_the_first_losses_of_all_gpus_are_those_of_the_cpu(configs):
    """With dropout: its masks depend on no device."""
    devices = gpus()
    train, model, rows, optimizer = configs(batch_size=16 * len(devices))
    found = [
        losses(prepare(train, model, rows, optimizer, Partition.from_config(mesh, place)), 5)
        for mesh, place in (
            (MeshConfig(), devices),
            (MeshConfig(), devices[:1]),
            (MeshConfig(), jax.devices('cpu')[:1]),
        )
    ]
    assert found[0] == pytest.approx(found[2], rel=1e-4)
    assert found[1] == pytest.approx(found[2], rel=1e-4)


def test_a_run_again_is_bitwise_the_same(configs):
    """What exact resumption rests on."""
    device = gpus()[:1]
    job = prepare(*configs(steps=20), Partition.from_config(MeshConfig(), device))
    assert losses(job, 20) == losses(job, 20)


def test_seeds_together_are_the_seeds_alone(configs):
    device = gpus()[:1]
    train, model, rows, optimizer = configs(validation_split='validation')
    partition = Partition.from_config(MeshConfig(), device)
    group = SeedGroup(
        train.replace(seeds=(42, 43)), model, rows, optimizer, partition, DecodeConfig()
    )
    with group.partition.context():
        step, state, together = group.compile_train_step(), group.start(), []
        for number in range(5):
            state, metrics = step(state, group.feed(number).arrays)
            together.append(np.asarray(metrics.objective))
    for column, seed in enumerate((42, 43)):
        own = train.replace(seed=seed), model, rows.replace(seed=seed), optimizer, partition
        alone = losses(prepare(*own), 5)
        assert [float(row[column]) for row in together] == pytest.approx(alone, rel=1e-4)


def test_generated_ids_are_those_of_the_cpu():
    device = gpus()[0]
    inputs = [list(range(2, 2 + length)) for length in (3, 17, 9)]
    found = []
    for place in (device, jax.devices('cpu')[0]):
        with jax.default_device(place):
            params = jax.device_put(init_params(CONFIG, jax.random.key(1)), place)
            found.append(Generator(CONFIG, DecodeConfig(batch_size=3)).generate(params, inputs, 12))
    assert found[0] == found[1]
