"""What a run writes down: metrics.jsonl, TensorBoard events, and which step is the best."""

import json
import math
from pathlib import Path
from typing import Any

import jax

from fsa_jax.artifacts import METRICS
from fsa_jax.errors import UserError, nearest
from fsa_jax.manifest import write_atomic
from fsa_jax.progress import say
from fsa_jax.train.checkpoint import BEST, FULL

TENSORBOARD = 'tensorboard'
VALIDATION = 'validation/'
Row = dict[str, Any]


class MetricsLog:
    """Rows of metrics.jsonl, and the same as TensorBoard events.

    A run that resumes at `start` drops the rows beyond it, and a last one that was cut short. Only
    the first process writes.
    """

    def __init__(self, folder: Path, start: int, tensorboard: bool):
        self._path = folder / METRICS
        self.rows = [row for row in _read(self._path) if row['step'] <= start]
        self._file = self._events = None
        self._waiting = b''
        if jax.process_index() == 0:
            write_atomic(self._path, ''.join(map(_line, self.rows)))
            # Unbuffered: what a full disk took of a row is known, and only the rest is written again.
            self._file = open(self._path, 'ab', buffering=0)  # noqa: SIM115
            if tensorboard:
                from tensorboardX import SummaryWriter  # half a second: only where it is wanted

                self._events = SummaryWriter(str(folder / TENSORBOARD), purge_step=start + 1)

    def write(self, row: Row) -> None:
        """Appends a row; `row['step']` counts finished steps. A value that is not finite becomes None.

        JSON has neither NaN nor infinity, and many readers refuse a file that does. On a full disk
        that is said, and the row is written when there is room again.
        """
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self.rows.append(row)
        if self._file is not None:
            self._waiting += _line(row).encode()
            try:
                self._waiting = self._waiting[self._file.write(self._waiting) :]
            except OSError as error:
                if error.errno not in FULL:
                    raise
                say(f'{self._path}: {error.strerror}; the row of step {row["step"]} waits')
        if self._events is not None:
            for name, value in row.items():
                if name != 'step' and value is not None:
                    self._events.add_scalar(name, value, row['step'])

    def evaluated(self, step: int) -> bool:
        """Whether a step has its evaluation row."""
        return any(row['step'] == step and is_evaluation(row) for row in self.rows)

    def close(self) -> None:
        """Closes the files."""
        for file in (self._file, self._events):
            if file is not None:
                file.close()


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + '\n'


def is_evaluation(row: Row) -> bool:
    """Whether a row is of an evaluation rather than of a training step."""
    return any(name.startswith(VALIDATION) for name in row)


def _read(path: Path) -> list[Row]:
    rows = []
    for line in path.read_text(encoding='utf-8').splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line, parse_constant=lambda _: None))
        except ValueError:
            break  # a killed run may leave its last line unfinished
    return rows


class Best:
    """The first step whose metric is strictly better than all before; kept in best.json.

    `metric` is a name of the evaluation rows ('' for none). Losses are better when smaller.
    """

    def __init__(self, folder: Path, metric: str):
        self._path, self.metric = folder / BEST, metric
        self.step: int | None = None
        self._value = -math.inf

    def resume(self, rows: list[Row], there: list[int]) -> None:
        """Finds the best again among the rows whose checkpoints are still there."""
        if jax.process_index() == 0:
            self._path.unlink(missing_ok=True)
        for row in rows:
            if is_evaluation(row) and row['step'] in there:
                self.offer(row)

    def offer(self, row: Row) -> None:
        """Takes note of an evaluation row."""
        if row.get(self.metric) is None:
            return
        is_loss = self.metric.startswith(f'{VALIDATION}loss')
        value = -row[self.metric] if is_loss else row[self.metric]
        if value > self._value:
            self.step, self._value = row['step'], value
            if jax.process_index() == 0:
                content = {'step': self.step, 'metric': self.metric, 'value': row[self.metric]}
                write_atomic(self._path, json.dumps(content) + '\n')


def chosen_metric(name: str, available: list[str]) -> str:
    """The evaluation metric that TrainConfig.metric names among those there are; '' for none."""
    if name == 'none' or (name == 'auto' and f'{VALIDATION}f1' not in available):
        return ''
    full = f'{VALIDATION}f1' if name == 'auto' else VALIDATION + name.removeprefix(VALIDATION)
    if full not in available:
        names = [metric.removeprefix(VALIDATION) for metric in available]
        raise UserError(
            f'TrainConfig.metric={name!r} is not evaluated here; expected auto, none'
            f'{"".join(", " + n for n in names)}{nearest(name, names)}'
        )
    return full


class Throughput:
    """Pairs and tokens a second of training steps alone, not of compiling or evaluating.

    The first step after a pause only starts the clock.
    """

    def __init__(self):
        self._began: float | None = None
        self._ended = 0.0
        self._pairs = self._tokens = self._flops = 0

    def add(self, pairs: int, tokens: int, ended: float, flops: int = 0) -> None:
        """Counts a step, of so many operations, that ended at a time, in seconds."""
        self._ended = ended
        if self._began is None:
            self._began = ended
        else:
            self._pairs += pairs
            self._tokens += tokens
            self._flops += flops

    @property
    def flops_per_second(self) -> float:
        """Operations a second since `lap` or `pause`; 0 before that is known."""
        seconds = self._ended - (self._began or self._ended)
        return self._flops / seconds if seconds else 0.0

    def rates(self) -> dict[str, float]:
        """{'pairs_per_second', 'tokens_per_second'} since `lap` or `pause`; empty before that is known."""
        if self._began is None or not self._pairs:
            return {}
        seconds = self._ended - self._began
        return {
            'pairs_per_second': round(self._pairs / seconds, 3),
            'tokens_per_second': round(self._tokens / seconds, 1),
        }

    def lap(self) -> None:
        """Counts anew from the last step on."""
        self._began, self._pairs, self._tokens, self._flops = self._ended, 0, 0, 0

    def pause(self) -> None:
        """Counts anew from the next step on."""
        self.lap()
        self._began = None
