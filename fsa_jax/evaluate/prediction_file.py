"""predictions.jsonl while it is being written: a chunk at a time, so that a killed run goes on.

A mark beside it says how far the whole chunks reach. After a kill the tail beyond it is cut off and
the run goes on there: the result is, byte for byte, that of a run that was never stopped.
"""

import collections
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from fsa_jax import manifest, progress
from fsa_jax.artifacts import PREDICTIONS
from fsa_jax.records import Prediction, to_json
from fsa_jax.train.stopping import EXIT_STATUS, Stopper

_MARK = '.predictions.mark.json'


class PredictionFile:
    """A context to append in. `rows` is how many there are, at first those of a killed run, and
    `seconds` what the model took for each kind of them, compiling included.

    Every process has all predictions; the main one writes them.
    """

    def __init__(self, out: manifest.Output):
        self.path, self.mark = out.folder / PREDICTIONS, out.folder / _MARK
        self.out = out
        mark = out.hosts.first(self._read_mark)
        self.rows: int = mark['rows']
        self.seconds: dict[str, float] = mark['seconds']
        self.flags = collections.Counter(mark['flags'])
        self.file = None
        if out.hosts.main:
            self.file = open(self.path, 'ab')  # noqa: SIM115 - closed by __exit__
            self.file.truncate(mark['bytes'])

    def _read_mark(self) -> dict[str, Any]:
        empty = {'rows': 0, 'bytes': 0, 'seconds': {}, 'flags': {}}
        if not self.mark.exists():
            return empty
        mark = json.loads(self.mark.read_text())
        whole = self.path.exists() and self.path.stat().st_size >= mark['bytes']
        return mark if whole else empty

    def __enter__(self):
        return self

    def fill(
        self,
        title: str,
        total: int,
        chunks: Callable[[int], Iterable[list[Prediction]]],
        kind: Callable[[Prediction], str] = lambda row: '',
    ) -> None:
        """Appends the `total - rows` predictions that are not there yet; `chunks(n)` are those from
        row n on. The seconds of a chunk are those of the `kind` of its first row. SystemExit with
        status 143 after SIGTERM, and the chunk that was under way."""
        with Stopper() as stopper, progress.track(title, total, 'rows', self.rows) as bar:
            began = time.monotonic()
            for number, predictions in enumerate(chunks(self.rows), 1):
                name = kind(predictions[0])
                self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
                self.write(predictions)
                bar.update(len(predictions))
                began = time.monotonic()
                if stopper.should_stop(number) and self.rows < total:
                    progress.say(
                        f'stopped by SIGTERM after row {self.rows:,}; the same command goes on'
                    )
                    raise SystemExit(EXIT_STATUS)

    def write(self, predictions: list[Prediction]) -> None:
        """Appends one chunk; on return it is on disk and marked."""
        self.rows += len(predictions)
        self.flags.update(flag for p in predictions for flag in p.flags)
        if self.file is None:
            return
        lines = ''.join(to_json(p) + '\n' for p in predictions)
        self.file.write(lines.encode('utf-8', 'replace'))
        self.file.flush()
        os.fsync(self.file.fileno())
        mark = {
            'rows': self.rows,
            'bytes': self.file.tell(),
            'seconds': self.seconds,
            'flags': self.flags,
        }
        manifest.write_atomic(self.mark, json.dumps(mark))

    def __exit__(self, kind, *_):
        """Closes it; without an error it is whole, and the mark goes."""
        if self.file is None:
            return
        self.file.close()
        if kind is None:
            self.mark.unlink(missing_ok=True)
