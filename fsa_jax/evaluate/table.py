"""The F1 table of a report: scores by task, with the seeds of one system in one row."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsa_jax.evaluate.curves import group


@dataclass(frozen=True)
class Cell:
    """F1 of a system on a subset, in percent; `low` and `high` are the ends of the 95 % interval.

    Of several seeds: means, and `spread`, their sample standard deviation.
    """

    f1: float
    strict_f1: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One system on one task: a cell for each subset, and what each seed scored."""

    name: str
    cells: dict[str, Cell]
    runs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    user_metrics: dict[str, float] = field(default_factory=dict)
    breakdown: dict[str, dict[str, float]] = field(default_factory=dict)  # kind -> class -> F1 in %


@dataclass(frozen=True)
class Table:
    """All systems on one task. `subsets` maps a subset to its number of sentences.

    `baseline` is the trivial one, named after the pair that it predicts everywhere.
    """

    task: str
    subsets: dict[str, int]
    rows: list[Row]
    baseline: Row | None = None
    classes: dict[str, dict[str, int]] = field(default_factory=dict)  # kind -> class -> gold pairs


def tables(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Table]:
    """Tables by task, from {name: the `tasks` of its scores.json}.

    Names that differ after their last slash are seeds of one system: 'student/seed0', 'student/seed1'.
    """
    tasks = dict.fromkeys(task for entries in scores.values() for task in entries)
    return [
        _table(task, {name: entries[task] for name, entries in scores.items() if task in entries})
        for task in tasks
    ]


def _table(task: str, entries: Mapping[str, Mapping[str, Any]]) -> Table:
    systems: dict[str, list[str]] = {}
    for name in entries:
        systems.setdefault(group(name), []).append(name)
    shown = short_names(list(systems))
    rows = [
        Row(
            shown[system],
            _cells([entries[name].get('subsets', {}) for name in names]),
            runs={name: entries[name].get('subsets', {}) for name in names},
            user_metrics=_mean([entries[name].get('user_metrics', {}) for name in names]),
            breakdown=_breakdown([entries[name].get('breakdown', {}) for name in names]),
        )
        for system, names in systems.items()
    ]
    sizes: dict[str, int] = {}
    for entry in entries.values():
        for subset, value in entry.get('subsets', {}).items():
            sizes.setdefault(subset, value['sentences'])
    trivial = next((entry['baseline'] for entry in entries.values() if 'baseline' in entry), None)
    baseline = Row(trivial['prediction'], _cells([trivial['subsets']])) if trivial else None
    classes = {
        kind: {name: score['gold'] for name, score in scores.items()}
        for kind, scores in next(iter(entries.values())).get('breakdown', {}).items()
    }
    return Table(task, sizes, rows, baseline, classes)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names without the leading path parts that all of them share, if more than one."""
    parents = zip(*(name.split('/')[:-1] for name in names))
    same = list(itertools.takewhile(lambda parts: len(set(parts)) == 1, parents))
    shared = len(same) if len(names) > 1 else 0
    return {name: '/'.join(name.split('/')[shared:]) for name in names}


def _cells(runs: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Cell]:
    cells = {}
    for subset in runs[0]:
        scores = [run[subset] for run in runs if subset in run]
        f1 = [100 * score['f1'] for score in scores]
        ends = [score['f1_interval'] for score in scores if 'f1_interval' in score]
        cells[subset] = Cell(
            statistics.mean(f1),
            statistics.mean(100 * score['strict_f1'] for score in scores),
            spread(f1),
            *(100 * statistics.mean(end) for end in zip(*ends)),
        )
    return cells


def spread(of_seeds: Sequence[float]) -> float | None:
    """The sample standard deviation; None of a single seed."""
    return statistics.stdev(of_seeds) if len(of_seeds) > 1 else None


def _breakdown(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        kind: {name: statistics.mean(100 * run[kind][name]['f1'] for run in runs) for name in names}
        for kind, names in runs[0].items()
    }


def _mean(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    shared = [name for name in metrics[0] if all(name in m for m in metrics)]
    return {name: statistics.mean(m[name] for m in metrics) for name in shared}
