"""Run by test_train_devices.py in a process with eight devices: `python -m … PACKED OUTPUT CACHE`.

Trains with each preset, then lays one preset's state out over fewer devices.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fsa_jax.configs import MeshConfig, TrainConfig
from fsa_jax.model.layers import random_words
from fsa_jax.partition import Partition
from fsa_jax.train.checkpoint import Checkpoints
from fsa_jax.train.job import prepare
from tests import training

MESHES = {
    'dp': {},
    'fsdp': {'fsdp': 4},
    'fsdp_tp': {'fsdp': 2, 'tensor': 2},
}
NARROW = training.SMALLEST | {'num_layers': 2, 'num_decoder_layers': 2}
KNOBS = {'steps': 20, 'layout': 'packed', 'encoder_length': 32, 'decoder_length': 48}
KNOBS |= {'validation_split': '', 'learning_rate': 1e-3, 'tensorboard': False} | NARROW
# Four seeds on eight devices: the mesh is seed 4 x data 2.
SEEDS = {'steps': 20, 'seeds': (1, 2, 3, 4), 'learning_rate': 1e-3, 'tensorboard': False} | NARROW


def main(packed: Path, output: Path, cache: Path) -> None:
    assert jax.device_count() == 8
    for preset, mesh in MESHES.items():
        training.train(packed, output / preset, cache, **KNOBS, **mesh, preset=preset)
    training.train(packed, output / 'seeds', cache, **SEEDS)
    assert_dropout_words_are_those_of_one_device()
    assert_gradients_are_sent_in_the_dtype_asked_for()
    restored = [np.concatenate([x.ravel() for x in map(np.asarray, jax.tree.leaves(state))])
                for state in restore_on_fewer(packed, output / 'fsdp_tp', cache)]  # fmt: skip
    for state in restored[1:]:
        np.testing.assert_array_equal(state, restored[0])


def assert_dropout_words_are_those_of_one_device() -> None:
    partition = Partition.from_config(MeshConfig(data=4, fsdp=2))
    key = jax.random.key(3)
    for shape in (8, 5, 7), (4, 3, 2, 9):

        def words(_, batch, key, shape=shape):
            drawn = random_words(key, (batch.shape[1], *shape[1:]))
            return jax.lax.all_gather(drawn, 'data', tiled=True)

        with partition.context():
            drawn = jax.jit(partition.data_parallel(words))(0, jnp.zeros((1, shape[0])), key)
        np.testing.assert_array_equal(drawn, jax.random.bits(key, shape, jnp.uint32))


def assert_gradients_are_sent_in_the_dtype_asked_for() -> None:
    """1 + 2^-10 is no bfloat16: each of the four shards sends 1."""
    partition = Partition.from_config(MeshConfig(data=4, fsdp=2))
    for dtype, total in ('float32', 4 + 2**-8), ('bfloat16', 4):

        def summed(x, batch, dtype=dtype):
            return partition.sum_over_data(x, dtype)

        with partition.context():
            sent = jax.jit(partition.data_parallel(summed))(
                jnp.float32(1 + 2**-10), jnp.zeros((1, 8))
            )
        assert sent == total


def restore_on_fewer(packed: Path, folder: Path, cache: Path):
    """The state of a run on 2 x 2 x 2 devices, restored there and on fewer."""
    train, model, rows, optimizer, *_ = training.configs(packed, cache, **KNOBS)
    assert isinstance(train, TrainConfig)
    checkpoints = Checkpoints(folder, keep=1, best_step=lambda: None)
    for mesh, count in (
        (MeshConfig(fsdp=2, tensor=2, preset='fsdp_tp'), 8),
        (MeshConfig(fsdp=4, preset='fsdp'), 4),
        (MeshConfig(), 1),
    ):
        partition = Partition.from_config(mesh, jax.devices()[:count])
        job = prepare(train, model, rows, optimizer, partition)
        state = checkpoints.restore(job.abstract)
        assert state is not None
        assert len(state.params['token_embedder']['embedding'].sharding.device_set) == count
        yield state
    checkpoints.close()


if __name__ == '__main__':
    main(*map(Path, sys.argv[1:]))
