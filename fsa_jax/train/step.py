"""One training step and one evaluation step, compiled over the mesh."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int

from fsa_jax.configs import T5Config, TrainConfig
from fsa_jax.losses import CHUNK_TOKENS, CPU_CHUNK_TOKENS, Objective, chunked_loss
from fsa_jax.model.t5 import T5, Params
from fsa_jax.partition import Partition
from fsa_jax.train.state import TrainState

Batch = dict[str, Array]  # SeqIO's names; [microbatch, row, slot] in training, [row, slot] else
_NOT_INPUTS = (
    'decoder_target_tokens',
    'decoder_loss_weights',
    'decoder_task_ids',
    # The tokens of a pair are contiguous in its row, so differences of slots say the same as these,
    # and the gradient of the relative bias needs no scatter from every pair of slots.
    'encoder_positions',
    'decoder_positions',
)


class Sums(NamedTuple):
    """Cross-entropy summed over the target tokens of each task, and how many those are."""

    loss: Float[Array, 'tasks']
    tokens: Float[Array, 'tasks']


class StepMetrics(NamedTuple):
    """What a step says of itself: the value that it minimises, its gradient's norm, the losses."""

    objective: Float[Array, '']
    grad_norm: Float[Array, '']
    sums: Sums


class Loss:
    """The loss of a batch as a function of params, for a model and an objective."""

    def __init__(self, config: T5Config, train: TrainConfig, tasks: int, partition: Partition):
        self.config = config
        self._model = T5(config)
        self._objective = Objective(config.vocab_size, train.label_smoothing, train.z_loss)
        self._head = 'token_embedder' if config.tie_word_embeddings else 'lm_head'
        self._tasks = tasks
        on_cpu = partition.device.platform == 'cpu'
        self.chunk_tokens = CPU_CHUNK_TOKENS if on_cpu else CHUNK_TOKENS  # of one device
        self._partition = partition

    def __call__(
        self,
        params: Params,
        batch: Batch,
        scale: Float[Array, ''] | float = 1.0,
        dropout_key: Array | None = None,
    ) -> tuple[Float[Array, ''], Sums]:
        """(`scale` * the objective summed over weighted tokens, sums by task); with dropout if a
        key is given."""
        inputs: dict[str, Any] = {k: x for k, x in batch.items() if k not in _NOT_INPUTS}
        hidden: Any = self._model.apply(
            {'params': params},
            **inputs,
            deterministic=dropout_key is None,
            rngs=None if dropout_key is None else {'dropout': dropout_key},
            method='hidden',
        )
        weights = batch['decoder_loss_weights']
        total, cross_entropy = chunked_loss(
            self._logits,
            {self._head: params[self._head]},
            hidden,
            batch['decoder_target_tokens'],
            weights * scale,
            self._objective,
            self.chunk_tokens * self._partition.shards_of_rows(),
        )
        of_task = batch['decoder_task_ids'][..., None] == jnp.arange(self._tasks)
        by_task = weights[..., None] * of_task
        sums = Sums(jnp.einsum('bt,btk->k', cross_entropy, by_task), jnp.sum(by_task, (0, 1)))
        return total, sums

    def _logits(self, head: Params, hidden: Float[Array, 'B T D']) -> Float[Array, 'B T V+P']:
        logits: Any = self._model.apply({'params': head}, hidden, method='padded_logits')
        return logits


def microbatch_scales(weights: Float[Array, 'M B T'], average: str) -> Float[Array, 'M']:
    """What each microbatch's summed loss is multiplied by: 1 / all tokens of the step ('tokens'),
    or 1 / (its tokens x microbatches that have any) ('microbatch': the paper's)."""
    tokens = jnp.sum(weights, axis=(1, 2))
    if average == 'tokens':
        return jnp.full_like(tokens, 1 / jnp.maximum(jnp.sum(tokens), 1))
    return jnp.where(tokens > 0, 1 / jnp.maximum(tokens, 1), 0) / jnp.sum(tokens > 0)


def gradients(
    loss: Callable[..., tuple[Array, Sums]],
    params: Params,
    batch: Batch,
    scales: Float[Array, 'M'],
    key: Array,
    constrain: Callable[[Params], Params] = lambda grads: grads,
) -> tuple[Params, tuple[Float[Array, ''], Sums]]:
    """(gradient, (objective, sums)) added up over the microbatches of `batch`, each scaled."""

    def gradient(number: Int[Array, ''], microbatch: Batch, scale: Float[Array, '']):
        dropout_key = jax.random.fold_in(key, number)
        values, grads = jax.value_and_grad(loss, has_aux=True)(
            params, microbatch, scale, dropout_key
        )
        # Said explicitly: the partitioner would otherwise choose, and may gather them.
        return constrain(grads), values

    def accumulate(total, inputs):
        return jax.tree.map(jnp.add, total, gradient(*inputs)), None

    microbatches = jnp.arange(len(scales)), batch, scales
    first = jax.tree.map(lambda x: x[0], microbatches)
    if len(scales) == 1:
        return gradient(*first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), jax.eval_shape(gradient, *first))
    return jax.lax.scan(accumulate, zeros, microbatches)[0]


def train_step(
    gradients: Callable[..., tuple[Params, tuple[Float[Array, ''], Sums]]],
    optimizer: optax.GradientTransformation,
    average: str,
    seed: int,
    state: TrainState,
    batch: Batch,
) -> tuple[TrainState, StepMetrics]:
    """One update by the gradient of all microbatches of `batch`, arrays [microbatch, row, slot].

    `gradients` is a function (params, batch, scales, dropout key), as above with its loss given.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    scales = microbatch_scales(batch['decoder_loss_weights'], average)
    grads, (objective, sums) = gradients(state.params, batch, scales, key)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = StepMetrics(objective, optax.tree.norm(grads), sums)
    return TrainState(state.step + 1, params, opt_state), metrics


def compile_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    train: TrainConfig,
    partition: Partition,
    shardings: TrainState,
) -> jax.stages.Wrapped:
    """`train_step` over the mesh: (state, batch) -> (state, StepMetrics). The state is consumed.

    Each data shard adds up its own microbatches; then every gradient crosses the data axis once,
    in TrainConfig.gradient_dtype. The partitioner sees to the other axes.
    """
    specs = jax.tree.map(lambda s: s.spec, shardings.params)

    def constrain(grads: Params) -> Params:
        return jax.lax.with_sharding_constraint(grads, specs)

    def shard(params, batch, scales, key):
        grads, values = gradients(loss, params, batch, scales, key, constrain)
        return partition.sum_over_data(grads, train.gradient_dtype), partition.sum_over_data(values)

    over_data = partition.data_parallel(shard)
    return jax.jit(
        partial(train_step, over_data, optimizer, train.loss_average, train.seed),
        in_shardings=(shardings, partition.microbatches),
        out_shardings=(shardings, partition.replicated),
        donate_argnums=0,
        compiler_options=compiler_options(train, loss.config, partition),
    )


def compiler_options(train: TrainConfig, model: T5Config, partition: Partition) -> dict[str, bool]:
    """XLA's options for a training step on the devices of a partition.

    GPUs: code adds up with atomics, in any order, unless told otherwise.

    TPUs: libtpu 0.0.42.1 crashes where it weighs the fusion of products with products, a search that
    overflows its stack. So that fusion is off for just the programs that crashed: remat='minimal' on any
    chip, 'full' on v6e. Elsewhere it stays, as it may pay. The plan table (docs/results/plan.md) was
    compiled under this rule: another one makes other programs.
    """
    device = partition.device
    if device.platform == 'gpu' and train.deterministic:
        return {'xla_gpu_deterministic_ops': True}
    crashes = model.remat == 'minimal' or (model.remat == 'full' and 'v6' in device.device_kind)
    if device.platform == 'tpu' and crashes:
        return {'xla_tpu_dot_dot_fusion': False}
    return {}


def compile_evaluation_step(
    loss: Loss, partition: Partition, shardings: TrainState
) -> jax.stages.Wrapped:
    """(params, batch [1, row, slot]) -> sums by task, without dropout."""
    return jax.jit(
        lambda params, batch: loss(params, jax.tree.map(lambda x: x[0], batch))[1],
        in_shardings=(shardings.params, partition.microbatches),
        out_shardings=partition.replicated,
    )
