"""What a run writes down: metrics.jsonl, TensorBoard events, and which step is the best."""

import json
import math
import platform
import struct
import time
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
        path = folder / METRICS
        self.rows = [row for row in _read(path) if row['step'] <= start]
        self._file = self._events = None
        if jax.process_index() == 0:
            write_atomic(path, ''.join(map(_line, self.rows)))
            self._file = Growing(path)
            if tensorboard:
                self._events = _Events(folder / TENSORBOARD, start)

    def write(self, row: Row) -> None:
        """Appends a row; `row['step']` counts finished steps. A value that is not finite becomes None.

        JSON has neither NaN nor infinity, and many readers refuse a file that does.
        """
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self.rows.append(row)
        if self._file is not None:
            self._file.write(_line(row).encode())
        if self._events is not None:
            self._events.write(row)

    def evaluated(self, step: int) -> bool:
        """Whether a step has its evaluation row."""
        return any(row['step'] == step and is_evaluation(row) for row in self.rows)

    def close(self) -> None:
        """Closes the files."""
        for file in (self._file, self._events):
            if file is not None:
                file.close()


class Growing:
    """A file that is appended to. What a full disk does not take waits, and is written when there is
    room again: of that one line is said, and the run goes on."""

    def __init__(self, path: Path):
        self._path, self._waiting, self._said = path, b'', False
        # Unbuffered: what a full disk took is known, and only the rest is written again.
        self._file = open(path, 'ab', buffering=0)  # noqa: SIM115

    def write(self, content: bytes) -> None:
        """Appends `content`, and what waits before it."""
        self._waiting += content
        try:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]
        except OSError as error:
            if error.errno not in FULL:
                raise
            if not self._said:
                say(f'{self._path}: {error.strerror}; what belongs there waits')
        self._said = bool(self._waiting)

    def close(self) -> None:
        """Writes what waits, and closes the file."""
        self.write(b'')
        self._file.close()


class _Events:
    """A file of TensorBoard events, one event a row.

    tensorboardX's own writer passes events to a thread: a full disk kills it, and the run then waits
    for room in its queue for ever.
    """

    def __init__(self, folder: Path, start: int):
        # Half a second: only where it is wanted.
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import masked_crc32c

        self._event, self._summary, self._checksum = Event, Summary, masked_crc32c
        folder.mkdir(exist_ok=True)
        name = f'events.out.tfevents.{int(time.time())}.{platform.node()}'
        self._file = Growing(folder / name)
        self._append(file_version='brain.Event:2')
        # TensorBoard drops what an earlier start wrote from this step on.
        self._append(step=start + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, row: Row) -> None:
        """Appends the values of a row that are finite."""
        values = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != 'step' and value is not None
        ]
        self._append(step=row['step'], summary=self._summary(value=values))

    def _append(self, **fields: Any) -> None:
        """An event as a TFRecord: its length, its bytes, and a checksum of each."""
        data = self._event(wall_time=time.time(), **fields).SerializeToString()
        parts = struct.pack('<Q', len(data)), data
        self._file.write(b''.join(x + struct.pack('<I', self._checksum(x)) for x in parts))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


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
        self._waiting = ''  # what best.json is to hold

    def resume(self, rows: list[Row], there: list[int]) -> None:
        """Finds the best again among the rows whose checkpoints are still there."""
        if jax.process_index() == 0:
            self._path.unlink(missing_ok=True)
        for row in rows:
            if is_evaluation(row) and row['step'] in there:
                self.offer(row)

    def offer(self, row: Row) -> None:
        """Takes note of an evaluation row. On a full disk best.json waits: that is said."""
        if row.get(self.metric) is not None:
            value = sign(self.metric) * row[self.metric]
            if value > self._value:
                self.step, self._value = row['step'], value
                content = {'step': self.step, 'metric': self.metric, 'value': row[self.metric]}
                self._waiting = json.dumps(content) + '\n'
        try:
            self.write()
        except OSError as error:
            if error.errno not in FULL:
                raise
            say(f'{self._path}: {error.strerror}; that step {self.step} is the best waits')

    def write(self) -> None:
        """Writes best.json, unless it is as it should be."""
        if self._waiting and jax.process_index() == 0:
            write_atomic(self._path, self._waiting)
        self._waiting = ''


def sign(metric: str) -> int:
    """What a metric is multiplied by so that higher is better."""
    return -1 if metric.startswith(f'{VALIDATION}loss') else 1


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
