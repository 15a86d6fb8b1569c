"""Training: real pairs a second and peak memory of our step against the published torch loop.

    python -m tests.bench.training [--model=small|base] [--batch=6 --microbatches=2] [--rows] [--tiny]

Both sides take optimizer steps (dropout, clip, AdamWScale) on the same real pairs, in one process,
A B A B; weights are float32, activations float32 or bfloat16. The torch loop is the published one, and
a tuned one: pairs of like lengths together, and malloc told to keep its memory, in a process of its
own in which our side has that malloc too. Peak memory is that of a process which runs one side alone.

`--rows` compares shapes of packed rows instead (row_shapes.py).
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fsa_jax.configs import T5Config
from fsa_jax.data.store import PackedFolder
from fsa_jax.data.vocabulary import Vocabulary
from tests.bench import data, harness, row_shapes

TUNED_MALLOC = {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': str(1 << 40)}
BOTH = ('float32', 'bfloat16')


def main() -> None:
    parser = harness.arguments(__doc__ or '')
    parser.add_argument('--model', choices=('small', 'base'), default='small')
    parser.add_argument('--batch', type=int, default=6, help='packed rows of a step')
    parser.add_argument('--microbatches', type=int, default=2, help='of packed rows')
    parser.add_argument('--rows', action='store_true', help='compare shapes of packed rows')
    parser.add_argument('--child', type=json.loads, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        return child(flags.child)
    with tempfile.TemporaryDirectory() as folder:
        if flags.rows:
            row_shapes.measure(flags, Path(folder))
        else:
            measure(flags, Path(folder))


def measure(flags: argparse.Namespace, folder: Path) -> None:
    """All processes in turn, then the report."""
    job = prepare(flags, folder)
    rounds = flags.rounds or (1 if flags.tiny else 2)
    dtypes = BOTH[:1] if flags.tiny else BOTH
    report = harness.Report('training', settings(job, rounds))

    def sides(*names: str) -> list[str]:
        known = [name for name in names if harness.has_torch() or not name.startswith('torch')]
        return [f'{name} {dtype}' for dtype in dtypes for name in known]

    plain = spawn(job, sides('torch plain', 'ours packed', 'ours pairs'), rounds, {})
    add_speed(report, plain, job['pairs'])
    tuned = spawn(job, sides('torch grouped', 'ours packed'), rounds, TUNED_MALLOC)
    add_speed(report, tuned, job['pairs'], ', tuned malloc')
    for name in sides('torch plain', 'ours packed'):
        add_memory(report, name, spawn(job, [name], 0, {}))
    if harness.has_torch():
        add_goals(report, dtypes, plain['device'])
        if report.missed and not flags.tiny:
            without = sides('ours packed', 'ours undropped')
            report.profile = profile(spawn(job, without, rounds, {})['seconds'])
    else:
        report.notes.append('torch or transformers is not installed: its rows are not measured')
    report.device = plain['device']
    report.publish(flags.output)


def prepare(flags: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Packs the pairs, and those of some whole rows; what a child needs to know."""
    vocabulary = Vocabulary(data.vocabulary_path(flags.tiny, folder))
    pairs = data.encode(vocabulary, data.texts(flags.tiny))
    everything = data.pack(folder / 'everything', vocabulary, {'all': pairs})
    rows = data.packed_rows(flags.tiny, flags.batch, flags.microbatches)
    chosen = data.first_rows(everything.store(data.TASK, 'all'), rows)
    data.pack(folder / 'packed', vocabulary, {'all': pairs, 'chosen': chosen})
    name = 'toy' if flags.tiny else flags.model
    return {
        'packed': str(folder / 'packed'),
        'result': str(folder / 'result.json'),
        'tiny': flags.tiny,
        'rows': [flags.batch, flags.microbatches],
        'name': name,
        'model': data.MODELS[name] | {'vocab_size': vocabulary.size},
        'pairs': len(chosen),
        'tokens': [sum(len(pair[side]) for pair in chosen) for side in (0, 1)],
    }


def settings(job: dict[str, Any], rounds: int) -> dict[str, Any]:
    """What was run, for the reader of the JSON."""
    batch, microbatches = job['rows']
    return {
        'model': f'T5 v1.0 {job["name"]}, {job["model"]["vocab_size"]} rows, dropout 0.1, random weights',
        'pairs': f'{job["pairs"]} pairs of whole packed rows, the same on all sides',
        'tokens': dict(zip(('input', 'target'), job['tokens'])),
        'threads': harness.CORES,
        'rounds': rounds,
        'optimizer': 'AdamWScale, clip 1.0, one step on all pairs',
        'torch': 'micro-batches of 20 padded to the longest; bfloat16 by autocast',
        'ours': f'packed: {microbatches} microbatches of {batch // microbatches} rows of the default '
        'shape; pairs: microbatches of <= 20',
    }


# ---------------------------------------------------------------------------------------------
# The report


def add_speed(report: harness.Report, seen: dict[str, Any], pairs: int, how: str = '') -> None:
    """A row of real pairs a second for each side of a process."""
    for name, seconds in seen['seconds'].items():
        dtype, samples = name.split()[-1], [pairs / s for s in seconds]
        row = harness.Row(f'{name}{how}', 'real pairs/s', samples, dtype, seen['allocator'])
        report.rows.append(row)


def add_memory(report: harness.Report, name: str, seen: dict[str, Any]) -> None:
    """A row of the peak of a process that ran one side."""
    report.rows.append(
        harness.Row(f'memory {name}', 'GB', [seen['peak_gb']], name.split()[-1], seen['allocator'])
    )


def add_goals(report: harness.Report, dtypes: Sequence[str], device: str) -> None:
    """Ratios of real pairs a second, and of memory; the goals of speed are for 2 CPU cores."""
    goals = {'float32': 1.2, 'bfloat16': 1.3}
    for dtype in dtypes:
        packed, plain = f'ours packed {dtype}', f'torch plain {dtype}'
        tuned = f'torch grouped {dtype}, tuned malloc'
        goal = {'at_least': goals[dtype]} if device == 'cpu' else {}
        report.ratio(f'{packed} / torch plain float32', packed, 'torch plain float32', **goal)
        if dtype != 'float32':
            report.ratio(f'{packed} / {plain}', packed, plain)
        report.ratio(f'ours pairs {dtype} / {plain}', f'ours pairs {dtype}', plain)
        report.ratio(f'{packed}, tuned malloc / {tuned}', f'{packed}, tuned malloc', tuned)
        memory = f'memory {packed}', f'memory {plain}'
        report.ratio(' / '.join(memory), *memory, at_most=1.0)


def profile(seconds: dict[str, list[float]]) -> dict[str, str]:
    """Shares of our step: what it is faster by without dropout."""
    median = {name: statistics.median(samples) for name, samples in seconds.items()}
    shares = {}
    for name, whole in median.items():
        _, how, dtype = name.split()
        if how == 'packed':
            share = 1 - median[f'ours undropped {dtype}'] / whole
            shares[f'{dtype}: dropout'] = f'{share:.0%} of a step'
    return shares


# ---------------------------------------------------------------------------------------------
# Child processes: one for each allocator, one for each peak of memory


def spawn(job: dict[str, Any], names: list[str], rounds: int, malloc: dict[str, str]) -> Any:
    """`child` in a fresh process; what it saw."""
    print(', '.join(names) + (' with tuned malloc' if malloc else ''), flush=True)
    job = job | {'sides': names, 'rounds': rounds}
    both_on_one_gpu = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
    command = [sys.executable, '-m', 'tests.bench.training', '--child', json.dumps(job)]
    if job['tiny']:
        child(job)  # a toy shows only that it runs
    else:
        environment = os.environ | both_on_one_gpu | malloc
        subprocess.run(command, check=True, cwd=harness.REPOSITORY, env=environment)
    return json.loads(Path(job['result']).read_text())


def child(job: dict[str, Any]) -> None:
    """Times the sides of `job` in turn, or, with no rounds, its one side's peak of memory."""
    build = builder(job)
    runs = {name: build(name) for name in job['sides']}
    seen: dict[str, Any] = {'allocator': harness.allocator()}
    if job['rounds']:
        seen['seconds'] = harness.alternate(runs, job['rounds'])
    else:
        (run,) = runs.values()
        run(), run()  # the second finds all buffers of the optimizer there
        seen['peak_gb'] = harness.peak_memory_gb()
    seen['device'] = harness.device()
    Path(job['result']).write_text(json.dumps(seen))


def builder(job: dict[str, Any]) -> Callable[[str], Callable[[], Any]]:
    """From the name of a side to its step; torch or JAX is imported when a side wants it."""
    chosen = PackedFolder(job['packed']).store(data.TASK, 'chosen')
    pairs = [tuple(ids.tolist() for ids in chosen.pair(i)) for i in range(len(chosen))]

    @functools.cache
    def torch_loop():
        from tests.bench import torch_side

        return torch_side.Loop(T5Config(**job['model']))

    @functools.cache
    def trainer():
        from tests.bench import our_side

        return our_side.Trainer(Path(job['packed']), job['model'])

    def build(name: str) -> Callable[[], Any]:
        side, how, dtype = name.split()
        if side == 'torch':
            return functools.partial(torch_loop().step, pairs, dtype, grouped=how == 'grouped')
        if how == 'packed':
            return trainer().step(data.packed_rows(job['tiny'], *job['rows']), 'all', dtype)
        if how == 'undropped':
            rows = data.packed_rows(job['tiny'], *job['rows'])
            return trainer().step(rows, 'all', dtype, dropout_rate=0.0)
        return trainer().step(data.pair_rows(len(pairs)), 'chosen', dtype)

    return build


if __name__ == '__main__':
    harness.main(main)
