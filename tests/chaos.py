"""A run that is killed, preempted and moved, against the run that was left alone.

    python -m tests.chaos [--output=docs/results] [--dry-run]        launch/chaos.sh calls this

Trains a small student on synthetic pairs for 20 steps, in real processes with fake devices, and prints
how far the parameters of each broken run end from those of the unbroken one. Writes chaos.json, and
multi_process.json: how far the first 20 losses of 2 and of 4 processes are from those of one.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from fsa_jax import environment, manifest
from fsa_jax.train.checkpoint import open_model, steps
from tests import training
from tests.processes import KNOBS, World, after_a_save

# Relative to the norm of all parameters. Where the devices change, sums are added in another order.
BOUND = 1e-6
LOSS_BOUND = 1e-5  # relative, each of the first 20


@dataclass(frozen=True)
class Break:
    """What happens to a run: started as (processes, devices of each), broken after its first save,
    and ended as others."""

    name: str
    signal: signal.Signals
    start: tuple[int, int]
    end: tuple[int, int]

    @property
    def bound(self) -> float:
        """On the same topology nothing at all may differ."""
        return 0.0 if self.start == self.end else BOUND


BREAKS = (
    Break('killed', signal.SIGKILL, (1, 8), (1, 8)),
    Break('preempted', signal.SIGTERM, (1, 8), (1, 8)),
    Break('8 devices to 4', signal.SIGKILL, (1, 8), (1, 4)),
    Break('2 processes to 1', signal.SIGKILL, (2, 4), (1, 4)),
)
OFTEN = ('--gin.TrainConfig.save_every=1',)  # so that a signal comes in the middle


def parameters(folder: Path) -> np.ndarray:
    """All parameters of the last step, flat."""
    leaves = jax.tree.leaves(open_model(folder).load_params('latest'))
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in leaves])


def losses(folder: Path) -> np.ndarray:
    """The loss of each step."""
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    return np.array([json.loads(line)['loss'] for line in lines])


def broken(world: World, number: int, case: Break) -> tuple[Path, int, int]:
    """(folder, the step it was broken after, its exit status) of a run that was broken and ended."""
    name = f'broken-{number}'
    with world.train(name, *case.start, *OFTEN) as group:
        after_a_save(group, world.folder / name)
        group.processes[-1].send_signal(case.signal)
        status = group.wait()[-1]
    at = steps(world.folder / name)[-1]
    return world.finish(name, *case.end, *OFTEN), at, status


def chaos(world: World, unbroken: Path) -> list[dict]:
    """A row for each of BREAKS."""
    expected, rows = parameters(unbroken), []
    for number, case in enumerate(BREAKS):
        folder, at, status = broken(world, number, case)
        difference = parameters(folder) - expected
        rows.append({
            'run': case.name,
            'signal': case.signal.name,
            'exit_status': status,
            'broken_at_step': at,
            'from': '{} x {} devices'.format(*case.start),
            'to': '{} x {} devices'.format(*case.end),
            'relative_difference': float(np.linalg.norm(difference) / np.linalg.norm(expected)),
            'largest_difference': float(np.abs(difference).max()),
            'bound': case.bound,
        })  # fmt: skip
    return rows


def multi_process(world: World, one: Path) -> list[dict]:
    """A row for 2 and one for 4 processes."""
    expected, rows = losses(one), []
    for processes, devices in ((2, 4), (4, 2)):
        found = losses(world.finish(f'of-{processes}', processes, devices))
        rows.append({
            'processes': processes,
            'devices': devices,
            'steps': len(found),
            'largest_relative_difference': float(np.max(np.abs(found - expected) / expected)),
            'bound': LOSS_BOUND,
        })  # fmt: skip
    return rows


def show(title: str, rows: list[dict]) -> None:
    """Prints a table."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace('_', ' '))
    for row in rows:
        table.add_row(*(f'{x:.2g}' if isinstance(x, float) else str(x) for x in row.values()))
    Console(width=120).print(table)


def save(path: Path, what: str, rows: list[dict]) -> None:
    """Writes a result with where it was made."""
    content = {
        'command': 'python -m tests.chaos',
        'data': 'synthetic',
        'what': what,
        'config': KNOBS,
        'rows': rows,
        'machine': environment.machine(jax.devices()),
        'versions': environment.versions(),
        'finished': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
    }
    manifest.write_atomic(path, json.dumps(content, indent=1) + '\n')


def main() -> int:
    """Exit status 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--output', default='docs/results', type=Path)
    parser.add_argument('--dry-run', action='store_true', help='say what would be run')
    arguments = parser.parse_args()
    if arguments.dry_run:
        for case in BREAKS:
            start, end = ('{} x {}'.format(*x) for x in (case.start, case.end))
            print(f'{case.name}: {case.signal.name} on {start} devices, ended on {end}')
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        world = World(folder, training.spiece(folder))
        one = world.finish('unbroken', 1, 8)
        runs = chaos(world, one)
        show('parameters after 20 steps, against the unbroken run', runs)
        save(arguments.output / 'chaos.json', 'parameters against the unbroken run, L2', runs)
        processes = multi_process(world, one)
        show('losses of the first 20 steps, against one process', processes)
        save(arguments.output / 'multi_process.json', 'losses against one process', processes)
    held = all(row['relative_difference'] <= row['bound'] for row in runs)
    held &= all(row['largest_relative_difference'] <= row['bound'] for row in processes)
    return 0 if held else 1


if __name__ == '__main__':
    sys.exit(main())
