"""The run of seeds that train together (TrainConfig.seeds).

    model folder              params with a leading axis of seeds, seeds.json (train/checkpoint.py)
      seed-42/metrics.jsonl   what a run alone would have written; rates and clocks are of all seeds

The best parameters of each seed are chosen inside the state after every evaluation, and one
checkpoint follows: a kill costs what was done since the last one, an epoch at most. A finished run
keeps the best parameters alone: the optimizer's state and the last parameters are three times as much.
"""

import json
import math
import shutil

import jax

from fsa_jax import manifest, progress
from fsa_jax.manifest import write_atomic
from fsa_jax.train import checkpoint
from fsa_jax.train.feed import Fed
from fsa_jax.train.goodput import Goodput
from fsa_jax.train.metrics import sign
from fsa_jax.train.seeds import SeedGroup, ranked
from fsa_jax.train.state import GroupState
from fsa_jax.train.step import StepMetrics, Sums
from fsa_jax.train.training import Training
from fsa_jax.train.validate import Interrupted

_TRAINING = 'training'  # in a checkpoint: what a finished run no longer needs (GroupState.items)
_DROPPED = '.training'  # the same on its way out


class GroupTraining(Training):
    """The run of several seeds: a step is one of each."""

    remedy = 'leave this seed out of TrainConfig.seeds'

    def __init__(self, out: manifest.Output, group: SeedGroup, goodput: Goodput):
        self.group = group
        self.validator = group.validator()
        self.train_step, self.offer = group.compile_train_step(), group.compile_offer()
        logs = [out.folder / f'seed-{seed}' for seed in group.seeds]
        super().__init__(out, group.job, goodput, logs, lambda: None)
        if out.hosts.main:
            for folder in logs:
                folder.mkdir(exist_ok=True)

    @property
    def abstract(self) -> GroupState:
        return self.group.abstract

    def fresh(self) -> GroupState:
        return self.group.start()

    def feed(self, step: int) -> Fed:
        return self.group.feed(step)

    def each(self, metrics: StepMetrics) -> list[StepMetrics]:
        return [
            StepMetrics(objective, norm, Sums(*sums))
            for objective, norm, *sums in zip(metrics.objective, metrics.grad_norm, *metrics.sums)
        ]

    def names(self) -> list[str]:
        return [f' of seed {seed}' for seed in self.group.seeds]

    def resume(self) -> None:
        shape = dict(self.job.partition.mesh.shape)
        progress.say(f'seeds {", ".join(map(str, self.group.seeds))} together on mesh {shape}')

    def run(self) -> None:
        if self.out.hosts.first(self._is_trained):
            self.checkpoints.close()
        else:
            super().run()
        if self.out.hosts.main:  # others may have no folder in common with it
            self.out.counts |= checkpoint.open_model(self.folder).group
        self.out.hosts.first(self._drop_training)

    def boundary(self, step: int, ends_epoch: bool) -> None:
        """Evaluates first: what is saved holds the best so far."""
        evaluate, stop = self.evaluation_due(step, ends_epoch), self.stopper.should_stop(step)
        if evaluate and not stop:
            self.look()
            with self.goodput.spent_on('evaluation'):
                stop = self._evaluate(step)
        if evaluate and stop:  # a state that was not offered is not saved: the epoch is run again
            self.stop(step)
        if step and (evaluate or stop or self.save_due(step)):
            self.save(step)
            self._write_seeds(step)
        if stop:
            self.stop(step)

    def _evaluate(self, step: int) -> bool:
        """Chooses the best of each seed; whether it was asked to stop instead."""
        try:
            values = self.validator.evaluate_each(
                self.state.current.params, self.asked_in_evaluation
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

    def _write_seeds(self, step: int) -> None:
        """seeds.json: when each seed was at its best, as the newest checkpoint has it."""
        values, steps = jax.device_get((self.state.best_value, self.state.best_step))
        best = {
            str(seed): {
                'step': int(when),
                # None before the first evaluation: JSON has no infinity
                'value': sign(self.job.metric) * float(value) if math.isfinite(value) else None,
            }
            for seed, value, when in zip(self.group.seeds, values, steps)
        }
        content = {'seeds': self.group.seeds, 'metric': self.job.metric, 'best': best}
        on_disk = self.newest_saved() == step  # else the disk is full, and this is of no checkpoint
        if on_disk and self.out.hosts.main:
            write_atomic(self.folder / checkpoint.SEEDS, json.dumps(content, indent=1) + '\n')

    # -- the end ---------------------------------------------------------------------------------

    def _is_trained(self) -> bool:
        """Whether an earlier start reached the end, and died after it dropped what it needed till then."""
        last = self.folder / checkpoint.CHECKPOINTS / str(self.job.steps)
        return last.is_dir() and not (last / _TRAINING).exists()

    def _drop_training(self) -> None:
        """Renamed, then deleted: at every moment the checkpoint is whole, or the run is known as trained.

        Checkpoints that went to a URL directly stay as they are: nothing is renamed at once there.
        """
        dropped, root = self.folder / _DROPPED, self.folder / checkpoint.CHECKPOINTS
        training = root / str(self.job.steps) / _TRAINING
        if training.exists():
            training.rename(dropped)
        for path in (dropped, *root.glob(f'*/{_TRAINING}')):
            shutil.rmtree(path, ignore_errors=True)
