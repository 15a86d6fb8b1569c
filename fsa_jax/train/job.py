"""A training job, checked: everything that is known before the first step."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from fsa_jax import optim
from fsa_jax.configs import DecodeConfig, OptimizerConfig, RowsConfig, T5Config, TrainConfig
from fsa_jax.data.rows import Rows
from fsa_jax.data.staging import staged
from fsa_jax.data.store import PackedFolder, TokenStore
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.errors import UserError
from fsa_jax.model import axes
from fsa_jax.model.t5 import Params, abstract_params, init_params, param_axes
from fsa_jax.partition import Partition
from fsa_jax.train.checkpoint import ModelFolder, open_model
from fsa_jax.train.metrics import chosen_metric
from fsa_jax.train.state import TrainState
from fsa_jax.train.step import Loss
from fsa_jax.train.validate import metric_names

# How a student computes. With an init these come from T5Config, all else from the init.
_ITS_OWN = ('dropout_rate', 'vocab_padding', 'dtype', 'unroll', 'remat')


@dataclass(frozen=True)
class Job:
    """What the configs come to.

    `steps` is the whole run, `metric` the evaluation metric that ranks checkpoints ('' for none),
    `abstract` the state's shapes, dtypes and shardings.
    """

    train: TrainConfig
    config: T5Config
    vocabulary: Vocabulary
    rows: Rows
    validation: dict[str, TokenStore]
    metric: str
    partition: Partition
    steps: int
    learning_rate: optax.Schedule
    optimizer: optax.GradientTransformation
    abstract: TrainState
    init: ModelFolder | None

    @property
    def shardings(self) -> TrainState:
        """Where each array of the state lies."""
        return jax.tree.map(lambda x: x.sharding, self.abstract)

    @property
    def parameters(self) -> int:
        """How many parameters the model has, padding rows of the vocabulary apart."""
        tables = 1 if self.config.tie_word_embeddings else 2
        padding = tables * self.config.vocab_padding * self.config.d_model
        return sum(x.size for x in jax.tree.leaves(self.abstract.params)) - padding

    @property
    def loss(self) -> Loss:
        """The loss that is minimised."""
        return Loss(self.config, self.train, len(self.rows.tasks), self.partition)

    @property
    def validation_loss(self) -> Loss:
        """The same of validation batches, which number the tasks that have a validation split."""
        return Loss(self.config, self.train, len(self.validation), self.partition)

    def start(self) -> TrainState:
        """The state before the first step: of `init`, else drawn from TrainConfig.seed."""
        if self.init is None:
            key = jax.random.key(self.train.seed)
            return jax.jit(self.create, out_shardings=self.shardings)(key)
        return jax.jit(self.from_params, out_shardings=self.shardings)(self.init_params())

    def create(self, key: jax.Array) -> TrainState:
        """A state whose parameters are drawn."""
        return self.from_params(init_params(self.config, key))

    def from_params(self, params: Params) -> TrainState:
        """A state that begins with these parameters."""
        return TrainState.create(params, self.optimizer)

    def init_params(self) -> Params:
        """The parameters of the init."""
        assert self.init is not None
        return _init_params(self.init, self.config, self.train.init_which, self.shardings.params)


def prepare(
    train: TrainConfig,
    model: T5Config,
    rows: RowsConfig,
    optimizer: OptimizerConfig,
    partition: Partition,
    decode: DecodeConfig | None = None,
) -> Job:
    """Opens the data and the init; UserError names what does not fit together."""
    if not train.data:
        raise UserError('TrainConfig.data is empty; expected a packed folder (of fsa pack)')
    packed = PackedFolder(staged(train.data, train.staging))
    packed.check_tasks(decode.task_max_new_tokens if decode else ())
    init = open_model(train.init) if train.init else None
    if init is not None:
        packed.check_vocabulary(init.vocabulary, str(init.folder))
    config = student_config(model, init)
    packed.vocabulary.check_ids(config)
    if config.vocab_size < packed.vocabulary.size:
        raise UserError(
            f'T5Config.vocab_size={config.vocab_size} is too small for the vocabulary of '
            f'{train.data}; expected at least {packed.vocabulary.size}'
        )
    partition.check_batch(rows.batch_size, rows.microbatches)
    planned = Rows(packed.stores(train.split, train.tasks), rows)
    steps = _steps(train, planned)
    learning_rate = optim.schedule(
        optimizer.schedule,
        optimizer.learning_rate,
        steps,
        floor=optimizer.floor,
        warmup=optimizer.warmup,
    )
    transformation = make_optimizer(optimizer, learning_rate, config)
    validation = _validation_stores(packed, planned.tasks, train.validation_split)
    return Job(
        train=train,
        config=config,
        vocabulary=packed.vocabulary,
        rows=planned,
        validation=validation,
        metric=chosen_metric(train.metric, metric_names(validation)),
        partition=partition,
        steps=steps,
        learning_rate=learning_rate,
        optimizer=transformation,
        abstract=abstract_state(config, transformation, partition),
        init=init,
    )


def student_config(given: T5Config, init: ModelFolder | None) -> T5Config:
    """The student's config: `given`, or that of `init` with what is the student's own of `given`.

    A field of `given` that was set to something else than `init` has is an error.
    """
    if init is None:
        return given
    for field in dataclasses.fields(T5Config):
        here, there = getattr(given, field.name), getattr(init.config, field.name)
        if field.name not in _ITS_OWN and here not in (there, field.default):
            raise UserError(
                f'T5Config.{field.name}={here!r} does not fit TrainConfig.init={init.folder}, which '
                f'has {there!r}; with an init, leave out all of T5Config but {", ".join(_ITS_OWN)}'
            )
    return init.config.replace(**{name: getattr(given, name) for name in _ITS_OWN})


def _steps(train: TrainConfig, rows: Rows) -> int:
    if train.steps:
        return train.steps
    whole, part = divmod(train.epochs, 1)
    steps = sum(rows.steps_per_epoch(epoch) for epoch in range(int(whole)))
    if part:
        steps += round(part * rows.steps_per_epoch(int(whole)))
    if not steps:
        raise UserError('how long to train? set TrainConfig.steps or TrainConfig.epochs above 0')
    return steps


def _validation_stores(packed: PackedFolder, tasks: list[str], split: str) -> dict[str, TokenStore]:
    if not split:
        return {}
    there = [task for task in tasks if split in packed.splits(task)]
    if not there:
        raise UserError(
            f'no trained task of {packed.folder} has a split {split!r} to validate on; pack one, or '
            "set TrainConfig.validation_split='' to train without"
        )
    return {task: store for task, store in packed.stores(split, there).items() if len(store)}


def make_optimizer(
    config: OptimizerConfig, learning_rate: optax.Schedule, model: T5Config
) -> optax.GradientTransformation:
    """The optimizer of a model, which leaves the padding rows of its tables alone."""
    if config.name == 'adafactor' and model.vocab_padding:
        raise UserError(
            'T5Config.vocab_padding would enter the statistics of Adafactor; set it to 0, or choose '
            "OptimizerConfig.name='adamw_scale' or 'adamw'"
        )
    names = param_axes(model)

    def padded_rows(path: optim.Path) -> int:
        leaf: Any = names
        for part in path:
            leaf = leaf[part]
        return model.vocab_padding if leaf[0] == axes.VOCAB else 0

    return optim.optimizer(config, learning_rate, padded_rows)


def abstract_state(
    config: T5Config, optimizer: optax.GradientTransformation, partition: Partition
) -> TrainState:
    """Shapes, dtypes and shardings of the state of a run."""
    params = abstract_params(config)
    state = jax.eval_shape(lambda p: TrainState.create(p, optimizer), params)
    shardings = partition.like(state, params, partition.params(config))
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings
    )


def _init_params(init: ModelFolder, config: T5Config, which: str, shardings: Any) -> Params:
    """The params of `init`, with as many padding rows of the vocabulary as `config` has."""
    if config.vocab_padding == init.config.vocab_padding:
        return init.load_params(which, shardings)

    names = param_axes(config)

    def whole(sharding: NamedSharding, names) -> NamedSharding:
        """Not cut along the vocabulary, which may divide by the mesh only with its padding."""
        if names[0] != axes.VOCAB:
            return sharding
        return NamedSharding(sharding.mesh, PartitionSpec(None, *sharding.spec[1:]))

    def repad(x, names):
        if names[0] != axes.VOCAB:
            return x
        return jnp.pad(x[: config.vocab_size], ((0, config.vocab_padding), (0, 0)))

    params = init.load_params(which, jax.tree.map(whole, shardings, names))
    return jax.jit(lambda x: jax.tree.map(repad, x, names), out_shardings=shardings)(params)
