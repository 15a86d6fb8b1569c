"""What a benchmark came to: results.json, the same as results.md, and the table that is printed.

    {"command": "fsa benchmark …", "machine": {…}, "versions": {…}, "knobs": {…}, "seconds": {…},
     "test": "paired …", "leakage": "Shared inputs: …",
     "datasets": {"acsa_rest16": {
        "sentences": {"normal": 1016, …}, "baseline": {"normal": 22.9, …},
        "systems": {"student": {
            "dev": {"42": {"step": 800, "value": 0.41}, …},
            "subsets": {"normal": {"seeds": {"42": 41.2, …}, "mean": …, "sd": …,
                                   "interval": [39.8, 42.9], "strict": …}, …},
            "breakdown": {"polarity": {"positive": 50.1, …}, …},
            "thousand": {"input_tokens": 21345.0, "output_tokens": 8123.0, "seconds": 12.1, "cost": null}}, …},
        "gold": {"polarity": {"positive": 700, …}, …},
        "significance": [{"a": "student", "b": "other", "subset": "normal", "difference": 1.2,
                          "interval": [0.3, 2.2], "p": 0.004}, …]}}}

F1s are micro F1 in %, `mean`, `sd` (sample standard deviation) and `strict` over seeds, `interval` the
95 % bootstrap interval of the mean over test sentences; `thousand` is what 1,000 reviews take
(evaluate/expense.py), null where that is not known.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsa_jax import environment, manifest
from fsa_jax.configs import BenchmarkConfig
from fsa_jax.evaluate import comparison, expense, leakage, lineage, significance, table
from fsa_jax.evaluate.report import read_scores
from fsa_jax.train.checkpoint import open_model

JSON, MARKDOWN = 'results.json', 'results.md'


def collect(
    folder: Path,
    config: BenchmarkConfig,
    scores: Mapping[str, Path],
    runs: Mapping[str, Path],
    knobs: dict[str, Any],
) -> dict[str, Any]:
    """Reads the scores, by 'DATASET/SYSTEM/seedSEED', and the runs and manifests below `folder`."""
    seen: set[str] = set()
    base = folder.parent.absolute()
    nodes = [lineage.trace(n, str(p), manifest.digest(p), seen, base) for n, p in scores.items()]
    if config.corpus:
        corpus = Path(config.corpus)
        nodes.append(lineage.trace('corpus', config.corpus, manifest.digest(corpus), seen, base))
    systems = comparison.systems(scores)
    tables = table.tables({name: read_scores(path) for name, path in scores.items()})
    seconds = {
        str(path.parent.relative_to(folder)): manifest.read(path.parent)['wall_seconds']
        for path in sorted(folder.rglob(manifest.MANIFEST))
    }
    names = _names(config)
    found = {
        'command': environment.command(names),
        'machine': environment.machine(),
        'versions': environment.versions(),
        'knobs': environment.nameless(knobs, names),
        'seconds': seconds,
        'test': significance.TEST,
        'leakage': leakage.leakage(nodes).line,
        'datasets': {},
    }
    for t in tables:
        dataset = t.task.removeprefix('fsa_')
        of = found['datasets'][dataset] = _dataset(t, systems[t.task], runs, config.resamples)
        for name, system in of['systems'].items():
            system['thousand'] = expense.of_runs(
                [
                    folder / dataset / name / f'predictions-{seed}'
                    for seed in next(iter(system['subsets'].values()))['seeds']
                ],
                config.price_per_hour,
            )
    return found


def _names(config: BenchmarkConfig) -> dict[str, str]:
    """Places on this machine, and what stands for them."""
    places = {config.data_dir: 'DATA_DIR', config.vocabulary: 'VOCABULARY', config.corpus: 'CORPUS'}
    places |= {path: f'{name.upper()}_FOLDER' for name, path in config.models.items()}
    places |= {path: f'{name.upper()}_FILE' for name, path in config.predictions.items()}
    return places


def _dataset(
    t: table.Table, systems: Mapping[str, comparison.System], runs: Mapping[str, Path], n: int
) -> dict[str, Any]:
    rows = {next(iter(row.runs)).rpartition('/')[0]: row for row in t.rows}
    result: dict[str, Any] = {'sentences': t.subsets}
    if t.baseline:
        result['baseline'] = {s: round(cell.f1, 2) for s, cell in t.baseline.cells.items()}
    result['systems'] = {
        name.rpartition('/')[2]: {
            'dev': _dev(row, runs),
            'subsets': {s: _subset(row, systems[name], s, n) for s in row.cells},
            'breakdown': {
                kind: {name: round(value, 2) for name, value in classes.items()}
                for kind, classes in row.breakdown.items()
            },
        }
        for name, row in rows.items()
    }
    result['gold'] = t.classes
    result['significance'] = [
        {
            'a': pair.a.rpartition('/')[2],
            'b': pair.b.rpartition('/')[2],
            'subset': pair.on,
            'difference': _percent(pair.difference.difference),
            'interval': [_percent(end) for end in pair.difference.interval],
            'p': round(pair.difference.p_value, 4),
        }
        for pair in comparison.comparisons(systems, n)
    ]
    return result


def _seed(run: str) -> str:
    return run.rpartition('/')[2].removeprefix('seed')


def _dev(row: table.Row, runs: Mapping[str, Path]) -> dict[str, Any]:
    """When each seed was at its best on dev, and how good; nothing for answers of a file."""
    return {
        _seed(run): open_model(runs[run].parent).group['best'][_seed(run)]
        for run in row.runs
        if run in runs
    }


def _subset(row: table.Row, system: comparison.System, subset: str, n: int) -> dict[str, Any]:
    cell = row.cells[subset]
    return {
        'seeds': {_seed(run): _percent(subsets[subset]['f1']) for run, subsets in row.runs.items()},
        'mean': round(cell.f1, 2),
        'sd': None if cell.spread is None else round(cell.spread, 2),
        'interval': [_percent(end) for end in system.interval(subset, n)],
        'strict': round(cell.strict_f1, 2),
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)


# ---------------------------------------------------------------------------------------------
# For people


def shown(f1: Mapping[str, Any]) -> str:
    """`41.20 ± 1.03 [39.80, 42.90]`: mean, standard deviation over seeds, interval of the mean."""
    spread = '' if f1['sd'] is None else f' ± {f1["sd"]:.2f}'
    return f'{f1["mean"]:.2f}{spread} [{f1["interval"][0]:.2f}, {f1["interval"][1]:.2f}]'


def markdown(found: Mapping[str, Any]) -> str:
    """results.md."""
    lines = [
        '# The benchmark',
        '',
        f'`{found["command"]}`',
        '',
        'Micro F1 in %: mean ± sample standard deviation over seeds [95 % bootstrap interval of the mean '
        'over test sentences].',
        '',
        f'{found["leakage"]}.',
    ]
    for dataset, of in found['datasets'].items():
        lines += ['', f'## {dataset}', '', *_rows(of)]
        lines += ['', 'For 1,000 reviews:', '', *_expenses(of['systems'])]
        if of['significance']:
            lines += ['', f'Differences in points, {found["test"]}:', '', *_tests(of)]
        for kind, classes in of['gold'].items():
            lines += ['', *_classes(kind, classes, of['systems'])]
    return '\n'.join(lines) + '\n'


def _line(cells) -> str:
    return '| ' + ' | '.join(str(cell).replace('|', '\\|') for cell in cells) + ' |'


def _rows(of: Mapping[str, Any]) -> list[str]:
    subsets = list(of['sentences'])
    head = ['system', 'seeds', *(f'{s} ({of["sentences"][s]})' for s in subsets)]
    lines = [_line(head), '|---' * len(head) + '|']
    for name, system in of['systems'].items():
        seeds = len(next(iter(system['subsets'].values()))['seeds'])
        lines.append(_line([name, seeds, *(shown(system['subsets'][s]) for s in subsets)]))
    if 'baseline' in of:
        lines.append(_line(['trivial baseline', '', *(of['baseline'][s] for s in subsets)]))
    return lines


def _expenses(systems: Mapping[str, Any]) -> list[str]:
    lines = [_line(['system', *(name.replace('_', ' ') for name in expense.NAMES)])]
    lines.append('|---' + '|---:' * len(expense.NAMES) + '|')
    for name, system in systems.items():
        thousand = system['thousand'] or dict.fromkeys(expense.NAMES)
        told = ['–' if x is None else f'{x:,.4g}' for x in thousand.values()]
        lines.append(_line([name, *told]))
    return lines


def _tests(of: Mapping[str, Any]) -> list[str]:
    head = ['systems', 'subset', 'difference', '95 %', 'p']
    rows = [
        [f'{x["a"]} – {x["b"]}', x['subset'], f'{x["difference"]:+.2f}',
         f'{x["interval"][0]:+.2f} to {x["interval"][1]:+.2f}', f'{x["p"]:.4f}']
        for x in of['significance']
    ]  # fmt: skip
    return [_line(head), '|---' * len(head) + '|', *map(_line, rows)]


def _classes(kind: str, classes: Mapping[str, int], systems: Mapping[str, Any]) -> list[str]:
    head = [kind, 'gold pairs', *systems]
    rows = [
        [name, gold, *(system['breakdown'][kind].get(name, '') for system in systems.values())]
        for name, gold in classes.items()
    ]
    return [_line(head), '|---' * len(head) + '|', *map(_line, rows)]


def print_table(found: Mapping[str, Any]) -> None:
    """The table on standard output, a dataset after the other."""
    from rich import box
    from rich.table import Table

    from fsa_jax.console import Console

    console = Console()
    for dataset, of in found['datasets'].items():
        shape = Table(title=f'{dataset}: micro F1 (%), mean ± sd over seeds [95 %]',
                      title_justify='left', box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
        shape.add_column('subset')
        for name in of['systems']:
            shape.add_column(name, justify='right', no_wrap=True)
        shape.add_column('trivial', justify='right')
        for subset in of['sentences']:
            cells = [shown(system['subsets'][subset]) for system in of['systems'].values()]
            shape.add_row(subset, *cells, f'{of["baseline"][subset]:.2f}')
        console.print(shape)
        for x in of['significance']:
            console.print(
                f'  {x["subset"]}: {x["a"]} – {x["b"]} {x["difference"]:+.2f} '
                f'[{x["interval"][0]:+.2f}, {x["interval"][1]:+.2f}], p = {x["p"]:.4f}'
            )
    console.print(found['leakage'])
