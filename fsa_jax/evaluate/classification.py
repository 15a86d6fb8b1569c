"""Accuracy and macro F1 of single labels, with bootstrap intervals.

Both are functions of sums of `count`, as F1 is of those of `f1.count`: intervals and paired tests are the same.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num
from rich import box
from rich.table import Table

from fsa_jax.console import Console
from fsa_jax.evaluate import bootstrap, score


@dataclass(frozen=True)
class Classification:
    """Scores in [0, 1] with their 95 % intervals (None: not asked for), and what they are made of.

    `confusion` is {gold: {predicted: rows}}. Macro F1 is the plain mean over the labels that the gold
    has; a prediction outside them is wrong and has no F1 of its own.
    """

    rows: int
    accuracy: float
    macro_f1: float
    f1: dict[str, float]
    confusion: dict[str, dict[str, int]]
    accuracy_interval: tuple[float, float] | None = None
    macro_f1_interval: tuple[float, float] | None = None


def classify(
    golds: Sequence[str], predictions: Sequence[str], *, resamples: int, seed: int
) -> Classification:
    """Scores one label a row."""
    labels = sorted(set(golds))
    counts = count(golds, predictions, labels)
    total = counts.sum(axis=0)
    ends = {
        name: bootstrap.mean_interval(counts[None], resamples, seed, measure) if resamples else None
        for name, measure in MEASURES.items()
    }
    cells = Counter(zip(golds, predictions))
    columns = [*labels, *sorted(set(predictions) - set(labels))]
    return Classification(
        rows=len(golds),
        accuracy=float(accuracy(total)),
        macro_f1=float(macro_f1(total)),
        f1=dict(zip(labels, _label_f1(total).tolist())),
        confusion={gold: {column: cells[gold, column] for column in columns} for gold in labels},
        accuracy_interval=ends['accuracy'],
        macro_f1_interval=ends['macro F1'],
    )


def count(
    golds: Sequence[str], predictions: Sequence[str], labels: Sequence[str]
) -> Int[np.ndarray, 'N 3*C']:
    """Of each row and each of C labels 0 or 1: C columns of right, then of gold, then of predicted."""
    gold, predicted = (
        np.array([[name == label for label in labels] for name in names])
        for names in (golds, predictions)
    )
    return np.concatenate([gold & predicted, gold, predicted], axis=1).astype(np.int64)


def accuracy(totals: Num[np.ndarray, '*R 3*C']) -> Float[np.ndarray, '*R']:
    """The share of rows that are right, from sums of `count`."""
    right, gold, _ = np.split(totals, 3, axis=-1)
    return right.sum(axis=-1) / gold.sum(axis=-1)


def macro_f1(totals: Num[np.ndarray, '*R 3*C']) -> Float[np.ndarray, '*R']:
    """The mean F1 of the labels, from sums of `count`."""
    return _label_f1(totals).mean(axis=-1)


def _label_f1(totals: Num[np.ndarray, '*R 3*C']) -> Float[np.ndarray, '*R C']:
    """F1 of each label, 0 where it is neither in gold nor predicted."""
    right, gold, predicted = np.split(totals, 3, axis=-1)
    both = gold + predicted
    return 2 * right / np.where(both > 0, both, 1)


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'accuracy': accuracy,
    'macro F1': macro_f1,
}


def print_table(task: str, entry: dict[str, Any]) -> None:
    """The scores of each method on standard output, in percent."""
    table = Table(title=f'{task}, zero-shot', title_justify='left', box=box.SIMPLE_HEAD)
    for column in ('method', 'rows', 'accuracy', '95 %', 'macro F1', '95 %'):
        table.add_column(column, justify='left' if column == 'method' else 'right')
    for method, s in entry.items():
        table.add_row(
            method,
            f'{s["rows"]:,}',
            score.percent(s['accuracy']),
            score.interval(s['accuracy_interval']),
            score.percent(s['macro_f1']),
            score.interval(s['macro_f1_interval']),
        )
    Console().print(table)
