"""The frame of a training run, shared by one student (train/loop.py) and several seeds (seeds_loop.py):
steps and their rows, clocks and watchdog, checkpoints, and the ways in which a run ends."""

import abc
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fsa_jax import flops, manifest, progress
from fsa_jax.errors import UserError
from fsa_jax.train.checkpoint import Checkpoints
from fsa_jax.train.feed import Fed, prefetch
from fsa_jax.train.goodput import Goodput, utilisation
from fsa_jax.train.job import Job
from fsa_jax.train.metrics import MetricsLog, Throughput
from fsa_jax.train.profiler import Profiler
from fsa_jax.train.state import GroupState, TrainState
from fsa_jax.train.step import StepMetrics
from fsa_jax.train.stopping import EXIT_STATUS, Stopper
from fsa_jax.train.validate import mean_losses
from fsa_jax.train.watchdog import Watchdog

PROFILE = 'profile'


class Training(abc.ABC):
    """A run in progress. `step` counts finished steps everywhere.

    A kind of run says what its state is, what it trains (one student, or one a seed: each has a folder
    of metrics, in `logs`), and what is due between two steps.
    """

    train_step: Callable[[Any, Any], tuple[Any, StepMetrics]]
    remedy: str  # what else may help a loss that is not finite

    def __init__(
        self,
        out: manifest.Output,
        job: Job,
        goodput: Goodput,
        logs: Sequence[Path],
        best_step: Callable[[], int | None],
    ):
        self.out, self.folder, self.job, self.goodput = out, out.folder, job, goodput
        self.stopper, self.watchdog = Stopper(), Watchdog(job.train.hang_minutes, out.hosts)
        self._log_folders = logs
        self.checkpoints = Checkpoints(
            self.folder, job.train.keep, best_step, out.hosts, out.checkpoints
        )
        self.throughput = Throughput()
        self.compiled: set[tuple[int, ...]] = set()  # shapes of batches that had their first step
        self.profiler = Profiler(self.folder / PROFILE, job.train.profile_steps)
        # The last step, not yet looked at, and when it ended.
        self.waiting: tuple[Fed, StepMetrics, float] | None = None
        self.saved = time.monotonic()

    # -- what a kind of run says -----------------------------------------------------------------

    @property
    @abc.abstractmethod
    def abstract(self) -> Any:
        """Shapes, dtypes and shardings of the state."""

    @abc.abstractmethod
    def fresh(self) -> TrainState | GroupState:
        """The state before the first step."""

    @abc.abstractmethod
    def feed(self, step: int) -> Fed:
        """The batch of a step; called in a thread."""

    @abc.abstractmethod
    def each(self, metrics: StepMetrics) -> list[StepMetrics]:
        """The metrics of each student."""

    @abc.abstractmethod
    def names(self) -> list[str]:
        """What an error calls the loss of each student."""

    @abc.abstractmethod
    def resume(self) -> None:
        """Called when the rows of `logs` that survive are read, before any is written."""

    @abc.abstractmethod
    def boundary(self, step: int, ends_epoch: bool) -> None:
        """Saves, evaluates or stops where that is due after `step` steps; again after a resume at it."""

    # -- the run ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Trains from where the folder stands to the last step."""
        with self.job.partition.context(), self.stopper, self.watchdog:
            self.state = self._start()
            start, steps = int(self.state.step), self.job.steps
            tensorboard = self.job.train.tensorboard
            self.logs = [MetricsLog(folder, start, tensorboard) for folder in self._log_folders]
            self.goodput.resume(self.logs[0].rows)
            self.resume()
            # Before any writes rows that another has not read yet.
            self.out.hosts.barrier('resumed')
            with contextlib.ExitStack() as stack:
                for log in self.logs:
                    stack.callback(log.close)
                stack.callback(self.checkpoints.close)
                stack.callback(self.profiler.close)
                self.bar = stack.enter_context(progress.track('train', steps, 'steps', start))
                # an evaluation may have been interrupted
                self.boundary(start, start > 0 and self.job.rows.epoch_at(start)[1] == 0)
                feed = stack.enter_context(
                    contextlib.closing(prefetch(self.feed, range(start, steps)))
                )
                self.goodput.turn_to('data')
                for fed in feed:
                    self.goodput.turn_to('step')
                    self._step(fed)
                    self.boundary(fed.step + 1, fed.ends_epoch)
                    self.goodput.turn_to('data')
                self._check_saved(steps)
                self.checkpoints.drop_superfluous()

    def _start(self) -> Any:
        restored = self.checkpoints.restore(self.abstract)
        if restored is not None:
            progress.say(f'resuming from checkpoint {int(restored.step)} of {self.folder}')
            return restored
        return self.fresh()

    # -- a step ----------------------------------------------------------------------------------

    def _step(self, fed: Fed) -> None:
        """Starts a step on the devices, then looks at the one before, which is finished by now."""
        self.profiler.before(fed.step + 1)
        is_new = fed.shape not in self.compiled
        with self.goodput.spent_on('compile' if is_new else 'step'):
            self.state, metrics = self.train_step(self.state, fed.arrays)
        self.compiled.add(fed.shape)
        self.profiler.after(fed.step + 1, metrics)
        self.look()
        if is_new:
            self.throughput.pause()
        # The step before has ended, and this one is under way, or done where there is no queue.
        self.waiting = fed, metrics, time.perf_counter()

    def look(self) -> None:
        """Waits for the last step, checks and reports it."""
        if self.waiting is None:
            return
        (fed, metrics, ended), self.waiting = self.waiting, None
        every = self.each(jax.device_get(metrics))
        step = fed.step + 1
        self._check_finite(step, every)
        self.watchdog.beat(f'step {step}')
        operations = flops.train_step(self.job.config, *fed.shape)
        self.throughput.add(fed.pairs, fed.tokens, ended, operations)
        losses = [mean_losses(of_one.sums, self.job.rows.tasks) for of_one in every]
        rates = self.throughput.rates()
        shown = {name.replace('_per_second', '/s'): rate for name, rate in rates.items()}
        self.bar.update(1, loss=float(np.mean([loss['loss'] for loss in losses])), **shown)
        if step % self.job.train.log_every and step not in (1, self.job.steps):
            return
        alike = {
            'learning_rate': float(self.job.learning_rate(fed.step)),
            'pairs': fed.pairs // len(every),
            **rates,
            **self._utilisation(),
            **self.goodput.row(),
        }
        for log, loss, of_one in zip(self.logs, losses, every):
            row = {
                'step': step,
                'epoch': fed.epoch,
                **loss,
                'objective': float(of_one.objective),
                'grad_norm': float(of_one.grad_norm),
                **alike,
            }
            log.write(row)
        self.throughput.lap()

    def _utilisation(self) -> dict[str, float]:
        rate = self.throughput.flops_per_second
        partition = self.job.partition
        kind, devices = partition.device.device_kind, partition.mesh.size
        return utilisation(rate, kind, devices) if rate else {}

    def _check_finite(self, step: int, every: Sequence[StepMetrics]) -> None:
        for name, of_one in zip(self.names(), every):
            if math.isfinite(of_one.objective) and math.isfinite(of_one.grad_norm):
                continue
            last = self.checkpoints.latest()
            path = 'none' if last is None else self.checkpoints.path(last)
            raise UserError(
                f'step {step}: the loss{name} is {of_one.objective}, its gradient norm '
                f'{of_one.grad_norm}; last good checkpoint: {path}. '
                f'Try a lower OptimizerConfig.learning_rate or {self.remedy}'
            )

    # -- between steps ---------------------------------------------------------------------------

    def evaluation_due(self, step: int, ends_epoch: bool) -> bool:
        """Whether an evaluation is due after `step` steps that has not left its rows yet."""
        every = self.job.train.evaluate_every
        due = step == self.job.steps or (step % every == 0 if every else ends_epoch)
        return step > 0 and due and not all(log.evaluated(step) for log in self.logs)

    def save_due(self, step: int) -> bool:
        """Whether a checkpoint is due by the count of steps or by the clock."""
        every, minutes = self.job.train.save_every, self.job.train.save_minutes
        if step == self.job.steps or (every and step % every == 0):
            return True
        if not minutes:
            return False
        # Clocks differ: that of the main process decides.
        return self.out.hosts.first(lambda: time.monotonic() - self.saved > 60 * minutes)

    def save(self, step: int) -> None:
        """Begins to save the state, whose loss is looked at first."""
        self.look()
        with self.goodput.spent_on('checkpoint'):
            self.out.flush()  # its rows are where it goes before it is
            self.checkpoints.save(self.state)
        self.watchdog.beat(f'saving step {step}')
        self.saved = time.monotonic()

    def asked_in_evaluation(self) -> bool:
        """Whether to leave the evaluation that this is called from, between its batches."""
        self.watchdog.beat('a batch of an evaluation')
        return self.stopper.asked

    def newest_saved(self) -> int | None:
        """The newest step that is on disk, when all that was begun is."""
        with self.goodput.spent_on('checkpoint'):
            return self.checkpoints.latest()

    def stop(self, step: int) -> None:
        """Ends the process after SIGTERM: SystemExit with status 143."""
        newest = self.newest_saved()
        progress.say(f'stopped by SIGTERM after step {step}; the newest checkpoint is {newest}')
        raise SystemExit(EXIT_STATUS)

    def _check_saved(self, step: int) -> None:
        newest = self.newest_saved()
        if newest != step:
            raise UserError(
                f'step {step}, the last, could not be saved: make room for {self.folder} and give the '
                f'same command again; it goes on from checkpoint {newest}'
            )
