"""The table of systems that give one label a row, students (`fsa zero-shot`) and LLMs (`fsa in-context`) alike.

A system with several methods is a row for each. Names that differ after their last slash are seeds of
one system, as in the F1 table (evaluate/table.py).
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fsa_jax.artifacts import PREDICTIONS
from fsa_jax.errors import UserError
from fsa_jax.evaluate import bootstrap, expense
from fsa_jax.evaluate.classification import MEASURES, count
from fsa_jax.evaluate.comparison import Compared
from fsa_jax.evaluate.curves import group
from fsa_jax.evaluate.significance import compare
from fsa_jax.evaluate.table import short_names, spread
from fsa_jax.records import Prediction, read_jsonl


@dataclass(frozen=True)
class Score:
    """A score in percent, the mean over seeds; `spread` is their sample standard deviation, and
    `low` and `high` are the ends of the mean's 95 % interval over rows."""

    mean: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One system: a score for each of `classification.MEASURES`, rows without a label (the mean over
    seeds), and what 1,000 rows take."""

    name: str
    seeds: int
    scores: dict[str, Score]
    unlabelled: float
    thousand: expense.Expense


@dataclass(frozen=True)
class LabelTable:
    """All systems on one task, a row of `texts` each, and every two of them compared by each measure."""

    task: str
    texts: list[str]
    rows: list[Row]
    compared: list[Compared]


@dataclass(frozen=True)
class _Run:
    folder: Path
    method: str
    rows: list[Prediction]


def tables(
    tasks: Mapping[str, Mapping[str, Path]], resamples: int, price_per_hour: float = 0.0
) -> list[LabelTable]:
    """Tables of {task: {name: folder of predictions}}; 0 resamples leave out intervals and tests.

    `price_per_hour` is that of the machine that students answer on. UserError where two systems have
    not answered the same rows.
    """
    return [
        _table(task, _systems(task, folders), resamples, price_per_hour)
        for task, folders in tasks.items()
    ]


def _systems(task: str, folders: Mapping[str, Path]) -> dict[str, list[_Run]]:
    systems: dict[str, list[_Run]] = {}
    for name, folder in folders.items():
        methods: dict[str, list[Prediction]] = {}
        for row in read_jsonl(Prediction, folder / PREDICTIONS):
            if row.task == task:
                methods.setdefault(row.extra.get('method', ''), []).append(row)
        for method, rows in methods.items():
            system = f'{group(name)} ({method})' if len(methods) > 1 else group(name)
            systems.setdefault(system, []).append(_Run(folder, method, rows))
    return systems


def _table(
    task: str, systems: Mapping[str, Sequence[_Run]], resamples: int, price_per_hour: float
) -> LabelTable:
    asked = _asked(next(iter(systems.values()))[0])
    for name, runs in systems.items():
        if any(_asked(run) != asked for run in runs):
            raise UserError(
                f'{task}, {name}: systems that are compared must have answered the same rows'
            )
    golds = [gold for *_, gold in asked]
    labels = sorted(set(golds))
    counts = {
        name: np.array([count(golds, [r.prediction for r in run.rows], labels) for run in runs])
        for name, runs in systems.items()
    }
    shown = short_names(list(systems))
    rows = [
        Row(
            shown[name],
            len(runs),
            {what: _score(counts[name], measure, resamples) for what, measure in MEASURES.items()},
            statistics.mean(sum(not row.prediction for row in run.rows) for run in runs),
            expense.of_runs([run.folder for run in runs], price_per_hour, runs[0].method)
            or dict.fromkeys(expense.NAMES),
        )
        for name, runs in systems.items()
    ]
    compared = [
        Compared(shown[a], shown[b], what, compare(counts[a], counts[b], resamples, 0, measure))
        for a, b in itertools.combinations(systems if resamples else (), 2)
        for what, measure in MEASURES.items()
    ]
    return LabelTable(task, [text for _, text, _ in asked], rows, compared)


def _asked(run: _Run) -> list[tuple[str, str, str]]:
    return [(row.id, row.sentence, row.gold or '') for row in run.rows]


def _score(counts: np.ndarray, measure, resamples: int) -> Score:
    seeds = [100 * float(measure(one.sum(axis=0))) for one in counts]
    ends = bootstrap.mean_interval(counts, resamples, 0, measure) if resamples else ()
    return Score(
        statistics.mean(seeds),
        spread(seeds),
        *(100 * end for end in ends),
    )
