"""Stage `report`: `report.html`, one page that needs nothing beside it, and `report.md`.

Loss curves and validation F1 of training runs, the F1 table with intervals, spread over seeds and the
trivial baseline, the table of systems that give labels, paired tests between systems, F1 by polarity and
category, examples of gold against prediction with the mistakes first, inputs that splits share, and
where each number comes from.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from fsa_jax import manifest
from fsa_jax.artifacts import SCORES
from fsa_jax.configs import ReportConfig
from fsa_jax.errors import UserError
from fsa_jax.evaluate import comparison, curves, label_table, leakage, lineage, significance, table
from fsa_jax.evaluate.score import EXAMPLES, Judged
from fsa_jax.records import read_jsonl
from fsa_jax.train.goodput import KINDS, PREFIX

RIGHT_SHARE = 4  # one example in four may be a right one: a page of mistakes alone misleads


@dataclass(frozen=True)
class Section:
    """Training runs that share their data: one set of panels."""

    title: str
    legend: dict[str, int]  # label -> colour
    figures: list[tuple[curves.Panel, str]]  # with its svg
    runs: dict[str, dict[str, Any]]  # label -> `summary`


def run(out: manifest.Output, config: ReportConfig) -> None:
    """Writes the two pages of `config` into `out.folder`."""
    if not config.runs and not config.scores:
        raise UserError(
            "nothing to report: set ReportConfig.runs={'name': 'folder of train'} or "
            "ReportConfig.scores={'name': 'folder of score'}"
        )
    runs = {n: out.read(f'ReportConfig.runs {n}', p) for n, p in config.runs.items()}
    scores = {n: out.read(f'ReportConfig.scores {n}', p) for n, p in config.scores.items()}
    for number, path in enumerate(config.packed, 1):  # a name may come twice, a path is private
        out.read(f'ReportConfig.packed {number}', path)
    seen: set[str] = set()
    base = out.folder.parent.absolute()
    systems = comparison.systems(scores)
    tables, by_label = split_tasks(scores)
    labels = label_table.tables(by_label, config.resamples, config.price_per_hour)
    if config.resamples:
        tables = [with_intervals(t, systems.get(t.task, {}), config.resamples) for t in tables]
    nodes = [lineage.trace(n, i['path'], i['sha256'], seen, base) for n, i in out.inputs.items()]
    page = {
        'title': config.title,
        'note': config.note,
        'tables': tables,
        'sections': sections(runs),
        'examples': examples(tables, scores, config.examples),
        'labels': labels,
        'compared': compared(tables, labels, systems, config.resamples),
        'test': significance.TEST,
        'leakage': leakage.leakage(nodes, {t.task: t.texts for t in labels}).line,
        'lineage': nodes,
    }
    manifest.write_atomic(out.folder / 'report.html', render('report.html.j2', page))
    manifest.write_atomic(out.folder / 'report.md', render('report.md.j2', page))


def split_tasks(
    scores: Mapping[str, Path],
) -> tuple[list[table.Table], dict[str, dict[str, Path]]]:
    """The tables of tasks that are scored by pairs, and {task: {name: folder}} of those by labels."""
    by_pairs: dict[str, dict[str, Any]] = {}
    by_label: dict[str, dict[str, Path]] = {}
    for name, folder in scores.items():
        for task, entry in read_scores(folder).items():
            if 'metric' in entry:
                by_pairs.setdefault(name, {})[task] = entry
            else:
                by_label.setdefault(task, {})[name] = folder
    return table.tables(by_pairs), by_label


def with_intervals(
    t: table.Table, systems: Mapping[str, comparison.System], resamples: int
) -> table.Table:
    """The table with the interval of the mean where a row has several seeds."""
    rows = []
    for row in t.rows:
        system = systems.get(curves.group(next(iter(row.runs))))
        cells = row.cells
        if system is not None and len(row.runs) > 1:
            ends = {s: system.interval(s, resamples) for s in cells}
            cells = {
                s: dataclasses.replace(cell, low=100 * ends[s][0], high=100 * ends[s][1])
                for s, cell in cells.items()
            }
        rows.append(dataclasses.replace(row, cells=cells))
    return dataclasses.replace(t, rows=rows)


def compared(
    tables: Sequence[table.Table],
    labels: Sequence[label_table.LabelTable],
    systems: Mapping[str, Mapping[str, comparison.System]],
    n: int,
) -> dict[str, list[comparison.Compared]]:
    """Paired tests by task, of tasks that have two systems or more; names are those of the table."""
    result = {t.task: t.compared for t in labels if t.compared}
    for t in tables:
        found = systems.get(t.task, {})
        if n and len(found) > 1:
            shown = table.short_names(list(found))
            result[t.task] = [
                dataclasses.replace(pair, a=shown[pair.a], b=shown[pair.b])
                for pair in comparison.comparisons(found, n)
            ] + result.get(t.task, [])
    return result


def read_scores(folder: Path) -> dict[str, Any]:
    """The `tasks` of a scores.json."""
    path = folder / SCORES
    if not path.is_file():
        raise UserError(
            f'ReportConfig.scores: {folder} has no {SCORES}; expected a folder of score, zero-shot or in-context'
        )
    try:
        return json.loads(path.read_text(encoding='utf-8'))['tasks']
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is damaged: {type(error).__name__} {error}') from None


def examples(
    tables: Sequence[table.Table], scores: Mapping[str, Path], count: int
) -> list[tuple[str, Judged]]:
    """(name, example) of the best system on each task, its first seed: mistakes first."""
    tables = [t for t in tables if t.subsets]
    chosen = []
    for i, t in enumerate(tables):
        best = max(t.rows, key=lambda row: row.cells['normal'].f1)
        name = next(iter(best.runs))
        judged = [j for j in read_jsonl(Judged, scores[name] / EXAMPLES) if j.task == t.task]
        share = count * (i + 1) // len(tables) - count * i // len(tables)
        chosen += [(name, j) for j in pick(judged, share)]
    return sorted(chosen, key=lambda pair: not is_mistake(pair[1]))


def pick(judged: Sequence[Judged], count: int) -> list[Judged]:
    """`count` examples, or all: mistakes, and a few right ones, both spread evenly over the file."""
    mistakes = [j for j in judged if is_mistake(j)]
    right = [j for j in judged if j.right and not is_mistake(j)]
    number = min(len(mistakes), max(count - len(right), count - count // RIGHT_SHARE))
    return spread(mistakes, number) + spread(right, count - number)


def is_mistake(judged: Judged) -> bool:
    """Whether anything is wrong, missed or malformed."""
    return bool(judged.wrong or judged.missed or judged.dropped)


def spread(items: Sequence[Judged], count: int) -> list[Judged]:
    """`count` of the items, or all, evenly spaced."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def sections(runs: Mapping[str, Path]) -> list[Section]:
    """Runs with the same data and tasks share axes; a run of other data has its own."""
    by_data: dict[str, dict[str, Path]] = {}
    for name, folder in runs.items():
        by_data.setdefault(_data(folder) or name, {})[name] = folder
    return [_section(members) for members in by_data.values()]


def _data(folder: Path) -> str:
    # The manifest of a seed of several that trained together lies a folder above.
    content = manifest.find(folder) or manifest.find(folder.parent)
    if content is None:
        return ''
    knobs = content['knobs']
    return json.dumps([knobs.get('TrainConfig.data'), knobs.get('TrainConfig.tasks')])


def _section(members: Mapping[str, Path]) -> Section:
    shown = table.short_names(list(members))
    title = next(iter(members)).removesuffix(next(iter(shown.values()))).strip('/')
    series = {shown[name]: curves.read_metrics(folder) for name, folder in members.items()}
    panels = curves.panels(series)
    groups = list(dict.fromkeys(curves.group(name) for name in series))
    return Section(
        title or ', '.join(groups),
        {name: i % curves.SERIES_COLOURS for i, name in enumerate(groups)},
        [(panel, curves.draw(panel)) for panel in panels],
        {name: summary(values) for name, values in series.items()},
    )


def summary(series: Mapping[str, curves.Points]) -> dict[str, Any]:
    """Steps, last loss, best validation loss and F1 of a run, shares of its wall time, the last MFU:
    as far as it logged them."""
    result: dict[str, Any] = {
        'steps': int(max((steps[-1] for steps, _ in series.values()), default=0))
    }
    if 'loss' in series:
        result['loss'] = series['loss'][1][-1]
    if 'validation/loss' in series:
        result['validation_loss'] = min(series['validation/loss'][1])
    if 'validation/f1' in series:
        steps, values = series['validation/f1']
        result['f1'] = 100 * max(values)
        result['f1_step'] = int(
            steps[values.index(max(values))]
        )  # the first: strictly greater wins
    if PREFIX + KINDS[0] in series:
        result['goodput'] = {kind: series[PREFIX + kind][1][-1] for kind in KINDS}
    if 'mfu' in series:
        result['mfu'] = series['mfu'][1][-1]
    return result


def render(template: str, page: Mapping[str, Any]) -> str:
    """A template of this package, filled in; HTML is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('fsa_jax.evaluate', 'templates'),
        autoescape=jinja2.select_autoescape(['html.j2']),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    css = resources.files('fsa_jax.evaluate').joinpath('templates', 'report.css')
    return environment.get_template(template).render(page, css=css.read_text(encoding='utf-8'))
