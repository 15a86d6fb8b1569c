"""The loop of seeds that train together (TrainConfig.seeds); its parts are those of a run alone.

    model folder              params with a leading axis of seeds, seeds.json (train/checkpoint.py)
      seed-42/metrics.jsonl   what a run alone would have written, but for rates, which are of all seeds

The best parameters of each seed are chosen inside the state after every evaluation, and one
checkpoint follows: a kill costs what was done since the last one, an epoch at most.
"""

import contextlib
import json
import math
import time

import jax
import numpy as np

from fsa_jax import manifest, progress
from fsa_jax.configs import (
    DecodeConfig,
    MeshConfig,
    OptimizerConfig,
    RowsConfig,
    T5Config,
    TrainConfig,
)
from fsa_jax.errors import UserError
from fsa_jax.manifest import write_atomic
from fsa_jax.partition import Partition
from fsa_jax.train import checkpoint
from fsa_jax.train.checkpoint import Checkpoints
from fsa_jax.train.feed import Fed, prefetch
from fsa_jax.train.metrics import VALIDATION, MetricsLog, Throughput
from fsa_jax.train.seeds import SeedGroup, ranked
from fsa_jax.train.state import GroupState
from fsa_jax.train.step import StepMetrics, Sums
from fsa_jax.train.stopping import EXIT_STATUS, Stopper
from fsa_jax.train.validate import Interrupted, mean_losses


def run(
    out: manifest.Output,
    train: TrainConfig,
    model: T5Config,
    rows: RowsConfig,
    optimizer: OptimizerConfig,
    mesh: MeshConfig,
    decode: DecodeConfig,
) -> None:
    """Trains all of TrainConfig.seeds to the end, or resumes them. Raises what train/loop.py does."""
    group = SeedGroup(train, model, rows, optimizer, Partition.from_config(mesh))
    out.devices = group.partition.mesh.devices.ravel()
    if out.hosts.main:
        checkpoint.write_header(out.folder, group.job.config, group.job.vocabulary)
    shape = dict(group.partition.mesh.shape)
    progress.say(
        f'seeds {", ".join(map(str, group.seeds))} together on mesh {shape}; '
        f'{group.rows[0].describe()}; {group.job.steps:,} steps'
    )
    with group.partition.context(), Stopper() as stopper:
        GroupTraining(out, group, decode, stopper).run()


class GroupTraining:
    """A run of several seeds in progress. `step` counts finished steps of each."""

    def __init__(
        self, out: manifest.Output, group: SeedGroup, decode: DecodeConfig, stopper: Stopper
    ):
        self.out, self.folder, self.group, self.stopper = out, out.folder, group, stopper
        self.job = group.job
        self.validator = group.validator(decode)
        self.train_step, self.offer = group.compile_train_step(), group.compile_offer()
        self.checkpoints = Checkpoints(
            self.folder, self.job.train.keep, lambda: None, out.hosts, out.checkpoints
        )
        self.throughput = Throughput()
        self.waiting: tuple[Fed, StepMetrics, float] | None = None  # a step not yet looked at

    def run(self) -> None:
        """Trains from where the folder stands to the last step."""
        self.state = self._start()
        start, steps = int(self.state.step), self.job.steps
        logs = {seed: self.folder / f'seed-{seed}' for seed in self.group.seeds}
        for folder in logs.values():
            folder.mkdir(exist_ok=True)
        tensorboard = self.job.train.tensorboard
        self.logs = [MetricsLog(folder, start, tensorboard) for folder in logs.values()]
        with contextlib.ExitStack() as stack:
            for log in self.logs:
                stack.callback(log.close)
            stack.callback(self.checkpoints.close)
            self.bar = stack.enter_context(progress.track('train', steps, 'steps', start))
            feed = prefetch(self.group.feed, range(start, steps))
            for fed in stack.enter_context(contextlib.closing(feed)):
                self._step(fed)
                self._boundary(fed.step + 1, fed.ends_epoch)
        self._write_seeds()
        self.out.counts |= {
            'steps': steps,
            'parameters': self.job.parameters,
            'devices': jax.device_count(),
            **checkpoint.open_model(self.folder).group,
        }

    def _start(self) -> GroupState:
        restored = self.checkpoints.restore(self.group.abstract)
        if restored is not None:
            progress.say(f'resuming from checkpoint {int(restored.step)} of {self.folder}')
            return restored
        return self.group.start()

    # -- a step --------------------------------------------------------------------------------

    def _step(self, fed: Fed) -> None:
        """Starts a step on the devices, then looks at the one before, which is finished by now."""
        self.state, metrics = self.train_step(self.state, fed.arrays)
        self._look()
        self.waiting = fed, metrics, time.perf_counter()

    def _look(self) -> None:
        """Waits for the last step, checks and reports it."""
        if self.waiting is None:
            return
        (fed, metrics, ended), self.waiting = self.waiting, None
        metrics = jax.device_get(metrics)
        step = fed.step + 1
        self._check_finite(step, metrics)
        self.throughput.add(fed.pairs, fed.tokens, ended)
        rates = self.throughput.rates()
        losses = [
            mean_losses(Sums(*of_seed), self.job.rows.tasks) for of_seed in zip(*metrics.sums)
        ]
        shown = {name.replace('_per_second', '/s'): rate for name, rate in rates.items()}
        self.bar.update(1, loss=float(np.mean([loss['loss'] for loss in losses])), **shown)
        if step % self.job.train.log_every and step not in (1, self.job.steps):
            return
        for number, (log, loss) in enumerate(zip(self.logs, losses)):
            log.write({
                'step': step,
                'epoch': fed.epoch,
                **loss,
                'objective': float(metrics.objective[number]),
                'grad_norm': float(metrics.grad_norm[number]),
                'learning_rate': float(self.job.learning_rate(fed.step)),
                'pairs': fed.pairs // len(losses),
                **rates,
            })  # fmt: skip
        self.throughput.lap()

    def _check_finite(self, step: int, metrics: StepMetrics) -> None:
        for seed, loss, norm in zip(self.group.seeds, metrics.objective, metrics.grad_norm):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise UserError(
                    f'step {step}: the loss of seed {seed} is {loss}, its gradient norm {norm}; last '
                    f'good checkpoint: {self.checkpoints.latest()} of {self.folder}. Try a lower '
                    'OptimizerConfig.learning_rate, or leave this seed out of TrainConfig.seeds'
                )

    # -- between steps -------------------------------------------------------------------------

    def _boundary(self, step: int, ends_epoch: bool) -> None:
        """Evaluates, saves or stops where that is due after `step` steps."""
        train, last = self.job.train, step == self.job.steps
        every = train.evaluate_every
        stop = self.stopper.should_stop(step)
        evaluate = last or (step % every == 0 if every else ends_epoch)
        save = evaluate or (train.save_every and step % train.save_every == 0)
        if evaluate and not stop:
            self._look()
            stop = self._evaluate(step)
        if stop and evaluate:  # the epoch is evaluated when it is run again
            self._stop(step, 'before its evaluation, so the last epoch is run again')
        if save or stop:
            self._look()  # never save a state whose loss was not looked at
            self.out.flush()  # its rows are where it goes before it is
            self.checkpoints.save(self.state)
            self._write_seeds()
        if stop:
            self._stop(step, 'which is saved')

    def _stop(self, step: int, what: str) -> None:
        self.checkpoints.wait()
        progress.say(f'stopped by SIGTERM after step {step}, {what}')
        raise SystemExit(EXIT_STATUS)

    def _evaluate(self, step: int) -> bool:
        """Chooses the best of each seed; whether it was asked to stop instead."""
        try:
            values = self.validator.evaluate_each(
                self.state.current.params, lambda: self.stopper.asked
            )
        except Interrupted:
            return True
        self.state = self.offer(self.state, ranked(values, self.job.metric))
        for log, seed, of_seed in zip(self.logs, self.group.seeds, values):
            row = {'step': step, **of_seed}
            log.write(row)
            shown = '  '.join(f'{name} {value:.4g}' for name, value in row.items())
            progress.say(f'seed {seed}: {shown}')
        self.throughput.pause()
        return False

    def _write_seeds(self) -> None:
        """seeds.json: when each seed was at its best, as the newest checkpoint has it."""
        values, steps = jax.device_get((self.state.best_value, self.state.best_step))
        sign = -1 if self.job.metric.startswith(f'{VALIDATION}loss') else 1
        best = {
            str(seed): {'step': int(step), 'value': sign * float(value)}
            for seed, value, step in zip(self.group.seeds, values, steps)
        }
        content = {'seeds': self.group.seeds, 'metric': self.job.metric, 'best': best}
        self.checkpoints.wait()
        if self.out.hosts.main:
            write_atomic(self.folder / checkpoint.SEEDS, json.dumps(content, indent=1) + '\n')
