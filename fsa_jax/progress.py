"""Progress with an ETA: a bar on a terminal, a plain line every few seconds elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, Protocol

_LINE_SECONDS = 5.0  # between plain lines: a log stays readable over hours


_hushed = False


class Bar(Protocol):
    """What `track` yields."""

    def update(self, n: float = 1, **fields: Any) -> None:
        """Advances by `n` units; `fields` are shown beside the bar, such as loss=1.25."""


@contextlib.contextmanager
def track(name: str, total: float | None, unit: str = '', start: float = 0) -> Iterator[Bar]:
    """Shows progress of `name` towards `total` units (None: unknown), from `start` on a resume."""
    bar = _Nothing if _hushed else _Terminal if sys.stderr.isatty() else _Lines
    with bar(name, total, unit, start) as shown:
        yield shown


def say(message: str) -> None:
    """One line to the user, on standard error, so that standard output stays data."""
    if not _hushed:
        tell(message)


def tell(message: str) -> None:
    """One line on standard error, from a process that is hushed too."""
    with unheard(sys.stderr):
        print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def unheard(stream: IO[str]) -> Iterator[None]:
    """Within, it is no error that the reader of `stream` is gone (`| head -1`): the work is for the
    files that it writes."""
    try:
        yield
    except BrokenPipeError:
        mute(stream)


def mute(stream: IO[str]) -> None:
    """What is written to `stream`, or waits in its buffer, goes nowhere from here on."""
    with open(os.devnull, 'wb') as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def hush() -> None:
    """This process shows nothing from here on: another one shows the same."""
    global _hushed
    _hushed = True


def _text(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


class _Nothing:
    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, n: float = 1, **fields: Any) -> None:
        pass


class _Terminal:
    def __init__(self, name, total, unit, start):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        from fsa_jax.console import Console

        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn('ETA'),
            TimeRemainingColumn(),
            TextColumn('{task.fields[shown]}'),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(name, total=total, completed=start, shown='')

    def __enter__(self):
        self._progress.start()
        return self

    def __exit__(self, *_):
        self._progress.stop()

    def update(self, n: float = 1, **fields: Any) -> None:
        shown = '  '.join(f'{k} {_text(v)}' for k, v in fields.items())
        if fields:
            self._progress.update(self._task, shown=shown)
        self._progress.advance(self._task, n)


class _Lines:
    def __init__(self, name, total, unit, start):
        self._name, self._total, self._unit = name, total, unit
        self._start = self._done = self._said = start
        self._fields: dict[str, Any] = {}

    def __enter__(self):
        self._began = self._printed = time.monotonic()
        return self

    def __exit__(self, *_):
        if self._printed > self._began and self._done > self._said:
            self._print()

    def update(self, n: float = 1, **fields: Any) -> None:
        self._done += n
        self._fields = fields
        if time.monotonic() - self._printed >= _LINE_SECONDS:
            self._print()

    def _print(self) -> None:
        self._printed, self._said = time.monotonic(), self._done
        seconds = self._printed - self._began
        rate = (self._done - self._start) / seconds if seconds else 0.0
        parts = [f'{self._name}: {_text(self._done)}']
        if self._total is not None:
            parts[0] += f'/{_text(self._total)}'
        parts[0] += f' {self._unit}'.rstrip()
        parts += [f'{rate:.3g} {self._unit or "units"}/s'] + [
            f'{k} {_text(v)}' for k, v in self._fields.items()
        ]
        if self._total is not None and rate:
            parts.append(f'ETA {_duration((self._total - self._done) / rate)}')
        say('  '.join(parts))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f'{hours}h{minutes:02d}m'
        if hours
        else f'{minutes}m{seconds:02d}s'
        if minutes
        else f'{seconds}s'
    )
