"""The train stage: distilling and fine-tuning.

A run starts from its own newest good checkpoint, else from TrainConfig.init, else from scratch; it
leaves a model folder (train/checkpoint.py) with metrics.jsonl and TensorBoard events beside it.
"""

import jax

from fsa_jax import manifest, progress
from fsa_jax.compilation import cache_programs
from fsa_jax.configs import (
    DecodeConfig,
    MeshConfig,
    OptimizerConfig,
    RowsConfig,
    T5Config,
    TrainConfig,
)
from fsa_jax.data.staging import staged
from fsa_jax.decode import Generator
from fsa_jax.partition import Partition
from fsa_jax.train import checkpoint
from fsa_jax.train.feed import Fed, Feed
from fsa_jax.train.goodput import Goodput
from fsa_jax.train.job import Job, prepare
from fsa_jax.train.metrics import Best
from fsa_jax.train.seeds import SeedGroup
from fsa_jax.train.seeds_loop import GroupTraining
from fsa_jax.train.state import TrainState
from fsa_jax.train.step import StepMetrics, compile_evaluation_step, compile_train_step
from fsa_jax.train.training import Training
from fsa_jax.train.validate import Interrupted, Validator


def run(
    out: manifest.Output,
    train: TrainConfig,
    model: T5Config,
    rows: RowsConfig,
    optimizer: OptimizerConfig,
    mesh: MeshConfig,
    decode: DecodeConfig,
) -> None:
    """Trains to the end, or resumes.

    Raises:
      UserError: what the configs name does not fit together, or the loss is no longer finite.
      SystemExit: with status 143, after SIGTERM and a saved checkpoint.
    """
    goodput = Goodput()
    cache_programs(train.compilation_cache)
    if train.data:
        out.read('TrainConfig.data', staged(train.data, train.staging), train.data)
    if train.init:
        out.read('TrainConfig.init', train.init)
    partition = Partition.from_config(mesh)
    training: Training
    if train.seeds:
        group = SeedGroup(train, model, rows, optimizer, partition, decode)
        training = GroupTraining(out, group, goodput)
    else:
        job = prepare(train, model, rows, optimizer, partition, decode)
        training = StudentTraining(out, job, decode, goodput)
    job = training.job
    out.devices = job.partition.mesh.devices.ravel()
    if out.hosts.main:
        checkpoint.write_header(out.folder, job.config, job.vocabulary)
    progress.say(f'{job.rows.describe()}; {job.steps:,} steps')
    for line in job.rows.repeats(job.steps):
        progress.say(line)
    training.run()
    out.counts |= {
        'steps': job.steps,
        'parameters': job.parameters,
        'devices': jax.device_count(),
    }


class StudentTraining(Training):
    """The run of one student: the checkpoint that is best by the metric is kept."""

    remedy = 'another RowsConfig.seed'

    def __init__(self, out: manifest.Output, job: Job, decode: DecodeConfig, goodput: Goodput):
        self.validator = _validator(job, decode)
        self.best = Best(out.folder, job.metric)
        super().__init__(out, job, goodput, [out.folder], lambda: self.best.step)
        self.train_step = compile_train_step(
            job.loss, job.optimizer, job.train, job.partition, job.shardings
        )
        self._feed = Feed(job.rows, job.partition)

    @property
    def abstract(self) -> TrainState:
        return self.job.abstract

    def fresh(self) -> TrainState:
        return self.job.start()

    def feed(self, step: int) -> Fed:
        return self._feed.at(step)

    def each(self, metrics: StepMetrics) -> list[StepMetrics]:
        return [metrics]

    def names(self) -> list[str]:
        return ['']

    def resume(self) -> None:
        self.best.resume(self.logs[0].rows, self.checkpoints.steps())

    def run(self) -> None:
        super().run()
        self.best.write()
        if self.best.step is not None:
            self.out.counts['best'] = checkpoint.read_best(self.folder)

    def boundary(self, step: int, ends_epoch: bool) -> None:
        """The checkpoint is written while the evaluation runs."""
        evaluate = self.validator is not None and self.evaluation_due(step, ends_epoch)
        stop = self.stopper.should_stop(step)
        if step and (evaluate or stop or self.save_due(step)):
            self.save(step)
        if evaluate and not stop:
            with self.goodput.spent_on('evaluation'):
                stop = self._evaluate(step)
        if stop:
            self.stop(step)

    def _evaluate(self, step: int) -> bool:
        """Evaluates while the checkpoint is being written; whether it was asked to stop instead."""
        assert self.validator is not None
        try:
            values = self.validator.evaluate(self.state.params, self.asked_in_evaluation)
        except Interrupted:
            return True
        with self.goodput.spent_on('checkpoint'):
            self.checkpoints.wait()
            # Not where the disk was full. What is no checkpoint is not the best: that one stays.
            saved = self.out.hosts.all('saved', step in self.checkpoints.steps())
        row = {'step': step, **values}
        self.logs[0].write(row)
        if saved:
            self.best.offer(row)
        progress.say('  '.join(f'{name} {value:.4g}' for name, value in row.items()))
        self.throughput.pause()
        return False


def _validator(job: Job, decode: DecodeConfig) -> Validator | None:
    if not job.validation:
        return None
    return Validator(
        job.validation,
        job.rows.config,
        job.vocabulary,
        compile_evaluation_step(job.validation_loss, job.partition, job.shardings),
        Generator(job.config, decode, job.partition),
        job.partition,
        job.train.evaluate_examples,
    )
