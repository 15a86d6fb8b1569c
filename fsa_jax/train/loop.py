"""The train stage: distilling and fine-tuning.

A run starts from its own newest good checkpoint, else from TrainConfig.init, else from scratch; it
leaves a model folder (train/checkpoint.py) with metrics.jsonl and TensorBoard events beside it.
"""

import contextlib
import math
import time

import jax

from fsa_jax import flops, manifest, progress
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
from fsa_jax.errors import UserError
from fsa_jax.partition import Partition
from fsa_jax.train import checkpoint, seeds_loop
from fsa_jax.train.checkpoint import Checkpoints
from fsa_jax.train.feed import Fed, Feed, prefetch
from fsa_jax.train.goodput import Goodput, utilisation
from fsa_jax.train.job import Job, prepare
from fsa_jax.train.metrics import Best, MetricsLog, Throughput
from fsa_jax.train.profiler import Profiler
from fsa_jax.train.state import TrainState
from fsa_jax.train.step import StepMetrics, compile_evaluation_step, compile_train_step
from fsa_jax.train.stopping import EXIT_STATUS, Stopper
from fsa_jax.train.validate import Interrupted, Validator, mean_losses
from fsa_jax.train.watchdog import Watchdog

PROFILE = 'profile'


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
    if train.seeds:
        seeds_loop.run(out, train, model, rows, optimizer, mesh, decode)
        return
    job = prepare(train, model, rows, optimizer, Partition.from_config(mesh), decode)
    out.devices = job.partition.mesh.devices.ravel()
    if out.hosts.main:
        checkpoint.write_header(out.folder, job.config, job.vocabulary)
    progress.say(f'{job.rows.describe()}; {job.steps:,} steps')
    for line in job.rows.repeats(job.steps):
        progress.say(line)
    with (
        job.partition.context(),
        Stopper() as stopper,
        Watchdog(train.hang_minutes, out.hosts) as watchdog,
    ):
        Training(out, job, decode, stopper, goodput, watchdog).run()


class Training:
    """A run in progress. `step` counts finished steps everywhere."""

    def __init__(
        self,
        out: manifest.Output,
        job: Job,
        decode: DecodeConfig,
        stopper: Stopper,
        goodput: Goodput,
        watchdog: Watchdog,
    ):
        self.out, self.folder, self.job = out, out.folder, job
        self.stopper, self.goodput, self.watchdog = stopper, goodput, watchdog
        self.validator = self._validator(decode)
        self.best = Best(self.folder, job.metric)
        self.checkpoints = Checkpoints(
            self.folder, job.train.keep, lambda: self.best.step, out.hosts, out.checkpoints
        )
        self.train_step = compile_train_step(
            job.loss, job.optimizer, job.train, job.partition, job.shardings
        )
        self.throughput = Throughput()
        self.compiled: set[tuple[int, ...]] = set()  # shapes of batches that had their first step
        self.profiler = Profiler(self.folder / PROFILE, job.train.profile_steps)
        # The last step, not yet looked at, and when it ended.
        self.waiting: tuple[Fed, StepMetrics, float] | None = None
        self.saved = time.monotonic()

    def _validator(self, decode: DecodeConfig) -> Validator | None:
        job = self.job
        if not job.validation:
            return None
        return Validator(
            job.validation,
            job.rows.config,
            job.vocabulary,
            compile_evaluation_step(job.loss, job.partition, job.shardings),
            Generator(job.config, decode, job.partition),
            job.partition,
            job.train.evaluate_examples,
        )

    def run(self) -> None:
        """Trains from where the folder stands to the last step."""
        self.state = self._start()
        start, steps = int(self.state.step), self.job.steps
        self.log = MetricsLog(self.folder, start, self.job.train.tensorboard)
        self.goodput.resume(self.log.rows)
        self.best.resume(self.log.rows, self.checkpoints.steps())
        self.out.hosts.barrier('resumed')  # before any writes rows that another has not read yet
        with contextlib.ExitStack() as stack:
            stack.callback(self.log.close)
            stack.callback(self.checkpoints.close)
            stack.callback(self.profiler.close)
            self.bar = stack.enter_context(progress.track('train', steps, 'steps', start))
            ends_epoch = start > 0 and self.job.rows.epoch_at(start)[1] == 0
            self._boundary(start, ends_epoch)  # an evaluation may have been interrupted
            feed = prefetch(Feed(self.job.rows, self.job.partition).at, range(start, steps))
            self.goodput.turn_to('data')
            for fed in stack.enter_context(contextlib.closing(feed)):
                self.goodput.turn_to('step')
                self._step(fed)
                self._boundary(fed.step + 1, fed.ends_epoch)
                self.goodput.turn_to('data')
            self._check_saved(steps)
        self.out.counts |= {
            'steps': steps,
            'parameters': self.job.parameters,
            'devices': jax.device_count(),
        }
        if self.best.step is not None:
            self.out.counts['best'] = checkpoint.read_best(self.folder)

    def _start(self) -> TrainState:
        restored = self.checkpoints.restore(self.job.abstract)
        if restored is not None:
            progress.say(f'resuming from checkpoint {int(restored.step)} of {self.folder}')
            return restored
        return self.job.start()

    # -- a step --------------------------------------------------------------------------------

    def _step(self, fed: Fed) -> None:
        """Starts a step on the devices, then looks at the one before, which is finished by now."""
        self.profiler.before(fed.step + 1)
        with self.goodput.spent_on('step' if fed.shape in self.compiled else 'compile'):
            self.state, metrics = self.train_step(self.state, fed.arrays)
        self.compiled.add(fed.shape)
        self.profiler.after(fed.step + 1, metrics)
        self._look()
        # The step before has ended, and this one is under way, or done where there is no queue.
        self.waiting = fed, metrics, time.perf_counter()

    def _look(self) -> None:
        """Waits for the last step, checks and reports it."""
        if self.waiting is None:
            return
        (fed, metrics, ended), self.waiting = self.waiting, None
        metrics = jax.device_get(metrics)
        step = fed.step + 1
        self._check_finite(step, metrics)
        self.watchdog.beat(f'step {step}')
        self.throughput.add(
            fed.pairs, fed.tokens, ended, flops.train_step(self.job.config, *fed.shape)
        )
        losses, rates = mean_losses(metrics.sums, self.job.rows.tasks), self.throughput.rates()
        shown = {name.replace('_per_second', '/s'): rate for name, rate in rates.items()}
        self.bar.update(1, loss=losses['loss'], **shown)
        every = self.job.train.log_every
        if step % every and step not in (1, self.job.steps):
            return
        row = {
            'step': step,
            'epoch': fed.epoch,
            **losses,
            'objective': float(metrics.objective),
            'grad_norm': float(metrics.grad_norm),
            'learning_rate': float(self.job.learning_rate(fed.step)),
            'pairs': fed.pairs,
            **rates,
            **self._utilisation(),
            **self.goodput.row(),
        }
        self.log.write(row)
        self.throughput.lap()

    def _utilisation(self) -> dict[str, float]:
        rate = self.throughput.flops_per_second
        kind = self.job.partition.mesh.devices.flat[0].device_kind
        return utilisation(rate, kind, self.job.partition.mesh.size) if rate else {}

    def _check_finite(self, step: int, metrics: StepMetrics) -> None:
        if math.isfinite(metrics.objective) and math.isfinite(metrics.grad_norm):
            return
        last = self.checkpoints.latest()
        good = f'{self.folder / checkpoint.CHECKPOINTS / str(last)}' if last is not None else 'none'
        raise UserError(
            f'step {step}: the loss is {metrics.objective}, its gradient norm {metrics.grad_norm}; '
            f'last good checkpoint: {good}. Try a lower OptimizerConfig.learning_rate or another '
            'RowsConfig.seed'
        )

    # -- between steps -------------------------------------------------------------------------

    def _boundary(self, step: int, ends_epoch: bool) -> None:
        """Saves, evaluates or stops where that is due after `step` steps."""
        evaluate = self._evaluation_due(step, ends_epoch) and not self.log.evaluated(step)
        stop = self.stopper.should_stop(step)
        if step and (evaluate or stop or self._save_due(step)):
            self._look()  # never save a state whose loss was not looked at
            with self.goodput.spent_on('checkpoint'):
                self.out.flush()  # its rows are where it goes before it is
                self.checkpoints.save(self.state)
            self.watchdog.beat(f'saving step {step}')
            self.saved = time.monotonic()
        if evaluate and not stop:
            with self.goodput.spent_on('evaluation'):
                stop = self._evaluate(step)
        if stop:
            newest = self.checkpoints.latest()
            progress.say(f'stopped by SIGTERM after step {step}; the newest checkpoint is {newest}')
            raise SystemExit(EXIT_STATUS)

    def _check_saved(self, step: int) -> None:
        with self.goodput.spent_on('checkpoint'):
            newest = self.checkpoints.latest()
        if newest != step:
            raise UserError(
                f'step {step}, the last, could not be saved: make room for {self.folder} and give the '
                f'same command again; it goes on from checkpoint {newest}'
            )

    def _save_due(self, step: int) -> bool:
        every, minutes = self.job.train.save_every, self.job.train.save_minutes
        if step == self.job.steps or (every and step % every == 0):
            return True
        if not minutes:
            return False
        # Clocks differ: that of the main process decides.
        return self.out.hosts.first(lambda: time.monotonic() - self.saved > 60 * minutes)

    def _evaluation_due(self, step: int, ends_epoch: bool) -> bool:
        if self.validator is None or step == 0:
            return False
        every = self.job.train.evaluate_every
        return step == self.job.steps or (step % every == 0 if every else ends_epoch)

    def _evaluate(self, step: int) -> bool:
        """Evaluates while the checkpoint is being written; whether it was asked to stop instead."""
        assert self.validator is not None
        try:
            values = self.validator.evaluate(self.state.params, self._asked_in_evaluation)
        except Interrupted:
            return True
        with self.goodput.spent_on('checkpoint'):
            self.checkpoints.wait()  # a row of an evaluation says that its checkpoint is on disk
        row = {'step': step, **values}
        self.log.write(row)
        self.best.offer(row)
        progress.say('  '.join(f'{name} {value:.4g}' for name, value in row.items()))
        self.throughput.pause()
        return False

    def _asked_in_evaluation(self) -> bool:
        self.watchdog.beat('a batch of an evaluation')
        return self.stopper.asked
