"""What a demo came to: results.json, and the table it prints.

    {"data": "synthetic", "command": "fsa demo …", "machine": {…}, "versions": {…}, "knobs": {…},
     "seconds": {"distilled": 181.2, …}, "peak_memory_gb": 1.9,
     "f1": {"atsa_lab_restaurant": {"baseline": {"normal": 4.4, …},
                                    "control": {"normal": {"seeds": [40.1, …], "mean": …, "sd": …,
                                                           "intervals": [[38.0, 42.3], …]}, …},
                                    "student": {…}}}}

F1s are micro F1 in %, intervals the 95 % bootstrap intervals of each seed. Seconds are those of
the stage runs by folder, from their manifests.
"""

import json
import resource
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from fsa_jax import environment, manifest
from fsa_jax.artifacts import SCORES
from fsa_jax.configs import DemoConfig

RESULTS = 'results.json'
SYSTEMS = ('control', 'student')


def collect(
    folder: Path, demo: DemoConfig, knobs: dict[str, Any], devices: Iterable[Any] = ()
) -> dict[str, Any]:
    """Reads the scores and manifests below a demo's folder; `devices` are those it computed on."""
    names = {demo.data: 'DATA_DIR'}
    seconds = {
        str(path.parent.relative_to(folder)): manifest.read(path.parent)['wall_seconds']
        for path in sorted(folder.rglob(manifest.MANIFEST))
    }
    return {
        'data': 'real' if demo.data else 'synthetic',
        'command': environment.command(names),
        'machine': environment.machine(devices),
        'versions': environment.versions(),
        'knobs': environment.nameless(knobs, names),
        'seconds': seconds,
        'peak_memory_gb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        'f1': {dataset: _dataset(folder / dataset, demo) for dataset in demo.datasets},
    }


def _dataset(folder: Path, demo: DemoConfig) -> dict[str, Any]:
    tasks = {s: [_task(folder / f'scores-{s}-{seed}') for seed in demo.seeds] for s in SYSTEMS}
    baseline = tasks['control'][0]['baseline']['subsets']
    return {
        'baseline': {subset: _percent(values['f1']) for subset, values in baseline.items()},
        **{system: _subsets(runs) for system, runs in tasks.items()},
    }


def _subsets(runs: list[dict[str, Any]]) -> dict[str, Any]:
    summary = {}
    for subset in runs[0]['subsets']:
        values = [run['subsets'][subset] for run in runs]
        seeds = [_percent(value['f1']) for value in values]
        summary[subset] = {
            'seeds': seeds,
            'mean': round(statistics.mean(seeds), 2),
            'sd': round(statistics.stdev(seeds), 2) if len(seeds) > 1 else None,
            'intervals': [[_percent(end) for end in v['f1_interval']] for v in values],
        }
    return summary


def _task(scores: Path) -> dict[str, Any]:
    """What `fsa score` says of the one task in the folder."""
    (task,) = json.loads((scores / SCORES).read_text())['tasks'].values()
    return task


def _percent(share: float) -> float:
    return round(100 * share, 2)


def print_table(results: dict[str, Any]) -> None:
    """A row for each dataset and subset: baseline, control, student, and what distilling gave."""
    from rich import box
    from rich.table import Table

    from fsa_jax.console import Console

    kind = 'real data' if results['data'] == 'real' else 'SYNTHETIC data'
    table = Table(
        title=f'micro F1 (%) on {kind}, mean ± sd over seeds',
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # fits 80 columns
        pad_edge=False,
    )
    for column in ('dataset', 'subset', 'trivial', 'not distilled', 'distilled', 'gain'):
        side: Literal['left', 'right'] = 'left' if column in ('dataset', 'subset') else 'right'
        table.add_column(column, justify=side, no_wrap=True)
    for dataset, f1 in results['f1'].items():
        for number, subset in enumerate(f1['student']):
            control, student = f1['control'][subset], f1['student'][subset]
            table.add_row(
                dataset if number == 0 else '',
                subset,
                f'{f1["baseline"][subset]:.2f}',
                _shown(control),
                _shown(student),
                f'{student["mean"] - control["mean"]:+.2f}',
            )
    Console().print(table)


def _shown(f1: dict[str, Any]) -> str:
    return f'{f1["mean"]:.2f}' + ('' if f1['sd'] is None else f' ± {f1["sd"]:.2f}')
