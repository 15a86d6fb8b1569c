"""Stage `score`: micro F1 of predictions on every subset, with intervals and the trivial baseline.

Writes two files. `scores.json`:

    {"tasks": {"fsa_acsa_rest16": {
        "metric": "acsa",
        "rows": 1016, "empty": 3, "flags": {"truncated": 1},
        "subsets": {"normal": {"precision": 0.7, "recall": …, "f1": …, "strict_precision": …,
                               "strict_recall": …, "strict_f1": …, "sentences": 1016,
                               "predicted": …, "gold": …, "dropped": …,
                               "f1_interval": [0.68, 0.72], "strict_f1_interval": […]},
                    "implicit": {…}, "multiple": {…}, "explicit": {…}},
        "breakdown": {"polarity": {"positive": {"precision": …, "recall": …, "f1": …, "gold": …,
                                                "predicted": …}, …}, "category": {…}},
        "baseline": {"prediction": "food quality | positive", "subsets": {…}},
        "user_metrics": {"name": 0.5}}}}

where `subsets` and `breakdown` are there for a task with a metric, `baseline` with ScoreConfig.baseline_data, and
`user_metrics` with ScoreConfig.metric_module. `examples.jsonl` has a row (`Judged`) for each
prediction of a task with a metric: which of its pairs are right, wrong or missed, and its counts.
"""

import dataclasses
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from fsa_jax import manifest, stages, text_format
from fsa_jax.artifacts import SCORES, predictions_in
from fsa_jax.configs import ScoreConfig
from fsa_jax.console import Console
from fsa_jax.data.store import PackedFolder
from fsa_jax.errors import UserError
from fsa_jax.evaluate import baseline, bootstrap, f1
from fsa_jax.evaluate.breakdown import breakdown
from fsa_jax.records import Prediction, read_jsonl, write_jsonl

EXAMPLES = 'examples.jsonl'
SUBSETS = ('normal', 'implicit', 'multiple', 'explicit')  # those that come first, in this order


@dataclass(frozen=True)
class Judged:
    """A prediction against its gold: pairs as 'term | polarity', and the parts the parser dropped."""

    task: str
    id: str
    sentence: str
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()  # f1.COUNTS
    subsets: tuple[str, ...] = ()


def run(out: manifest.Output, config: ScoreConfig) -> None:
    """Scores the predictions of `config.predictions`; prints a table, writes two files."""
    if not config.predictions:
        raise UserError('ScoreConfig.predictions must name an output folder of `fsa predict`')
    folder = out.read('ScoreConfig.predictions', config.predictions)
    packed = None
    if config.baseline_data:
        packed = PackedFolder(out.read('ScoreConfig.baseline_data', config.baseline_data))
    user_metric = load_metric(config.metric_module) if config.metric_module else None
    by_task = read_predictions(folder)
    scores = {
        task: score_task(rows, config, packed=packed, user_metric=user_metric)
        for task, rows in sorted(by_task.items())
    }
    content = json.dumps({'tasks': scores}, indent=1, ensure_ascii=False)
    manifest.write_atomic(out.folder / SCORES, content + '\n')
    judged = (judge(row) for _, rows in sorted(by_task.items()) for row in rows if row.metric)
    write_jsonl(out.folder / EXAMPLES, judged)
    out.counts['sentences'] = sum(len(rows) for rows in by_task.values())
    out.counts['empty'] = sum(task['empty'] for task in scores.values())
    print_table(scores)


def read_predictions(folder: Path) -> dict[str, list[Prediction]]:
    """The rows of a predict folder by task, in order; UserError where a row has no gold."""
    path = predictions_in(folder)
    if not path.is_file():
        raise UserError(
            f'ScoreConfig.predictions={folder} has no {path.name}; is it of `fsa predict`?'
        )
    by_task: dict[str, list[Prediction]] = {}
    for number, row in enumerate(read_jsonl(Prediction, path), 1):
        if row.gold is None:
            raise UserError(
                f'{path}: row {number} (id {row.id!r}) has no gold, so there is nothing to score '
                'against; predict a split of a packed task (PredictConfig.data) instead of '
                'PredictConfig.input'
            )
        by_task.setdefault(row.task, []).append(row)
    if not by_task:
        raise UserError(f'{path} is empty; expected at least one prediction')
    return by_task


def load_metric(name: str) -> Callable[..., dict[str, float]]:
    """The user's function that 'module:function' names, in the current folder or on PYTHONPATH."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script starts with its own folder there
    try:
        return stages.load(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"ScoreConfig.metric_module={name!r} must be 'module:function', in the current folder or "
            f'on PYTHONPATH; {error}'
        ) from None


def score_task(
    rows: Sequence[Prediction],
    config: ScoreConfig,
    *,
    packed: PackedFolder | None = None,
    user_metric: Callable[..., dict[str, float]] | None = None,
) -> dict[str, Any]:
    """The entry of one task in scores.json."""
    task, metric = rows[0].task, rows[0].metric
    if not metric and user_metric is None:
        raise UserError(
            f"task {task!r} has no metric ('acsa' or 'atsa'); score it with your own function: "
            "ScoreConfig.metric_module='module:function'"
        )
    result: dict[str, Any] = {
        'metric': metric,
        'rows': len(rows),
        'empty': sum(not row.prediction.strip() for row in rows),
        'flags': dict(Counter(flag for row in rows for flag in row.flags)),
    }
    if metric:
        result['subsets'] = score_subsets(metric, rows, [r.prediction for r in rows], config)
        result['breakdown'] = breakdown(metric, rows)
        if packed:
            pair = baseline.most_frequent_pair(
                metric, (e.gold for e in packed.store(task, 'train').examples())
            )
            subsets = score_subsets(metric, rows, [pair] * len(rows), config)
            result['baseline'] = {'prediction': pair, 'subsets': subsets}
    if user_metric:
        values = user_metric([r.prediction for r in rows], [r.gold for r in rows])
        result['user_metrics'] = _numbers(values, config.metric_module)
    return result


def _numbers(values: Any, name: str) -> dict[str, float]:
    try:
        return {str(key): float(value) for key, value in values.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(
            f'ScoreConfig.metric_module={name!r} must return {{name: number}}; got {values!r:.80}'
        ) from None


def score_subsets(
    metric: str, rows: Sequence[Prediction], predictions: Sequence[str], config: ScoreConfig
) -> dict[str, dict[str, Any]]:
    """Score and intervals of `predictions` on all rows ('normal') and on each of their subsets."""
    counts = f1.count(metric, predictions, [r.gold or '' for r in rows], [r.sentence for r in rows])
    others = {name for row in rows for name in row.subsets} - set(SUBSETS)
    result = {}
    for name in (*SUBSETS, *sorted(others)):
        member = np.array([name == 'normal' or name in row.subsets for row in rows])
        if member.any():
            result[name] = _with_intervals(counts[member], config)
    return result


def _with_intervals(counts: np.ndarray, config: ScoreConfig) -> dict[str, Any]:
    result = dataclasses.asdict(f1.summarise(counts))
    if config.bootstrap:
        ends = bootstrap.intervals(counts, config.bootstrap, config.seed)
        result |= {'f1_interval': ends[2].tolist(), 'strict_f1_interval': ends[5].tolist()}
    return result


def judge(row: Prediction) -> Judged:
    """Which pairs of a prediction the published scorer counts as right, wrong, missed or not at all."""
    task, polarities = f1.parse_metric(row.metric)
    predicted, dropped = text_format.parse(task, row.prediction, row.sentence, polarities)
    gold = text_format.parse(task, row.gold or '', row.sentence, polarities).pairs

    def strings(pairs):
        return tuple(text_format.join([pair]) for pair in pairs)

    return Judged(
        row.task,
        row.id,
        row.sentence,
        right=strings(p for p in predicted if p in gold),
        wrong=strings(p for p in predicted if p not in gold),
        missed=strings(p for p in gold if p not in predicted),
        dropped=tuple(dropped),
        counts=tuple(f1.count_pairs(predicted, gold, len(dropped))),
        subsets=row.subsets,
    )


def print_table(scores: dict[str, dict[str, Any]]) -> None:
    """The scores as tables on standard output, in percent."""
    console = Console()
    for task, entry in scores.items():
        table = Table(
            title=f'{task} ({entry["rows"]} sentences)', title_justify='left', box=box.SIMPLE_HEAD
        )
        table.add_column('subset')
        for column in ('sentences', 'P', 'R', 'F1', '95 %', 'strict F1', 'trivial'):
            table.add_column(column, justify='right')
        trivial = entry.get('baseline', {}).get('subsets', {})
        for name, s in entry.get('subsets', {}).items():
            table.add_row(
                name,
                str(s['sentences']),
                *(percent(s[key]) for key in ('precision', 'recall', 'f1')),
                interval(s.get('f1_interval')),
                percent(s['strict_f1']),
                percent(trivial[name]['f1']) if trivial else '-',
            )
        if entry.get('subsets'):
            console.print(table)
        for name, value in entry.get('user_metrics', {}).items():
            console.print(f'{task}: {name} {value:.4g}')


def percent(value: float) -> str:
    """`41.3` for 0.413."""
    return f'{100 * value:.1f}'


def interval(ends: Sequence[float] | None) -> str:
    """`38.0–44.1` for (0.38, 0.441); `-` for none."""
    return '–'.join(percent(end) for end in ends) if ends else '-'
