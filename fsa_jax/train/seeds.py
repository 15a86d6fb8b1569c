"""Seeds that train together: the step of a run, mapped over a leading axis of seeds.

A run alone with TrainConfig.seed and RowsConfig.seed set to one of them has the same initial weights,
the same batches and the same dropout keys. Its dropout masks are the same too where its batches have
the same shape: always with RowsConfig.buckets=1; with more, the batch of a step is padded to what the
longest of the seeds needs.
"""

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float

from fsa_jax.configs import DecodeConfig, OptimizerConfig, RowsConfig, T5Config, TrainConfig
from fsa_jax.decode.group import GroupGenerator
from fsa_jax.errors import UserError
from fsa_jax.model.t5 import Params
from fsa_jax.partition import DATA, FSDP, SEED, Partition, spread
from fsa_jax.train.checkpoint import stack_abstract
from fsa_jax.train.feed import Fed
from fsa_jax.train.job import Job, prepare
from fsa_jax.train.metrics import VALIDATION, sign
from fsa_jax.train.state import GroupState, TrainState
from fsa_jax.train.step import StepMetrics, Sums, compiler_options, gradients, train_step
from fsa_jax.train.validate import Validator, mean_f1s, mean_losses

_STACKED: Any = TrainState(step=None, params=0, opt_state=0)  # type: ignore[arg-type]


class SeedGroup:
    """The seeds of a job, and what is compiled for them. All share the job's data and start."""

    def __init__(
        self,
        train: TrainConfig,
        model: T5Config,
        rows: RowsConfig,
        optimizer: OptimizerConfig,
        partition: Partition,
        decode: DecodeConfig,
    ):
        """UserError where the configs do not fit together, or do not fit several seeds."""
        if rows.layout != 'pairs':
            raise UserError(
                "TrainConfig.seeds needs RowsConfig.layout='pairs': packed rows differ in number from "
                'seed to seed'
            )
        if train.gradient_dtype != 'float32':
            raise UserError(
                f'TrainConfig.seeds sums gradients in float32; got TrainConfig.gradient_dtype='
                f'{train.gradient_dtype!r}'
            )
        self.seeds = train.seeds
        self.partition = partition.over_seeds(len(self.seeds))
        first = train.replace(seed=self.seeds[0]), model, rows.replace(seed=self.seeds[0])
        self.job: Job = prepare(*first, optimizer, self.partition, decode)
        if not self.job.metric:
            raise UserError(
                'seeds that train together keep the best of each, so they need a validation split and '
                f'a metric; got TrainConfig.validation_split={train.validation_split!r}, metric='
                f'{train.metric!r}'
            )
        self.rows = [self.job.rows.with_seed(seed) for seed in self.seeds]
        self._decode = decode

    # -- the state -----------------------------------------------------------------------------

    def _sharding(self, sharding: NamedSharding) -> NamedSharding:
        return NamedSharding(sharding.mesh, PartitionSpec(SEED, *sharding.spec))

    @cached_property
    def shardings(self) -> GroupState:
        """Where each array of the state lies: as that of a run alone, the seeds over their own axis."""
        one = self.job.shardings
        stacked = jax.tree.map(self._sharding, (one.params, one.opt_state))
        replicated: Any = self.partition.replicated
        return GroupState(TrainState(one.step, *stacked), stacked[0], replicated, replicated)

    @cached_property
    def abstract(self) -> GroupState:
        """Shapes, dtypes and shardings of the state."""
        one, count = self.job.abstract, len(self.seeds)
        params, opt_state = stack_abstract((one.params, one.opt_state), count)
        current = TrainState(jax.ShapeDtypeStruct((), jnp.int32), params, opt_state)  # type: ignore[arg-type]
        state = jax.eval_shape(GroupState.create, current)
        return jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, self.shardings
        )

    def start(self) -> GroupState:
        """The state before the first step: each seed as `Job.start` of its own run."""
        create: Callable[[Any], TrainState]
        if self.job.init is None:
            what: Any = jnp.stack([jax.random.key(seed) for seed in self.seeds])
            create = jax.vmap(self.job.create, out_axes=_STACKED)
        else:
            what = self.job.init_params()
            create = jax.vmap(self.job.from_params, None, _STACKED, axis_size=len(self.seeds))
        start = jax.jit(lambda x: GroupState.create(create(x)), out_shardings=self.shardings)
        return start(what)

    # -- what is compiled ----------------------------------------------------------------------

    @cached_property
    def _batches(self) -> NamedSharding:
        """Of an array [seed, microbatch, row, slot]."""
        return NamedSharding(self.partition.mesh, PartitionSpec(SEED, None, (DATA, FSDP)))

    def compile_train_step(self) -> jax.stages.Wrapped:
        """(GroupState, batches) -> (GroupState, StepMetrics by seed). The state is consumed."""
        job, seeds = self.job, jnp.array(self.seeds, jnp.uint32)

        def constrain(grads):
            return jax.lax.with_sharding_constraint(grads, job.shardings.params)

        of_loss = partial(gradients, job.loss, constrain=constrain)

        def one(seed, state: Any, batch):
            return train_step(of_loss, job.optimizer, job.train.loss_average, seed, state, batch)

        each = jax.vmap(one, in_axes=(0, _STACKED, 0), out_axes=(_STACKED, 0), spmd_axis_name=SEED)

        def step(state: GroupState, batch) -> tuple[GroupState, StepMetrics]:
            current, metrics = each(seeds, state.current, batch)
            return dataclasses.replace(state, current=current), metrics

        return jax.jit(
            step,
            in_shardings=(self.shardings, self._batches),
            out_shardings=(self.shardings, self.partition.replicated),
            donate_argnums=0,
            compiler_options=compiler_options(job.train, job.config, self.partition),
        )

    def compile_offer(self) -> jax.stages.Wrapped:
        """`GroupState.offer`; the state is consumed."""
        return jax.jit(GroupState.offer, out_shardings=self.shardings, donate_argnums=0)

    def validator(self) -> 'GroupValidator':
        """What evaluates all seeds on the job's validation data."""
        job = self.job

        def one(params, batch):
            return job.validation_loss(params, jax.tree.map(lambda x: x[0], batch))[1]

        step = jax.jit(
            jax.vmap(one, in_axes=(0, None), spmd_axis_name=SEED),
            in_shardings=(self.shardings.best, self.partition.microbatches),
            out_shardings=self.partition.replicated,
        )
        generator: Any = GroupGenerator(job.config, self._decode, self.partition)
        rows, examples = job.rows.config, job.train.evaluate_examples
        return GroupValidator(
            job.validation, rows, job.vocabulary, step, generator, self.partition, examples
        )

    # -- batches -------------------------------------------------------------------------------

    def feed(self, step: int) -> Fed:
        """The batches of a step, arrays [seed, microbatch, row, slot]; counts are of all seeds."""
        batches = [rows.batch_at(step) for rows in self.rows]
        arrays = {name: self._placed([b[name] for b in batches]) for name in batches[0]}
        tokens = sum(
            np.count_nonzero(b['encoder_input_tokens'])
            + np.count_nonzero(b['decoder_loss_weights'])
            for b in batches
        )
        rows = self.rows[0]
        epoch, _ = rows.epoch_at(step)
        ends_epoch = rows.epoch_at(step + 1)[1] == 0
        pairs = rows.pairs_at(step) * len(self.rows)
        return Fed(step, arrays, pairs, int(tokens), epoch, ends_epoch)

    def _placed(self, arrays: list[np.ndarray]) -> jax.Array:
        slots = max(x.shape[1] for x in arrays)
        padded = [np.pad(x, ((0, 0), (0, slots - x.shape[1]))) for x in arrays]
        microbatches = self.job.rows.config.microbatches
        stacked = np.stack(padded).reshape(len(arrays), microbatches, -1, slots)
        return spread(stacked, self._batches)


class GroupValidator(Validator):
    """Evaluates params with a leading axis of seeds."""

    def evaluate_each(self, params: Params, stop: Callable[[], bool]) -> list[dict[str, float]]:
        """Of each seed what `Validator.evaluate` says of its run alone."""
        sums = jax.tree.map(np.asarray, self._sums(params, stop))
        losses = [
            mean_losses(Sums(*of_seed), self._rows.tasks, VALIDATION)
            for of_seed in zip(sums.loss, sums.tokens)
        ]
        f1s: list[dict[str, float]] = [{} for _ in losses]
        for task, store in self._scored.items():
            by_row: Any = list(self._generate(params, store, stop))
            for number, values in enumerate(f1s):
                values[task] = self._score(store, [of_row[number] for of_row in by_row])
        return [loss | mean_f1s(values) for loss, values in zip(losses, f1s)]


def ranked(values: list[dict[str, float]], metric: str) -> Float[np.ndarray, 'seeds']:
    """The metric of each seed, so that higher is better."""
    return np.array([sign(metric) * of_seed[metric] for of_seed in values], np.float32)
