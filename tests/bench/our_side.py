"""Our side of the training benchmarks: the compiled train step, fed from a packed folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from fsa_jax.configs import MeshConfig, OptimizerConfig, RowsConfig, T5Config, TrainConfig
from fsa_jax.partition import Partition
from fsa_jax.train.feed import Feed
from fsa_jax.train.job import prepare
from fsa_jax.train.step import compile_train_step

if jax.default_backend() != 'cpu':
    # XLA would take TF32 where torch multiplies in float32
    jax.config.update('jax_default_matmul_precision', 'float32')


class Trainer:
    """Optimizer steps on the batch of step 0, for any rows and dtype; one state serves them all."""

    def __init__(self, packed: Path, model: dict[str, Any]):
        self._packed, self._model = packed, model
        self._state: Any = None

    def step(
        self, rows: RowsConfig, split: str, dtype: str, steps: int = 1, **changes: Any
    ) -> Callable[[], None]:
        """A function that makes and sends the batch for each of `steps`, and returns when all are finished.

        `changes` are fields of T5Config.
        """
        train = TrainConfig(data=str(self._packed), split=split, validation_split='', steps=1000)
        model = T5Config(**(self._model | {'dtype': dtype} | changes))
        optimizer = OptimizerConfig(name='adamw_scale', schedule='released', learning_rate=2e-3)
        job = prepare(train, model, rows, optimizer, Partition.from_config(MeshConfig()))
        step = compile_train_step(job.loss, job.optimizer, train, job.partition, job.shardings)
        feed = Feed(job.rows, job.partition)
        if self._state is None:
            self._state = job.start()

        def run() -> None:
            with job.partition.context():
                for _ in range(steps):
                    self._state, metrics = step(self._state, feed.at(0).arrays)
            jax.block_until_ready((self._state, metrics))

        return run
