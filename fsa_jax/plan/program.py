"""The train step of a run as an abstract program on slices that are not there."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

from fsa_jax import optim
from fsa_jax.configs import MeshConfig, OptimizerConfig, RowsConfig, T5Config, TrainConfig
from fsa_jax.errors import UserError
from fsa_jax.partition import Partition
from fsa_jax.plan.topology import Slices
from fsa_jax.train.job import abstract_state, make_optimizer
from fsa_jax.train.state import TrainState
from fsa_jax.train.step import Loss, compile_train_step


@dataclass(frozen=True)
class Knobs:
    """The configs that decide a training step."""

    train: TrainConfig
    model: T5Config
    rows: RowsConfig
    optimizer: OptimizerConfig
    mesh: MeshConfig

    def to_json(self) -> dict[str, Any]:
        """All fields by class, as JSON gives them back: lists for tuples."""
        named = {
            f.name: dataclasses.asdict(getattr(self, f.name)) for f in dataclasses.fields(self)
        }
        return json.loads(json.dumps(named))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> 'Knobs':
        """The inverse of `to_json`."""
        kinds = {f.name: f.type for f in dataclasses.fields(cls)}
        return cls(**{name: kinds[name](**fields) for name, fields in content.items()})  # type: ignore[operator]

    @property
    def microbatch(self) -> int:
        """Rows of a microbatch."""
        return self.rows.batch_size // self.rows.microbatches


def devices(slices: Slices) -> list[Any]:
    """The devices of slices, as the compiler knows them; needs libtpu, but no TPU."""
    options: dict[str, Any] = {} if slices.count == 1 else {'num_slices': slices.count}
    if slices.chip_name == 'v4':
        options['chip_config_name'] = 'megacore'  # as it is rented: two cores act as one device
    described = topologies.get_topology_desc(
        platform='tpu', topology_name=slices.topology, **options
    )
    return list(described.devices)


def abstract_batch(rows: RowsConfig, partition: Partition) -> dict[str, jax.ShapeDtypeStruct]:
    """The largest batch of a run, arrays [microbatch, row, slot]; its data need not be there."""
    if not (rows.encoder_length and rows.decoder_length):
        raise UserError(
            'a plan needs RowsConfig.encoder_length and decoder_length above 0: it reads no data'
        )
    partition.check_batch(rows.batch_size, rows.microbatches)
    lengths = {'encoder': rows.encoder_length, 'decoder': rows.decoder_length}
    names = ['encoder_input_tokens', 'decoder_input_tokens', 'decoder_target_tokens']
    names += ['decoder_loss_weights', 'decoder_task_ids']
    if rows.layout == 'packed':
        names += [f'{side}_{name}' for side in lengths for name in ('segment_ids', 'positions')]
    leading = (rows.microbatches, rows.batch_size // rows.microbatches)
    return {
        name: jax.ShapeDtypeStruct(
            (*leading, lengths[name[:7]]),
            np.float32 if name.endswith('weights') else np.int32,
            sharding=partition.microbatches,
        )
        for name in names
    }


def state(knobs: Knobs, partition: Partition) -> tuple[Any, TrainState]:
    """(the optimizer, shapes and shardings of the training state)."""
    o = knobs.optimizer
    steps = (
        knobs.train.steps or o.warmup + 1
    )  # the schedule is arithmetic: its length costs nothing
    rate = optim.schedule(o.schedule, o.learning_rate, steps, floor=o.floor, warmup=o.warmup)
    optimizer = make_optimizer(o, rate, knobs.model)
    return optimizer, abstract_state(knobs.model, optimizer, partition)


def lower(knobs: Knobs, partition: Partition) -> jax.stages.Lowered:
    """The very step that `fsa train` runs, lowered for the devices of a partition."""
    optimizer, abstract = state(knobs, partition)
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    loss = Loss(knobs.model, knobs.train, 1, partition)
    step = compile_train_step(loss, optimizer, knobs.train, partition, shardings)
    with partition.context():
        return step.lower(abstract, abstract_batch(knobs.rows, partition))
