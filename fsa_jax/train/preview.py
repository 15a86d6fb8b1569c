"""`fsa train --dry-run`: the parameters, the memory of a step, and the first batch as text."""

from collections.abc import Iterator

import jax
import numpy as np

from fsa_jax.configs import (
    DecodeConfig,
    MeshConfig,
    OptimizerConfig,
    RowsConfig,
    T5Config,
    TrainConfig,
)
from fsa_jax.data.rows import Batch
from fsa_jax.data.vocabulary import Vocabulary
from fsa_jax.optim import path_names
from fsa_jax.partition import Partition, bytes_held
from fsa_jax.train.job import Job, prepare
from fsa_jax.train.seeds import SeedGroup
from fsa_jax.train.step import compile_train_step

_PAIRS = 3  # of the first batch that are shown


def preview(
    train: TrainConfig,
    model: T5Config,
    rows: RowsConfig,
    optimizer: OptimizerConfig,
    mesh: MeshConfig,
    decode: DecodeConfig,
) -> None:
    """Prints what a run would do, on standard output. Allocates no model and writes nothing.

    Of seeds that train together it shows the first.
    """
    partition = Partition.from_config(mesh)
    job = (
        SeedGroup(train, model, rows, optimizer, partition, decode).job
        if train.seeds
        else prepare(train, model, rows, optimizer, partition, decode)
    )
    batch = job.rows.batch_at(0)
    for lines in (_parameters(job), _memory(job, batch), _plan(job), _texts(job, batch)):
        print('\n'.join([*lines, '']))


def _parameters(job: Job) -> Iterator[str]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(job.abstract.params)
    width = max(len('/'.join(path_names(path))) for path, _ in leaves)
    yield f'parameters of {"the init" if job.init else "a new model"}, float32'
    for path, leaf in leaves:
        shape = ' x '.join(map(str, leaf.shape))
        yield f'  {"/".join(path_names(path)):<{width}}  {shape:<18} {leaf.sharding.spec}'
    padding = sum(leaf.size for _, leaf in leaves) - job.parameters
    yield f'  {job.parameters:,} parameters' + f' and {padding:,} of padding' * bool(padding)


def _memory(job: Job, batch: Batch) -> Iterator[str]:
    shape = dict(job.partition.mesh.shape)
    yield f'memory of each of {job.partition.mesh.size} {job.partition.device.device_kind} devices, mesh {shape}'
    if job.train.seeds:
        yield f'  of one of {len(job.train.seeds)} seeds; each has its best parameters besides'
    yield f'  parameters       {_mib(bytes_held(job.abstract.params))}'
    yield f'  optimizer state  {_mib(bytes_held(job.abstract.opt_state))}'
    microbatches = job.rows.config.microbatches
    arrays = {
        name: jax.ShapeDtypeStruct(
            (microbatches, len(x) // microbatches, x.shape[1]),
            x.dtype,
            sharding=job.partition.microbatches,
        )
        for name, x in batch.items()
    }
    yield f'  batch            {_mib(bytes_held(arrays))}'
    step = compile_train_step(job.loss, job.optimizer, job.train, job.partition, job.shardings)
    with job.partition.context():
        analysis = step.lower(job.abstract, arrays).compile().memory_analysis()
    if analysis is not None:  # some backends have none
        yield f'  temporaries      {_mib(analysis.temp_size_in_bytes)}  (gradients, activations; compiled)'


def _mib(size: int) -> str:
    return f'{size / 2**20:10,.1f} MiB'


def _plan(job: Job) -> Iterator[str]:
    yield job.rows.describe()
    yield f'{job.steps:,} steps; checkpoints ranked by {job.metric or "nothing: the last is kept"}'


def _texts(job: Job, batch: Batch) -> Iterator[str]:
    shown = list(_pairs(batch))[:_PAIRS]
    yield f'the first {len(shown)} pairs of the first batch'
    for inputs, targets, task in shown:
        yield f'  {job.rows.tasks[task]}'
        yield f'    input   {_text(job.vocabulary, inputs)}'
        yield f'    target  {_text(job.vocabulary, targets)}'


def _pairs(batch: Batch) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(input ids, target ids, task) of the pairs in the rows of a batch, packed or not."""
    real = (batch['encoder_input_tokens'] > 0, batch['decoder_loss_weights'] > 0)
    encoder = batch.get('encoder_segment_ids', real[0])
    decoder = batch.get('decoder_segment_ids', real[1])
    for row in range(len(encoder)):
        for segment in range(1, int(encoder[row].max()) + 1):
            inputs, targets = encoder[row] == segment, decoder[row] == segment
            yield (
                batch['encoder_input_tokens'][row][inputs],
                batch['decoder_target_tokens'][row][targets],
                int(batch['decoder_task_ids'][row][targets][0]),
            )


def _text(vocabulary: Vocabulary, ids: np.ndarray) -> str:
    return f'{vocabulary.decode(ids.tolist())!r} ({len(ids)} ids)'
